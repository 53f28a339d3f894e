# SPDX-License-Identifier: AGPL-3.0-or-later
"""Writes objects of an ostree repository of mode bare-user, right ones and such as no ostree would write."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from ftos.image.objects import header
from ftos.image.tree import MOUNT_POINTS
from ftos.plan.records import FOREIGN_BASE as ROOT

Pair = tuple[bytes, bytes]
"""Checksums of dirtree and dirmeta."""
PASSWD = b"root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n"
GROUP = b"root:x:0:\napp:x:1000:\n"


class Forge:
    def __init__(self, repository: Path) -> None:
        self.repository = repository

    def put(self, kind: str, data: bytes, checksum: bytes | None = None) -> bytes:
        """Its checksum."""
        checksum = checksum or hashlib.sha256(data).digest()
        path = self.path(checksum, kind)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return checksum

    def path(self, checksum: bytes, kind: str) -> Path:
        return self.repository / "objects" / checksum.hex()[:2] / f"{checksum.hex()[2:]}.{kind}"

    def file(self, content: bytes, mode: int = stat.S_IFREG | 0o644, owner: int = ROOT, more: bytes = b"") -> bytes:
        """A file, or a symlink. more: what is behind owner and mode in the attribute, as extended attributes are."""
        is_link = stat.S_ISLNK(mode)
        start = header(owner, owner, mode, content if is_link else b"")
        checksum = hashlib.sha256(start + (b"" if is_link else content)).digest()
        self.put("file", content + b"\0" if is_link else content, checksum)
        meta = b"".join(number.to_bytes(4, "big") for number in (owner, owner, mode)) + more
        os.setxattr(self.path(checksum, "file"), "user.ostreemeta", meta)
        return checksum

    def link(self, target: bytes) -> bytes:
        return self.file(target, stat.S_IFLNK | 0o777)

    def meta(self, mode: int = stat.S_IFDIR | 0o755, owner: int = ROOT, more: bytes = b"") -> bytes:
        return self.put("dirmeta", b"".join(number.to_bytes(4, "big") for number in (owner, owner, mode)) + more)

    def tree(self, files: Sequence[tuple[bytes, bytes]], directories: Sequence[tuple[bytes, Pair]] = ()) -> bytes:
        """In the order which is given."""
        first = _array([_entry(name, checksum) for name, checksum in files])
        second = _array([_entry(name, *pair) for name, pair in directories])
        return self.put("dirtree", _framed(first + second, [len(first)]))

    def directory(self, files: Mapping[bytes, bytes], directories: Mapping[bytes, Pair], meta: bytes = b"") -> Pair:
        return self.tree(sorted(files.items()), sorted(directories.items())), meta or self.meta()

    def image(self, files: Mapping[bytes, bytes] = {}, directories: Mapping[bytes, Pair] = {}) -> str:
        """A commit by the rules, with these files and directories in its root besides or instead."""
        below: dict[str, Pair] = {}
        for place, (mode, owner) in reversed(MOUNT_POINTS.items()):
            inner = {
                path.rpartition("/")[2].encode(): pair for path, pair in below.items() if path.startswith(place + "/")
            }
            here = {b"passwd": self.file(PASSWD), b"group": self.file(GROUP)} if place == "etc" else {}
            below = {path: pair for path, pair in below.items() if not path.startswith(place + "/")}
            below[place] = self.directory(here, inner, self.meta(stat.S_IFDIR | mode, ROOT + owner))
        top = {name.encode(): pair for name, pair in below.items() if name.encode() not in files} | {**directories}
        return self.commit(*self.directory(files, top))

    def commit(self, dirtree: bytes, dirmeta: bytes) -> str:
        body = b"s\0b\0"
        place = -len(body) % 8
        content = body + bytes(place) + bytes(8) + dirtree + dirmeta
        return self.put("commit", _framed(content, [len(content) - 32, 4, 2, 0, 0, 0])).hex()


def _entry(name: bytes, *checksums: bytes) -> bytes:
    end = len(name) + 1
    return _framed(name + b"\0" + b"".join(checksums), [end + 32, end][-len(checksums) :])


def _array(entries: Sequence[bytes]) -> bytes:
    ends = [sum(map(len, entries[: number + 1])) for number in range(len(entries))]
    return _framed(b"".join(entries), ends) if entries else b""


def _framed(body: bytes, ends: Sequence[int]) -> bytes:
    width = next(width for width in (1, 2, 4) if len(body) + width * len(ends) < 1 << 8 * width)
    return body + b"".join(end.to_bytes(width, "little") for end in ends)
