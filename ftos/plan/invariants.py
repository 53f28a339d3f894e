# SPDX-License-Identifier: AGPL-3.0-or-later
"""What no plan may break, whoever made it: checked for every plan, in this one place, before it becomes bytes.

A finding here is a defect of FlyingTux or a tampered plan, never a user's mistake: descriptors are checked earlier and
with better words.
"""

from __future__ import annotations

from collections.abc import Iterator

from ftos.errors import LaunchError
from ftos.plan.containers import BUILD_CAPABILITIES
from ftos.plan.records import (
    ALL_NAMESPACES,
    APP_ID,
    FOREIGN_BASE,
    ID_COUNT,
    LaunchPlan,
    Mount,
    MountFlag,
    MountKind,
    Namespace,
)

_FIRST_FREE_ID = 65536
_SOURCES_NEVER_SHOWN = ("/", "/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/root", "/home", "/var", "/var/lib")


def check(plan: LaunchPlan) -> None:
    """Raise LaunchError naming all that is wrong with a plan; return when nothing is."""
    broken = [*_identity(plan), *_namespaces(plan), *_mounts(plan)]
    if broken:
        raise LaunchError(f"{plan.name}: this plan is not safe and was not launched: {'; '.join(broken)}")


def _identity(plan: LaunchPlan) -> Iterator[str]:
    container, *others = plan.idmaps
    if container.uid != 0 or container.gid != 0 or container.count != ID_COUNT:
        yield "the user namespace does not map 65536 ids from 0"
    if container.outside < _FIRST_FREE_ID or container.outside + ID_COUNT > FOREIGN_BASE:
        yield "the container's ids lie where ids of the host may be"
    for other in others:
        if not container.outside <= other.outside <= other.outside + other.count <= container.outside + ID_COUNT:
            yield "an id map leads to ids of others"
    if plan.seccomp == "app" and plan.capabilities:
        yield "an app has capabilities"
    if plan.seccomp == "app" and (plan.uid, plan.gid) != (APP_ID, APP_ID):
        yield "an app does not run as its own user"
    if plan.capabilities & ~BUILD_CAPABILITIES:
        yield "a capability is kept that no build needs"
    if plan.seccomp not in ("app", "build"):
        yield "the system call policy is unknown"
    if not plan.landlock:
        yield "landlock has no rules"


def _namespaces(plan: LaunchPlan) -> Iterator[str]:
    missing = ALL_NAMESPACES & ~plan.namespaces
    if missing & ~Namespace.NET:
        yield "a namespace is shared with the host which never may be"
    if missing and not plan.landlock_scopes:
        yield "the host's abstract sockets are in reach"


def _mounts(plan: LaunchPlan) -> Iterator[str]:
    kinds = [mount.kind for mount in plan.mounts]
    for kind in (MountKind.ROOT, MountKind.PROC, MountKind.DEV):
        if kinds.count(kind) != 1:
            yield f"there is not exactly one {kind.name.lower()} mount"
    for mount in plan.mounts:
        read_only = bool(mount.flags & MountFlag.READ_ONLY)
        of_host = mount.kind in (MountKind.BIND, MountKind.LAYER) or _is_kept_root(mount)
        if of_host and mount.idmap < 0:
            yield f"{mount.source} is shown without an id map"
        if mount.kind is MountKind.BIND and _plain(mount.source) in _SOURCES_NEVER_SHOWN and not mount.beneath:
            yield f"{mount.source} of the host is shown"
        if mount.kind is MountKind.BIND and mount.idmap == 0 and not read_only:
            yield f"{mount.source} of the host's own system is writable"
        in_memory = mount.kind in (MountKind.TMPFS, MountKind.DEV, MountKind.DISCARD) or mount.source == "tmpfs"
        if in_memory and mount.size <= 0:
            yield "a file system in memory has no limit"
        if mount.kind is MountKind.PROC and not read_only:
            yield "/proc is writable"
        if _is_kept_root(mount) and plan.seccomp == "app":
            yield "an app's root is writable and kept"


def _is_kept_root(mount: Mount) -> bool:
    return mount.kind is MountKind.ROOT and mount.source.startswith("/")


def _plain(path: str) -> str:
    """`path` without what can be written in two ways: `//` and a slash at its end."""
    return "/" + "/".join(part for part in path.split("/") if part not in ("", "."))
