# SPDX-License-Identifier: AGPL-3.0-or-later
"""A launch plan laid open for engineers: its operations a line each, its fields as plain types, its bytes in hex."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Flag, IntEnum

import msgspec

from ftos.plan.records import LaunchPlan, Mount


def _plain(value: object) -> object:
    """Enumerations by name, flags as lists of names; the rest as msgspec does it."""
    if isinstance(value, Flag):
        return [str(flag.name).lower() for flag in value]
    if isinstance(value, IntEnum):
        return value.name.lower()
    if isinstance(value, msgspec.Struct):
        return {name: _plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value


def as_builtins(plan: LaunchPlan) -> dict[str, object]:
    """The whole plan in dicts, lists, strings and numbers."""
    return {name: _plain(getattr(plan, name)) for name in plan.__struct_fields__}


def operations(plan: LaunchPlan) -> Iterator[str]:
    """What the engine does, in order."""
    for index, idmap in enumerate(plan.idmaps):
        yield f"idmap {index}: uid {idmap.uid}, gid {idmap.gid} → {idmap.outside}, {idmap.count} ids"
    yield f"new namespaces: {', '.join(str(n.name).lower() for n in plan.namespaces)}"
    for mount in plan.mounts:
        yield _mount(mount)
    for rule in plan.landlock:
        yield f"landlock {rule.path}: {', '.join(str(a.name).lower() for a in rule.access)}"
    for limit in plan.rlimits:
        yield f"rlimit {limit.resource}: {limit.soft} {limit.hard}"
    yield f"user {plan.uid}, group {plan.gid}, capabilities {plan.capabilities:#x}, umask {plan.umask:03o}"
    yield f"system call policy {plan.seccomp}"
    yield f"run {' '.join(plan.command)} in {plan.working_directory}"


def _mount(mount: Mount) -> str:
    source = "/".join(part for part in (mount.source, mount.beneath) if part)
    parts = [f"mount {mount.kind.name.lower()}"]
    parts += [source] if source else []
    parts += [f"at {mount.target}"] if mount.target else []
    parts += [f"idmap {mount.idmap}"] if mount.idmap >= 0 else []
    parts += [f"size {mount.size}"] if mount.size else []
    parts += [str(flag.name).lower() for flag in mount.flags]
    return " ".join(parts)


def hex_lines(data: bytes) -> Iterator[str]:
    """As `xxd` shows them: offset, sixteen bytes, characters."""
    for at in range(0, len(data), 16):
        chunk = data[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in chunk)
        yield f"{at:08x}: {chunk.hex(' ', 2):<40}  {text}"
