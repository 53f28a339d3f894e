# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plan bytes: the binary form of a LaunchPlan which the launch engine reads (docs/plan-format.md).

The layout is described here once, with construct, and read by `ftos/_native/plan_decode.c`. `encode` and `decode` are
inverse but for the words meant for people (`Mount.purpose`) and the name of the system call policy, of which the
bytes hold the compiled program. All numbers are little-endian; sections start at multiples of 8.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

from construct import Array, Const, ConstructError, Int16ul, Int32sl, Int32ul, Int64ul, Struct

from ftos.errors import LaunchError
from ftos.plan.records import (
    Access,
    CgroupLimits,
    IdMap,
    LandlockRule,
    LaunchPlan,
    Mount,
    MountFlag,
    MountKind,
    Namespace,
    ResourceLimit,
)

VERSION = 1
UNLIMITED = (1 << 64) - 1

RANGE = Struct("offset" / Int32ul, "count" / Int32ul)
HEADER = Struct(
    "magic" / Const(b"FTOSPLAN"),
    "version" / Const(VERSION, Int32ul),
    "size" / Int32ul,
    "checksum" / Int64ul,
    "capabilities" / Int64ul,
    "memory_max" / Int64ul,
    "pids_max" / Int32ul,
    "cpu_weight" / Int32ul,
    "namespaces" / Int32ul,
    "flags" / Int32ul,
    "uid" / Int32ul,
    "gid" / Int32ul,
    "umask" / Int32ul,
    "oom_score_adj" / Int32sl,
    "name" / Int32ul,
    "group" / Int32ul,
    "hostname" / Int32ul,
    "working_directory" / Int32ul,
    "command" / Int32ul,
    "command_count" / Int32ul,
    "environment" / Int32ul,
    "environment_count" / Int32ul,
    "idmaps" / RANGE,
    "mounts" / RANGE,
    "landlock" / RANGE,
    "rlimits" / RANGE,
    "seccomp" / RANGE,
    "strings" / RANGE,
)
IDMAP = Struct("uid" / Int32ul, "gid" / Int32ul, "outside" / Int32ul, "count" / Int32ul)
MOUNT = Struct(
    "kind" / Int32ul,
    "flags" / Int32ul,
    "idmap" / Int32sl,
    "mode" / Int32ul,
    "source" / Int32ul,
    "beneath" / Int32ul,
    "target" / Int32ul,
    "reserved" / Const(0, Int32ul),
    "size" / Int64ul,
)
LANDLOCK = Struct("path" / Int32ul, "access" / Int32ul)
RLIMIT = Struct("resource" / Int32ul, "reserved" / Const(0, Int32ul), "soft" / Int64ul, "hard" / Int64ul)
FILTER = Struct("code" / Int16ul, "jt_jf" / Int16ul, "k" / Int32ul)
FLAG_LANDLOCK_SCOPES = 1


def checksum(data: bytes) -> int:
    """FNV-1a over the 64-bit words of a plan, the header's own `checksum` field taken as 0."""
    value = 0xCBF29CE484222325
    for at, (word,) in enumerate(struct.iter_unpack("<Q", data)):
        value = ((value ^ (0 if at == 2 else word)) * 0x100000001B3) & UNLIMITED
    return value


class _Strings:
    """The strings of a plan: each once, ended by 0; runs of strings stand together."""

    def __init__(self) -> None:
        self.data = bytearray(b"\0")
        self._known = {"": 0}

    def add(self, text: str) -> int:
        if text not in self._known:
            self._known[text] = self.add_run((text,))
        return self._known[text]

    def add_run(self, texts: Iterable[str]) -> int:
        offset = len(self.data)
        for text in texts:
            self.data += text.encode("utf-8", "surrogateescape") + b"\0"
        return offset if len(self.data) > offset else 0


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _unlimited(value: int) -> int:
    return UNLIMITED if value < 0 else value


def _limited(value: int) -> int:
    return -1 if value == UNLIMITED else value


def encode(plan: LaunchPlan, program: bytes) -> bytes:
    """The bytes of a plan; `program` is its compiled system call filter (ftos.plan.seccomp.compile_policy).

    Raises LaunchError where a number does not fit its field.
    """
    try:
        return _encode(plan, program)
    except ConstructError as error:
        raise LaunchError(f"{plan.name}: a value of this plan is out of range: {_one_line(error)}") from error


def _encode(plan: LaunchPlan, program: bytes) -> bytes:
    strings = _Strings()
    mounts = [
        {
            "kind": mount.kind,
            "flags": mount.flags,
            "idmap": mount.idmap,
            "mode": mount.mode,
            "source": strings.add(mount.source),
            "beneath": strings.add(mount.beneath),
            "target": strings.add(mount.target),
            "size": mount.size,
        }
        for mount in plan.mounts
    ]
    rules = [{"path": strings.add(rule.path), "access": rule.access} for rule in plan.landlock]
    limits = [
        {"resource": limit.resource, "soft": _unlimited(limit.soft), "hard": _unlimited(limit.hard)}
        for limit in plan.rlimits
    ]
    idmaps = [{"uid": m.uid, "gid": m.gid, "outside": m.outside, "count": m.count} for m in plan.idmaps]
    fields = {
        "name": strings.add(plan.name),
        "group": strings.add(plan.group),
        "hostname": strings.add(plan.hostname),
        "working_directory": strings.add(plan.working_directory),
        "command": strings.add_run(plan.command),
        "environment": strings.add_run(f"{name}={value}" for name, value in plan.environment),
    }
    strings.data += b"\0" * (-len(strings.data) % 8)
    sections = {
        "idmaps": (Array(len(idmaps), IDMAP).build(idmaps), len(idmaps)),
        "mounts": (Array(len(mounts), MOUNT).build(mounts), len(mounts)),
        "landlock": (Array(len(rules), LANDLOCK).build(rules), len(rules)),
        "rlimits": (Array(len(limits), RLIMIT).build(limits), len(limits)),
        "seccomp": (program, len(program) // FILTER.sizeof()),
        "strings": (bytes(strings.data), len(strings.data)),
    }
    offset = HEADER.sizeof()
    ranges = {}
    for name, (data, count) in sections.items():
        ranges[name] = {"offset": offset, "count": count}
        offset += len(data)
    header = {
        "size": offset,
        "checksum": 0,
        "capabilities": plan.capabilities,
        "memory_max": plan.limits.memory,
        "pids_max": plan.limits.pids,
        "cpu_weight": plan.limits.cpu_weight,
        "namespaces": plan.namespaces,
        "flags": FLAG_LANDLOCK_SCOPES if plan.landlock_scopes else 0,
        "uid": plan.uid,
        "gid": plan.gid,
        "umask": plan.umask,
        "oom_score_adj": plan.oom_score_adj,
        "command_count": len(plan.command),
        "environment_count": len(plan.environment),
        **fields,
        **ranges,
    }
    body = b"".join(data for data, _ in sections.values())
    header["checksum"] = checksum(HEADER.build(header) + body)
    built: bytes = HEADER.build(header) + body
    return built


def decode(data: bytes) -> tuple[LaunchPlan, bytes]:
    """The plan and the filter program in plan bytes. Raises LaunchError where they are not whole."""
    try:
        header = HEADER.parse(data)
        if header.size != len(data) or header.checksum != checksum(data):
            raise LaunchError("the launch plan can't be read: it is cut off or damaged")
        start = header.strings.offset
        strings = data[start : start + header.strings.count]

        def records(name: str, layout: Struct) -> Any:
            return Array(header[name].count, layout).parse(data[header[name].offset :])

        def texts(offset: int, count: int) -> tuple[str, ...]:
            parts = strings[offset:].split(b"\0", count)[:count]
            return tuple(part.decode("utf-8", "surrogateescape") for part in parts)

        def text(offset: int) -> str:
            return texts(offset, 1)[0]

        plan = LaunchPlan(
            name=text(header.name),
            group=text(header.group),
            hostname=text(header.hostname),
            namespaces=Namespace(header.namespaces),
            idmaps=tuple(
                IdMap(uid=m.uid, gid=m.gid, outside=m.outside, count=m.count) for m in records("idmaps", IDMAP)
            ),
            uid=header.uid,
            gid=header.gid,
            capabilities=header.capabilities,
            mounts=tuple(
                Mount(
                    kind=MountKind(m.kind),
                    target=text(m.target),
                    source=text(m.source),
                    beneath=text(m.beneath),
                    idmap=m.idmap,
                    flags=MountFlag(m.flags),
                    size=m.size,
                    mode=m.mode,
                )
                for m in records("mounts", MOUNT)
            ),
            landlock=tuple(
                LandlockRule(path=text(r.path), access=Access(r.access)) for r in records("landlock", LANDLOCK)
            ),
            landlock_scopes=bool(header.flags & FLAG_LANDLOCK_SCOPES),
            seccomp="",
            rlimits=tuple(
                ResourceLimit(resource=r.resource, soft=_limited(r.soft), hard=_limited(r.hard))
                for r in records("rlimits", RLIMIT)
            ),
            umask=header.umask,
            oom_score_adj=header.oom_score_adj,
            environment=tuple(
                (name, value)
                for name, _, value in (e.partition("=") for e in texts(header.environment, header.environment_count))
            ),
            command=texts(header.command, header.command_count),
            working_directory=text(header.working_directory),
            limits=CgroupLimits(memory=header.memory_max, pids=header.pids_max, cpu_weight=header.cpu_weight),
        )
    except (ConstructError, ValueError, struct.error) as error:
        raise LaunchError(f"the launch plan can't be read: {_one_line(error)}") from error
    size = header.seccomp.count * FILTER.sizeof()
    return plan, data[header.seccomp.offset : header.seccomp.offset + size]
