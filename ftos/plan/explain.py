# SPDX-License-Identifier: AGPL-3.0-or-later
"""A launch plan in words: what the app can reach, and how that is held. From the plan alone, which is enforced."""

from __future__ import annotations

from collections.abc import Iterator

from ftos.plan.records import (
    ALL_NAMESPACES,
    Access,
    LandlockRule,
    LaunchPlan,
    Mount,
    MountFlag,
    MountKind,
    Namespace,
)

Section = tuple[str, list[str]]


def explain(plan: LaunchPlan) -> list[Section]:
    """Headings with their lines."""
    base = plan.idmaps[0].outside
    return [
        ("Runs", [" ".join(plan.command), f"in {plan.working_directory}, from {_root(plan)}"]),
        ("Files that stay", list(_kept(plan)) or ["none"]),
        ("Files of this device", list(_shown(plan)) or ["none"]),
        ("Private, gone at exit", list(_private(plan))),
        ("Network", _network(plan)),
        (
            "Is",
            [
                f"user {plan.uid} inside, {base + plan.uid} on this device; {plan.idmaps[0].count} ids are its own",
                "without any capability" if not plan.capabilities else f"with capabilities {plan.capabilities:#x}",
                f"system calls: the policy `{plan.seccomp}`; unknown ones answer ENOSYS",
            ],
        ),
        ("Devices", [m.purpose for m in plan.mounts if m.kind is MountKind.DEV]),
        ("Limits", _limits(plan)),
        ("Environment", [f"{name}={value}" for name, value in plan.environment]),
        ("What remains", list(_remains(plan))),
    ]


def _root(plan: LaunchPlan) -> str:
    layers = [mount.purpose for mount in plan.mounts if mount.kind is MountKind.LAYER]
    root = next(mount for mount in plan.mounts if mount.kind is MountKind.ROOT)
    return f"{' over '.join(layers)}, {root.purpose}"


def _is_bound(mount: Mount) -> bool:
    """Whether a binding, not a volume, brings a directory of the device."""
    return mount.kind is MountKind.BIND and not mount.purpose.startswith("volume ")


def _kept(plan: LaunchPlan) -> Iterator[str]:
    for mount in plan.mounts:
        if mount.kind is MountKind.BIND and not _is_bound(mount):
            yield f"{mount.target}: {mount.purpose}, in {mount.source}"


def _shown(plan: LaunchPlan) -> Iterator[str]:
    for mount in plan.mounts:
        if not _is_bound(mount):
            continue
        source = "/".join(part for part in (mount.source, mount.beneath) if part)
        writes = "read-only" if mount.flags & MountFlag.READ_ONLY else "WRITABLE"
        yield f"{mount.target}: {source}, {writes}" + (f", {mount.purpose}" if mount.purpose else "")


def _private(plan: LaunchPlan) -> Iterator[str]:
    for mount in plan.mounts:
        if mount.kind in (MountKind.TMPFS, MountKind.DISCARD):
            yield f"{mount.target}: {mount.size >> 20} MiB, {mount.purpose}"


def _network(plan: LaunchPlan) -> list[str]:
    if plan.namespaces & Namespace.NET:
        return ["none: only its own loopback interface"]
    return [
        "SHARED WITH THIS DEVICE: every address and port, no firewall, also servers on this device's loopback",
        "abstract unix sockets of others are out of reach (landlock)",
    ]


def _limits(plan: LaunchPlan) -> list[str]:
    limits = plan.limits
    lines = [f"{limits.memory >> 20} MiB of memory"] if limits.memory else []
    lines += [f"{limits.pids} processes"] if limits.pids else []
    lines += [f"CPU weight {limits.cpu_weight} of 10000"] if limits.cpu_weight else []
    processes = next((limit.hard for limit in plan.rlimits if limit.resource == 6), 0)
    return [*lines, f"{processes} processes for each time it runs (RLIMIT_NPROC), no core dumps"]


def _remains(plan: LaunchPlan) -> Iterator[str]:
    """What the walls do not cover, said openly."""
    shared = ALL_NAMESPACES & ~plan.namespaces
    if shared:
        yield f"namespaces shared with this device: {', '.join(str(n.name).lower() for n in Namespace if n in shared)}"
    for mount in plan.mounts:
        if _is_bound(mount) and not mount.flags & MountFlag.READ_ONLY and not mount.flags & MountFlag.FILE:
            yield f"{mount.target}: what it makes is yours; it may change modes, times and attributes of your files"
    for rule in plan.landlock:
        if _creates_without_write(rule):
            yield f"{rule.path}: files that are made there stay empty: creating is granted, writing is not"
    yield "the kernel itself: all apps and the system share one"


def _creates_without_write(rule: LandlockRule) -> bool:
    return bool(rule.access & Access.MAKE_REG) and not rule.access & Access.WRITE_FILE
