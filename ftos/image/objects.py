# SPDX-License-Identifier: AGPL-3.0-or-later
"""The objects of the repository, read without ostree: whether each is what its name promises, and what names which.

`ostree fsck` is no help to who wants to know all that is damaged: it stops at the first directory that is missing, and
marks commits, which it then passes over the next time. The format is simple: a name is a SHA-256, of the whole file for
commits, directories (dirtree) and their permissions (dirmeta), and of a header and the content for files. Structures
are GVariants; numbers in them are big-endian, but for the offsets with which GVariant frames them. Only the one normal
form of a structure is taken: what can be read in two ways would be judged here, and used by ostree, as two things.

In: a repository of mode bare, which nobody prunes meanwhile. Nothing is changed, each object is read once.

Sources: ostree-core.h, and the GVariant specification's chapter on the serialisation format.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ftos.host.trees import OPEN_FILE

_METADATA_LIMIT = 64 << 20
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class DirectoryListing:
    """What a dirtree names."""

    files: dict[str, str]
    """Name → checksum of the file object; symlinks are files."""
    directories: dict[str, tuple[str, str]]
    """Name → checksums of dirtree and dirmeta."""


class Objects:
    """`damage` grows with what is asked for. A method returns None for an object that is missing or damaged."""

    def __init__(self, repository: Path) -> None:
        self._objects = repository / "objects"
        self.damage: dict[str, str] = {}
        """Name of an object, as CHECKSUM.TYPE → `missing` or `damaged`."""
        self._files: dict[str, os.stat_result | None] = {}
        self._metadata: dict[str, bytes | None] = {}

    def path(self, name: str) -> Path:
        """Where the object CHECKSUM.TYPE is."""
        return self._objects / name[:2] / name[2:]

    def root(self, commit: str) -> tuple[str, str] | None:
        """Checksums of dirtree and dirmeta of the root of `commit`."""
        data = self._read(f"{commit}.commit")
        if data is None:
            return None
        # Six members before the last, which is the dirmeta, are of variable size; the dirtree is the sixth. Between the
        # fifth and it is a number, at a multiple of 8.
        width = _width(data)
        offsets = len(data) - 6 * width
        end, body = (int.from_bytes(data[at : at + width], "little") for at in (offsets, offsets + width))
        if offsets != end + 32 or end != (body + 7) // 8 * 8 + 8 + 32:
            self.damage[f"{commit}.commit"] = "damaged"
            return None
        return data[end - 32 : end].hex(), data[end : end + 32].hex()

    def listing(self, dirtree: str) -> DirectoryListing | None:
        data = self._read(f"{dirtree}.dirtree")
        if data is None:
            return None
        try:
            return _listing(data)
        except (ValueError, IndexError):
            self.damage[f"{dirtree}.dirtree"] = "damaged"
            return None

    def owner_and_mode(self, dirmeta: str) -> tuple[int, int, int] | None:
        """Of a directory: uid, gid, mode with its type."""
        data = self._read(f"{dirmeta}.dirmeta")
        if data is None:
            return None
        if len(data) != 12:  # extended attributes would follow, which no build leaves
            self.damage[f"{dirmeta}.dirmeta"] = "damaged"
            return None
        uid, gid, mode = (int.from_bytes(data[at : at + 4], "big") for at in (0, 4, 8))
        return uid, gid, mode

    def file(self, checksum: str) -> os.stat_result | None:
        """Status of a file object."""
        if checksum not in self._files:
            status, actual, problem = None, "", "damaged"
            try:
                status, actual = file_checksum(self.path(f"{checksum}.file"))
            except FileNotFoundError:
                problem = "missing"
            except OSError:
                pass
            self._files[checksum] = status if actual == checksum else None
            if actual != checksum:
                self.damage[f"{checksum}.file"] = problem
        return self._files[checksum]

    def _read(self, name: str) -> bytes | None:
        if name not in self._metadata:
            data, problem = None, "damaged"
            try:
                with os.fdopen(os.open(self.path(name), OPEN_FILE), "rb") as file:
                    data = file.read(_METADATA_LIMIT)
            except FileNotFoundError:
                problem = "missing"
            except OSError:
                pass
            if data is not None and hashlib.sha256(data).hexdigest() != name.partition(".")[0]:
                data = None
            self._metadata[name] = data
            if data is None:
                self.damage[name] = problem
        return self._metadata[name]


def commit_body(data: bytes) -> str:
    """The text of the message of a commit, without its first line. Raises ValueError for what is no commit."""
    width = _width(data)
    start, end = (int.from_bytes(data[-n * width :][:width], "little") for n in (4, 5))
    if not 0 < start < end <= len(data) - 6 * width:
        raise ValueError("not a commit")
    return data[start : end - 1].decode()


def file_checksum(path: Path) -> tuple[os.stat_result, str]:
    """Status of a file or symlink, and its checksum as ostree computes it. Raises OSError."""
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        target = os.fsencode(os.readlink(path))
        return status, hashlib.sha256(header(status.st_uid, status.st_gid, status.st_mode, target)).hexdigest()
    fd = os.open(path, OPEN_FILE)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            return status, ""
        return status, content_checksum(fd, header(status.st_uid, status.st_gid, status.st_mode, b""))
    finally:
        os.close(fd)


def content_checksum(fd: int, start: bytes) -> str:
    """SHA-256 of `start` and what is read from `fd`. Raises OSError."""
    digest = hashlib.sha256(start)
    while block := os.read(fd, _BLOCK):
        digest.update(block)
    return digest.hexdigest()


def header(uid: int, gid: int, mode: int, target: bytes) -> bytes:
    """The header of a file object without extended attributes, of type (uuuusa(ayay)), with its size before it.

    target: of a symlink; b"" for a file.
    """
    numbers = (uid, gid, mode, 0)
    body = b"".join(number.to_bytes(4, "big") for number in numbers) + target + b"\0"
    end = len(body)
    width = next(width for width in (1, 2, 4) if end + width < 1 << 8 * width)
    body += end.to_bytes(width, "little")
    return len(body).to_bytes(4, "big") + bytes(4) + body


def _listing(data: bytes) -> DirectoryListing:
    """A dirtree, of type (a(say)a(sayay)). Raises ValueError or IndexError for what is none."""
    width = _width(data)
    middle = _offset(data, len(data) - width, width)
    files = {name: first for name, (first,) in _entries(data[:middle], 1)}
    directories = {name: (first, second) for name, (first, second) in _entries(data[middle:-width], 2)}
    if files.keys() & directories.keys():
        raise ValueError("a name twice")
    return DirectoryListing(files, directories)


def _entries(data: bytes, checksums: int) -> Iterator[tuple[str, list[str]]]:
    """Name, and as many checksums as there are, of each entry of a dirtree. Names are in order, none is there twice."""
    last = b""
    for entry in _array(data):
        # The ends of the members but the last one stand behind all, in reverse.
        width = _width(entry)
        end = _offset(entry, len(entry) - width, width)
        ends = [_offset(entry, len(entry) - number * width, width) for number in range(1, checksums + 1)]
        right = [end + 32 * number for number in range(checksums)]
        if end < 2 or entry[end - 1] or ends != right or len(entry) != ends[-1] + 32 + checksums * width:
            raise ValueError("not an entry")
        name = entry[: end - 1]
        if name in (b".", b"..") or b"/" in name or b"\0" in name or name <= last:
            raise ValueError(name)
        last = name
        yield name.decode(), [entry[start : start + 32].hex() for start in ends]


def _array(data: bytes) -> Iterator[bytes]:
    """The elements, of variable size, of an array: behind them is a table of their ends."""
    if not data:
        return
    width = _width(data)
    table = _offset(data, len(data) - width, width)
    start = 0
    for at in range(table, len(data), width):
        end = _offset(data, at, width)
        if end < start:
            raise ValueError(end)
        yield data[start:end]
        start = end
    if start != table:
        raise ValueError(table)


def _offset(data: bytes, at: int, width: int) -> int:
    """Raises ValueError when it points beyond the data."""
    offset = int.from_bytes(data[at : at + width], "little")
    if at < 0 or at + width > len(data) or offset > at:
        raise ValueError(offset)
    return offset


def _width(data: bytes) -> int:
    """Bytes of an offset in a container, offsets included."""
    return 1 if len(data) < 1 << 8 else 2 if len(data) < 1 << 16 else 4
