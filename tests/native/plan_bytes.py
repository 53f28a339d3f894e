# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plan bytes with single fields changed: for trying what `encode` would never write."""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import Any

from ftos.plan.encode import FILTER, HEADER, IDMAP, LANDLOCK, MOUNT, RANGE, RLIMIT, checksum

RECORDS = {"idmaps": IDMAP, "mounts": MOUNT, "landlock": LANDLOCK, "rlimits": RLIMIT, "seccomp": FILTER}


def fields(layout: Any) -> dict[str, tuple[int, int]]:
    """Offset and size of each field of a construct Struct of fixed size, by name."""
    sizes = [part.sizeof() for part in layout.subcons]
    starts = [0, *accumulate(sizes)]
    return {part.name: (start, size) for part, start, size in zip(layout.subcons, starts, sizes, strict=False)}


class PlanBytes:
    """A copy of plan bytes to change; `sealed` makes size and checksum right again."""

    def __init__(self, data: bytes) -> None:
        self.data = bytearray(data)

    def header(self, **values: int) -> PlanBytes:
        """Set fields of the header; `mounts_offset` and `mounts_count` are the halves of the range `mounts`."""
        for name, value in values.items():
            part, _, half = name.rpartition("_")
            known = fields(HEADER)
            if name in known:
                start, size = known[name]
            else:
                inner, size = fields(RANGE)[half]
                start = known[part][0] + inner
            self._set(start, size, value)
        return self

    def record(self, section: str, index: int, **values: int) -> PlanBytes:
        """Set fields of a record; -1 is the last one."""
        layout = RECORDS[section]
        offset, count = self.range(section)
        at = offset + index % count * layout.sizeof()
        for name, value in values.items():
            start, size = fields(layout)[name]
            self._set(at + start, size, value)
        return self

    def range(self, section: str) -> tuple[int, int]:
        """Offset and count of a section."""
        offset, count = struct.unpack_from("<II", self.data, fields(HEADER)[section][0])
        return offset, count

    def string(self, text: str) -> int:
        """The offset of a string among the strings; it is added, behind those that are there, if it is new."""
        start, count = self.range("strings")
        found = bytes(self.data[start : start + count]).find(b"\0" + text.encode() + b"\0")
        if found >= 0:
            return found + 1
        added = text.encode() + b"\0"
        self.data += added + b"\0" * (-len(added) % 8)
        self.header(strings_count=len(self.data) - start)
        return count

    def sealed(self) -> bytes:
        self.header(size=len(self.data), checksum=0)
        self.header(checksum=checksum(bytes(self.data)))
        return bytes(self.data)

    def _set(self, at: int, size: int, value: int) -> None:
        self.data[at : at + size] = (value % (1 << size * 8)).to_bytes(size, "little")
