# SPDX-License-Identifier: AGPL-3.0-or-later
"""The identity of an .apk file, computed without apk.

A package file is a row of gzip members: signatures, the control segment (`.PKGINFO` and scripts), the data. An index
names a package by the SHA-1 of the compressed control segment; `.PKGINFO` in it names the SHA-256 of the compressed
data. So the two together fix every byte that is installed.

Nothing vouches for the signatures: whoever stands before a mirror can put anything there, in forms that apk and tar
read differently. The signed index makes them needless, so they are dropped, and nobody ever looks into them.
"""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from ftos.image.manifest import LockedPackage

_BLOCK = 1 << 16
_CONTROL_LIMIT = 16 << 20
"""Bytes of a signature or control segment, packed and unpacked."""
_SIGNATURES = 8
_HEADER = 512
_OCTAL = re.compile(rb"([0-7]{1,11})[ \0]*")
_DATA_HASH = re.compile(rb"^datahash = ([0-9a-f]{64})$", re.MULTILINE)


def vouched(file: BinaryIO, package: LockedPackage) -> Iterator[bytes]:
    """What the checksum of `package`, a `q1:` one, vouches for in its file: control segment and data.

    Raises ValueError when it is not the file of the package, at the end at the latest. Memory is bounded whatever the
    file is.
    """
    if os.fstat(file.fileno()).st_size > package.size:
        raise ValueError("larger than the index has it")
    rest, packed, content = _member(file, b"")
    skipped = 0
    while f"q1:{hashlib.sha1(packed, usedforsecurity=False).hexdigest()}" != package.checksum:
        skipped += 1
        if skipped > _SIGNATURES:
            raise ValueError("no control segment")
        rest, packed, content = _member(file, rest)
    yield packed
    data = hashlib.sha256()
    block = rest or file.read(_BLOCK)
    while block:
        data.update(block)
        yield block
        block = file.read(_BLOCK)
    if _DATA_HASH.findall(_file(content, b".PKGINFO")) != [data.hexdigest().encode()]:
        raise ValueError("other data than the control segment names")


def is_package(file: BinaryIO, package: LockedPackage) -> bool:
    """Whether `file` is what `vouched` gives of `package`, and nothing more."""
    try:
        return sum(map(len, vouched(file, package))) == os.fstat(file.fileno()).st_size
    except ValueError:
        return False


def _member(file: BinaryIO, rest: bytes) -> tuple[bytes, bytes, bytes]:
    """The gzip member that begins with `rest` and goes on in `file`: what was read behind it; it packed; it unpacked.

    Raises ValueError when it is none, is too large or ends too early.
    """
    member = zlib.decompressobj(wbits=31)
    packed, content = bytearray(), bytearray()
    while not member.eof:
        block = rest or file.read(_BLOCK)
        rest = b""
        packed += block
        try:
            content += member.decompress(block, _CONTROL_LIMIT - len(content) + 1)
        except zlib.error as error:
            raise ValueError("not packed by gzip") from error
        if not block or len(content) > _CONTROL_LIMIT or len(packed) > _CONTROL_LIMIT or member.unconsumed_tail:
            raise ValueError("too large a segment, or a cut one")
    behind = member.unused_data
    return behind, bytes(packed[: len(packed) - len(behind)]), bytes(content)


def _file(content: bytes, name: bytes) -> bytes:
    """The content of the first regular file `name` in a tar archive; b"" when there is none.

    A control segment need not have the end that tar files have.
    """
    place = 0
    while header := content[place : place + _HEADER]:
        size = _OCTAL.fullmatch(header[124:136])
        if size is None:
            return b""
        begin = place + _HEADER
        if header[:100].rstrip(b"\0") == name and header[156:157] in (b"0", b"\0"):
            return content[begin : begin + int(size[1], 8)]
        place = begin - (-int(size[1], 8) // _HEADER) * _HEADER
    return b""
