# SPDX-License-Identifier: AGPL-3.0-or-later
"""The launch plan: everything that the kernel must do for one launch, resolved and in order.

A plan is derived (`ftos.plan.compile`, `ftos.plan.containers`), checked against what no plan may break
(`ftos.plan.invariants`), encoded (`ftos.plan.encode`) and executed by `ftos._native`. It is never edited, and nothing
else decides what an app can reach: `ftos explain` reads the same record.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from msgspec import Struct

FOREIGN_BASE = 2147352576
"""First id of systemd's foreign range (systemd.io/UIDS-GIDS): what id 0 inside is on disk."""
ID_COUNT = 65536
"""Ids in the range of a container, and in the foreign range."""
APP_ID = 1000
"""uid and gid of the app inside its container."""


class Namespace(IntFlag):
    """The namespaces that a launch creates; values are clone(2)'s CLONE_NEW*."""

    MOUNT = 0x00020000
    CGROUP = 0x02000000
    UTS = 0x04000000
    IPC = 0x08000000
    PID = 0x20000000
    NET = 0x40000000


ALL_NAMESPACES = Namespace.MOUNT | Namespace.CGROUP | Namespace.UTS | Namespace.IPC | Namespace.PID | Namespace.NET


class MountKind(IntEnum):
    """What one mount operation does. Order in the plan: LAYERs, one ROOT, then the others, outer before inner."""

    LAYER = 1
    """`source` is one layer of the root, top layer first; attached to no target."""
    ROOT = 2
    """The root from the layers before it. `source` is "" (read-only), "tmpfs" (writable, private, `size` bytes, gone at
    exit; here there may be no layer at all) or an absolute path of a directory with `upper` and `work` in it (writable,
    kept: image builds)."""
    BIND = 3
    """`source` (a host path, symlinks followed), then `beneath` (below it, symlinks refused), at `target`."""
    TMPFS = 4
    """An empty private directory of at most `size` bytes, `mode`, owned by the container's uid and gid."""
    PROC = 5
    """Process information of the container's own pid namespace."""
    DEV = 6
    """A tmpfs at `target` with null zero full random urandom tty, the usual links, `pts` and `shm` (`size` bytes)."""
    DISCARD = 7
    """What the root has at `target`, writable, the changes on a private tmpfs of `size` bytes."""
    MASK = 8
    """Hide `target` (file or directory) behind an empty read-only one; nothing happens where it does not exist."""


class MountFlag(IntFlag):
    READ_ONLY = 1
    NO_EXEC = 2
    OPTIONAL = 4
    """A `source` that does not exist is left out."""
    FILE = 8
    """`source` and `target` are a file, not a directory."""
    CREATE_TARGET = 16
    """`target` may be missing: it is made, with the app's own rights, below a mount that the app can write. No symlink
    is followed on the way, so what the app left there leads nowhere."""
    ROOT_OWNED = 32
    """TMPFS only: belongs to id 0 of the container, not to the app."""


class Access(IntFlag):
    """Landlock's access rights on files; values are LANDLOCK_ACCESS_FS_* (landlock(7))."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


ACCESS_READ = Access.READ_FILE | Access.READ_DIR
ACCESS_WRITE = (
    ACCESS_READ
    | Access.WRITE_FILE
    | Access.TRUNCATE
    | Access.REMOVE_DIR
    | Access.REMOVE_FILE
    | Access.MAKE_DIR
    | Access.MAKE_REG
    | Access.MAKE_SOCK
    | Access.MAKE_FIFO
    | Access.MAKE_SYM
    | Access.REFER
)


class PlanRecord(Struct, frozen=True, kw_only=True):
    """Base of the plan's records: immutable, by keyword."""


class IdMap(PlanRecord, frozen=True, kw_only=True):
    """`count` user ids from `uid` and group ids from `gid` appear as those from `outside` (user_namespaces(7)).

    For the container's user namespace, `uid` and `gid` are ids that the app sees. For an id-mapped mount, they are ids
    on disk, and `outside` the kernel's ids, which the container's own map translates further.
    """

    uid: int
    gid: int
    outside: int
    count: int


class Mount(PlanRecord, frozen=True, kw_only=True):
    kind: MountKind
    target: str = ""
    source: str = ""
    beneath: str = ""
    idmap: int = -1
    """Index into `LaunchPlan.idmaps`, -1 for none."""
    flags: MountFlag = MountFlag(0)
    size: int = 0
    mode: int = 0o755
    purpose: str = ""
    """For people: what the mount is for, and by whose choice. Not part of the plan's bytes."""


class LandlockRule(PlanRecord, frozen=True, kw_only=True):
    """`access` below `path`, a path in the container. Only what some rule allows is allowed."""

    path: str
    access: Access


class ResourceLimit(PlanRecord, frozen=True, kw_only=True):
    """setrlimit(2): `resource` by number, soft and hard value; -1 is unlimited."""

    resource: int
    soft: int
    hard: int


class CgroupLimits(PlanRecord, frozen=True, kw_only=True):
    """What is written to the leaf's memory.max (bytes), pids.max and cpu.weight; 0 is unlimited."""

    memory: int = 0
    pids: int = 0
    cpu_weight: int = 0


class LaunchPlan(PlanRecord, frozen=True, kw_only=True):
    name: str
    """The deployment's name, or that of the build step."""
    group: str
    """The deployment's id: names the cgroup above the instances' leaves."""
    hostname: str
    namespaces: Namespace
    idmaps: tuple[IdMap, ...]
    """[0] is the map of the container's user namespace."""
    uid: int
    gid: int
    """Ids inside that init and the app run as."""
    capabilities: int = 0
    """Bit set (capabilities(7)) kept in the container's user namespace. 0 for every app; image builds have some."""
    mounts: tuple[Mount, ...]
    landlock: tuple[LandlockRule, ...]
    landlock_scopes: bool = True
    """Abstract unix sockets of processes outside are out of reach (LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET)."""
    seccomp: str
    """Name of the system call policy: `app` or `build` (ftos.plan.seccomp)."""
    rlimits: tuple[ResourceLimit, ...]
    umask: int = 0o022
    oom_score_adj: int = 0
    environment: tuple[tuple[str, str], ...]
    command: tuple[str, ...]
    working_directory: str
    limits: CgroupLimits = CgroupLimits()


class LayerEntry(PlanRecord, frozen=True, kw_only=True):
    """One thing of the configuration layer, which lies over the image's tree in the container.

    kind: `directory` or `file` (content, mode). Directories that are missing above it are made. All belongs to id 0 of
    the container.
    """

    path: str
    kind: str
    content: str = ""
    mode: int = 0o755


class Directives(PlanRecord, frozen=True, kw_only=True):
    """What one binding contributes to a plan (made by `ftos.services`, pure)."""

    mounts: tuple[Mount, ...] = ()
    idmaps: tuple[IdMap, ...] = ()
    """Maps which the mounts need, `outside` as an id inside the container. `Mount.idmap` of a directive is 0 or 1 for
    the two maps that every plan has (ftos.plan.containers), from 2 on one of these."""
    landlock: tuple[LandlockRule, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    layer: tuple[LayerEntry, ...] = ()
    shared: Namespace = Namespace(0)
    """Namespaces which the app shares with the host: the loud ones."""
