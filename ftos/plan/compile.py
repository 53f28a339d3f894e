# SPDX-License-Identifier: AGPL-3.0-or-later
"""From a deployment to its launch plan. Pure: records and facts in, plan out.

What the deployment does not grant is not in the plan. Order of mounts: the root, the kernel's file systems, private
temporary directories, then volumes and bindings, outer before inner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
from msgspec.structs import replace

from ftos.errors import BadInput, Unsupported
from ftos.plan.containers import MAP_FOREIGN, MEBIBYTE, foreign_bind, kernel_mounts, resource_limits, standard_idmaps
from ftos.plan.records import (
    ACCESS_READ,
    ACCESS_WRITE,
    ALL_NAMESPACES,
    APP_ID,
    Access,
    CgroupLimits,
    Directives,
    IdMap,
    LandlockRule,
    LaunchPlan,
    Mount,
    MountFlag,
    MountKind,
    Namespace,
)
from ftos.spec.components import resolve_components
from ftos.spec.records import Deployment, Image, Osbase, Volume, size_bytes

HOME = "/home/app"
RUNTIME_DIRECTORY = "/run/user/1000"
TEMPORARY_SIZE = 256 * MEBIBYTE
DEFAULT_PROCESSES = 4096
OOM_SCORE = 100
"""An app goes before the system does when memory is short."""


class LaunchContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan needs besides the descriptors."""

    tree: Path
    """The image's tree, ids foreign."""
    layer: Path
    """The configuration layer, ids foreign."""
    volumes: Path
    """The directory with the deployment's kept volumes by name, ids foreign."""
    id_base: int
    facts: Mapping[str, str]
    """Of the host: `HostFacts.values`."""


def compile_plan(
    deployment: Deployment,
    image: Image,
    osbase: Osbase,
    directives: Mapping[str, Directives],
    context: LaunchContext,
) -> LaunchPlan:
    """The plan of one launch of `deployment`. `directives`: of each granted binding, by the name of the request.

    Raises BadInput where two things want one place, Unsupported where a right can't be kept apart; either for an
    os-component that can't be had.
    """
    granted = list(directives.values())
    idmaps: list[IdMap] = list(standard_idmaps(context.id_base))
    mounts = [*_temporary(image), *(_volume(volume, context, deployment) for volume in image.volumes)]
    for directive in granted:
        shift = len(idmaps) - len(standard_idmaps(context.id_base))
        idmaps += [replace(m, outside=context.id_base + m.outside) for m in directive.idmaps]
        mounts += [replace(m, idmap=m.idmap + shift) if m.idmap > MAP_FOREIGN else m for m in directive.mounts]
    mounts = _ordered(mounts, deployment.name)
    shared = Namespace(0)
    for directive in granted:
        shared |= directive.shared
    return LaunchPlan(
        name=deployment.name,
        group=deployment.id,
        hostname=deployment.name,
        namespaces=ALL_NAMESPACES & ~shared,
        idmaps=tuple(idmaps),
        uid=APP_ID,
        gid=APP_ID,
        mounts=(
            Mount(kind=MountKind.LAYER, source=str(context.layer), idmap=MAP_FOREIGN, purpose="its configuration"),
            Mount(kind=MountKind.LAYER, source=str(context.tree), idmap=MAP_FOREIGN, purpose=f"the image {image.name}"),
            _root(image),
            *kernel_mounts(TEMPORARY_SIZE),
            *mounts,
        ),
        landlock=_landlock(image, mounts, granted, deployment.name),
        seccomp="app",
        rlimits=resource_limits(deployment.limits.pids or DEFAULT_PROCESSES),
        oom_score_adj=OOM_SCORE,
        environment=_environment(image, osbase, granted, context),
        command=image.command,
        working_directory=image.working_directory,
        limits=CgroupLimits(
            memory=size_bytes(deployment.limits.memory) if deployment.limits.memory else 0,
            pids=deployment.limits.pids or 0,
            cpu_weight=deployment.limits.cpu_weight or 0,
        ),
    )


def _root(image: Image) -> Mount:
    if image.writable_root:
        return Mount(
            kind=MountKind.ROOT, source="tmpfs", size=TEMPORARY_SIZE, purpose="writable, changes are gone at exit"
        )
    return Mount(kind=MountKind.ROOT, purpose="read-only")


def _temporary(image: Image) -> list[Mount]:
    """Private directories in memory that every app has; a volume of the image takes the place of one."""
    own = {volume.path.rstrip("/") for volume in image.volumes}
    mounts = (
        Mount(kind=MountKind.TMPFS, target="/tmp", size=TEMPORARY_SIZE, mode=0o1777, purpose="private, gone at exit"),
        Mount(
            kind=MountKind.TMPFS, target="/var/tmp", size=TEMPORARY_SIZE, mode=0o1777, purpose="private, gone at exit"
        ),
        Mount(kind=MountKind.TMPFS, target=HOME, size=64 * MEBIBYTE, mode=0o700, purpose="private, gone at exit"),
        Mount(
            kind=MountKind.TMPFS,
            target=RUNTIME_DIRECTORY,
            size=64 * MEBIBYTE,
            mode=0o700,
            flags=MountFlag.NO_EXEC,
            purpose="private, gone at exit",
        ),
    )
    return [mount for mount in mounts if mount.target not in own]


def _volume(volume: Volume, context: LaunchContext, deployment: Deployment) -> Mount:
    quota = next((v.quota for v in deployment.volumes if v.name == volume.name and v.quota), volume.quota)
    size = size_bytes(quota) if quota else TEMPORARY_SIZE
    name = f"volume {volume.name} ({volume.volume_class})"
    if volume.volume_class == "temp":
        purpose = f"{name}: private, gone at exit"
        return Mount(kind=MountKind.TMPFS, target=volume.path, size=size, mode=0o700, purpose=purpose)
    if volume.volume_class == "discard":
        purpose = f"{name}: what the image has there, changes are gone at exit"
        return Mount(kind=MountKind.DISCARD, target=volume.path, size=size, purpose=purpose)
    kept = foreign_bind(context.volumes / volume.name, volume.path, read_only=False)
    return replace(kept, purpose=f"{name}: kept")


def _ordered(mounts: Sequence[Mount], name: str) -> list[Mount]:
    """Outer before inner. A mount point within another mount is not in the image: it is made at launch."""
    ordered = sorted(mounts, key=lambda mount: (mount.target.rstrip("/").count("/"), mount.target))
    targets: list[str] = []
    result = []
    for mount in ordered:
        target = mount.target.rstrip("/")
        if target in targets:
            raise BadInput(f"{name}: two things want to be at {target}", "give one of them another path")
        inside = any(target.startswith(outer + "/") for outer in targets)
        result.append(replace(mount, flags=mount.flags | MountFlag.CREATE_TARGET) if inside else mount)
        targets.append(target)
    return result


def _landlock(
    image: Image, mounts: Sequence[Mount], granted: Sequence[Directives], name: str
) -> tuple[LandlockRule, ...]:
    """The second wall, of the same rights as the mounts.

    A rule holds for all that lies below, so rights that are fewer can't lie within a directory that has more.
    """
    own = [rule for directive in granted for rule in directive.landlock]
    own_paths = {rule.path for rule in own}
    everywhere = ACCESS_READ | Access.EXECUTE
    writable = [
        LandlockRule(path=mount.target, access=ACCESS_WRITE)
        for mount in mounts
        if not mount.flags & MountFlag.READ_ONLY and mount.target not in own_paths
    ]
    root = LandlockRule(path="/", access=everywhere | (ACCESS_WRITE if image.writable_root else Access(0)))
    for rule in own:
        around = (w for w in (root, *writable, *own) if rule.path.startswith(w.path.rstrip("/") + "/"))
        outer = next((w for w in around if w.access & ACCESS_WRITE & ~rule.access), None)
        if outer and rule.access != ACCESS_READ:  # what may not be written at all is held by its mount
            raise Unsupported(
                f"{name}: some but not all writing rights can't be kept apart at {rule.path}: it lies in {outer.path}, "
                "which the app may write",
                "set the path of the binding to a place outside, for example /media/documents",
            )
    return (
        root,
        LandlockRule(path="/dev", access=everywhere | Access.WRITE_FILE | Access.IOCTL_DEV),
        LandlockRule(path="/dev/shm", access=ACCESS_WRITE),
        *writable,
        *own,
    )


def _environment(
    image: Image, osbase: Osbase, granted: Sequence[Directives], context: LaunchContext
) -> tuple[tuple[str, str], ...]:
    """Nothing of the caller's. Later ones win: ours, the osbase's, the os-components', the image's, the bindings'."""
    environment = {
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "HOME": HOME,
        "USER": "app",
        "LOGNAME": "app",
        "SHELL": "/bin/sh",
        "XDG_RUNTIME_DIR": RUNTIME_DIRECTORY,
        **osbase.environment,
        **resolve_components(image, osbase, context.facts).environment,
        **image.environment,
    }
    for directive in granted:
        environment.update(directive.environment)
    return tuple(environment.items())
