# SPDX-License-Identifier: AGPL-3.0-or-later
"""The identity of an .apk file, computed without apk.

A package file is a row of gzip members: signatures, the control segment (`.PKGINFO` and scripts), the data. An index
names a package by the SHA-1 of the compressed control segment; `.PKGINFO` in it names the SHA-256 of the compressed
data. So the two together fix every byte that is installed. Signatures need no look: the index is signed.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import zlib

from ftos.image.manifest import LockedPackage

_BLOCK = 1 << 16
_CONTROL_LIMIT = 16 << 20
"""Bytes of a signature or control segment, packed and unpacked."""
_DATA_HASH = re.compile(rb"^datahash = ([0-9a-f]{64})$", re.MULTILINE)


def is_package(fd: int, package: LockedPackage) -> bool:
    """Whether the file `fd` (readable, at its beginning) is `package`, which has a `q1:` checksum. Memory is bounded
    whatever the file is."""
    if os.fstat(fd).st_size != package.size:
        return False
    with os.fdopen(os.dup(fd), "rb") as file:
        try:
            rest, packed, content = _member(file, b"")
            while _first_name(content).startswith(".SIGN."):
                rest, packed, content = _member(file, rest)
            with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as control:
                information = control.extractfile(".PKGINFO")
                promised = _DATA_HASH.findall(information.read() if information is not None else b"")
        except (tarfile.TarError, zlib.error, ValueError, KeyError):
            return False
        identity = hashlib.sha1(packed, usedforsecurity=False).hexdigest()
        data = hashlib.sha256(rest)
        while block := file.read(_BLOCK):
            data.update(block)
    return f"q1:{identity}" == package.checksum and promised == [data.hexdigest().encode()]


def _member(file: io.BufferedIOBase | io.BufferedReader, rest: bytes) -> tuple[bytes, bytes, bytes]:
    """The gzip member that begins with `rest` and goes on in `file`: what was read behind it; it packed; it unpacked.

    Raises ValueError when it is too large or ends too early, zlib.error.
    """
    member = zlib.decompressobj(wbits=31)
    packed, content = bytearray(), bytearray()
    while not member.eof:
        block = rest or file.read(_BLOCK)
        rest = b""
        packed += block
        content += member.decompress(block, _CONTROL_LIMIT - len(content) + 1)
        if not block or len(content) > _CONTROL_LIMIT or len(packed) > _CONTROL_LIMIT or member.unconsumed_tail:
            raise ValueError
    behind = member.unused_data
    return behind, bytes(packed[: len(packed) - len(behind)]), bytes(content)


def _first_name(content: bytes) -> str:
    """Name of the first file in a segment, which need not have the end that tar files have."""
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as archive:
        first = archive.next()
        return first.name if first is not None else ""
