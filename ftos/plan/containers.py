# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plans of the containers in which images are made.

They are as closed as an app's, with these differences: the command runs as id 0 of its own user namespace with the
capabilities that package managers need there (none of them reaches beyond the container's own ids), and the system
call policy is `build`. Package scripts are hostile: what they can write is the container's own, and it has no network,
except for the fetch of packages, which runs none of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from ftos.plan.records import (
    ACCESS_READ,
    ACCESS_WRITE,
    ALL_NAMESPACES,
    FOREIGN_BASE,
    ID_COUNT,
    Access,
    IdMap,
    LandlockRule,
    LaunchPlan,
    Mount,
    MountFlag,
    MountKind,
    Namespace,
    ResourceLimit,
)

MAP_CONTAINER, MAP_FOREIGN = 0, 1
"""Places in `LaunchPlan.idmaps` which every plan has: ids of the host's files shown as they are; ids of the store."""

BUILD_CAPABILITIES = sum(1 << number for number in (0, 1, 3, 4, 5, 6, 7, 18, 31))
"""chown, dac_override, fowner, fsetid, kill, setgid, setuid, sys_chroot, setfcap (capabilities(7))."""

MASKED = tuple(
    "/proc/" + name
    for name in (
        "acpi asound buddyinfo bus cmdline config.gz consoles cpufreq crypto device-tree devices diskstats dma "
        "driver dynamic_debug fs interrupts iomem ioports irq kallsyms kcore key-users keys kmsg kpagecgroup "
        "kpagecount kpageflags latency_stats locks misc modules mtrr pagetypeinfo partitions pressure sched_debug "
        "schedstat scsi slabinfo softirqs swaps sysrq-trigger timer_list timer_stats tty vmallocinfo vmcore "
        "vmstat zoneinfo"
    ).split()
)
"""What of /proc tells about the host and not about the container."""

RLIMIT_STACK, RLIMIT_CORE, RLIMIT_NPROC, RLIMIT_NOFILE, RLIMIT_MEMLOCK = 3, 4, 6, 7, 8
RLIMIT_SIGPENDING, RLIMIT_MSGQUEUE, RLIMIT_NICE, RLIMIT_RTPRIO, RLIMITS = 11, 12, 13, 14, 16
"""setrlimit(2) numbers, the same on all our architectures, and how many there are."""
NO_FLAGS = MountFlag(0)
MEBIBYTE = 1 << 20


def resource_limits(processes: int) -> tuple[ResourceLimit, ...]:
    """Limits of every container. `processes` holds for one container: the kernel counts by user namespace and user."""
    values = dict.fromkeys(range(RLIMITS), (-1, -1)) | {
        RLIMIT_STACK: (8 * MEBIBYTE, -1),
        RLIMIT_CORE: (0, 0),
        RLIMIT_NPROC: (processes, processes),
        RLIMIT_NOFILE: (1024, 524288),
        RLIMIT_MEMLOCK: (8 * MEBIBYTE, 8 * MEBIBYTE),
        RLIMIT_SIGPENDING: (16384, 16384),
        RLIMIT_MSGQUEUE: (819200, 819200),
        RLIMIT_NICE: (0, 0),
        RLIMIT_RTPRIO: (0, 0),
    }
    return tuple(ResourceLimit(resource=number, soft=soft, hard=hard) for number, (soft, hard) in values.items())


def standard_idmaps(id_base: int) -> tuple[IdMap, IdMap]:
    """The two maps of every plan; `id_base` is the kernel's id of 0 inside."""
    return (
        IdMap(uid=0, gid=0, outside=id_base, count=ID_COUNT),
        IdMap(uid=FOREIGN_BASE, gid=FOREIGN_BASE, outside=id_base, count=ID_COUNT),
    )


def kernel_mounts(shm: int, flags: MountFlag = NO_FLAGS) -> tuple[Mount, ...]:
    """/proc, what is hidden of it, and /dev with `shm` bytes of shared memory."""
    return (
        Mount(kind=MountKind.PROC, target="/proc", flags=MountFlag.READ_ONLY | flags, purpose="its own processes"),
        *(Mount(kind=MountKind.MASK, target=path, purpose="hidden: tells about the host") for path in MASKED),
        Mount(
            kind=MountKind.DEV,
            target="/dev",
            size=shm,
            flags=flags,
            purpose="null, zero, full, random, urandom, tty and its own terminals",
        ),
    )


def foreign_bind(source: Path, target: str, *, read_only: bool) -> Mount:
    """A directory of the host whose ids on disk are foreign (FOREIGN_BASE + id inside)."""
    flags = MountFlag.READ_ONLY if read_only else MountFlag(0)
    return Mount(kind=MountKind.BIND, source=str(source), target=target, idmap=MAP_FOREIGN, flags=flags)


def host_bind(source: Path, target: str, flags: MountFlag = NO_FLAGS) -> Mount:
    """A directory (or, with MountFlag.FILE, a file) of the host's own system, its ids as they are; read-only."""
    return Mount(
        kind=MountKind.BIND,
        source=str(source),
        target=target,
        idmap=MAP_CONTAINER,
        flags=flags | MountFlag.READ_ONLY,
    )


_HOST = tuple(
    host_bind(Path("/", part), f"/{part}", MountFlag.CREATE_TARGET | MountFlag.OPTIONAL)
    for part in ("usr", "bin", "sbin", "lib", "lib32", "lib64", "etc/alternatives", "etc/ssl/certs")
)
"""The host's programs. /bin is a directory of its own or a symlink into /usr; its name leads to the right one."""


def tools_container(
    *,
    name: str,
    id_base: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    binds: Sequence[Mount],
    network: bool,
    tree: Path | None = None,
) -> LaunchPlan:
    """A container with the host's own programs (read-only) and nothing else of the host but `binds`.

    For the host's apt, dpkg-deb, apk and tar. With `network` it shares the host's network: for fetching only, where no
    script of a package runs. Mount points of `binds` are made on a private tmpfs.

    tree: a directory with foreign ids whose programs are there instead of the host's; changes to it are gone at exit.
    """
    made = MountFlag.CREATE_TARGET
    root = Mount(kind=MountKind.ROOT, source="tmpfs", size=64 * MEBIBYTE)
    return _container(
        name=name,
        id_base=id_base,
        command=command,
        environment=environment,
        mounts=(
            *([Mount(kind=MountKind.LAYER, source=str(tree), idmap=MAP_FOREIGN), root] if tree else [root, *_HOST]),
            *(replace(bind, flags=bind.flags | made) for bind in binds),
        ),
        target_flags=made,
        namespaces=ALL_NAMESPACES & ~Namespace.NET if network else ALL_NAMESPACES,
    )


def build_container(
    *,
    name: str,
    id_base: int,
    layers: Sequence[Path],
    upper: Path,
    command: Sequence[str],
    environment: Mapping[str, str],
    binds: Sequence[Mount],
) -> LaunchPlan:
    """A container whose root is `layers` (top first; foreign ids) with all changes kept in `upper`/upper. No network.

    `layers` has one at least; an empty directory will do. `upper` is a directory on the disk with `upper` and `work` in
    it, both of foreign id 0. The root has the directories /proc, /dev and /tmp, and the mount points of `binds`.
    """
    return _container(
        name=name,
        id_base=id_base,
        command=command,
        environment=environment,
        mounts=(
            *(Mount(kind=MountKind.LAYER, source=str(layer), idmap=MAP_FOREIGN) for layer in layers),
            Mount(kind=MountKind.ROOT, source=str(upper), idmap=MAP_FOREIGN),
            *binds,
        ),
        target_flags=MountFlag(0),
        namespaces=ALL_NAMESPACES,
    )


def _container(
    *,
    name: str,
    id_base: int,
    command: Sequence[str],
    environment: Mapping[str, str],
    mounts: tuple[Mount, ...],
    target_flags: MountFlag,
    namespaces: Namespace,
) -> LaunchPlan:
    return LaunchPlan(
        name=name,
        group="build",
        hostname="build",
        namespaces=namespaces,
        idmaps=standard_idmaps(id_base),
        uid=0,
        gid=0,
        capabilities=BUILD_CAPABILITIES,
        mounts=(
            *mounts,
            *kernel_mounts(64 * MEBIBYTE, target_flags),
            Mount(kind=MountKind.TMPFS, target="/tmp", size=512 * MEBIBYTE, mode=0o1777, flags=target_flags),
        ),
        landlock=(LandlockRule(path="/", access=ACCESS_READ | ACCESS_WRITE | Access.EXECUTE | Access.IOCTL_DEV),),
        seccomp="build",
        rlimits=resource_limits(4096),
        oom_score_adj=500,
        environment=tuple(environment.items()),
        command=tuple(command),
        working_directory="/",
    )
