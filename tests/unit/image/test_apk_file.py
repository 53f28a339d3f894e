# SPDX-License-Identifier: AGPL-3.0-or-later
"""The identity of a package file: every byte counts, and no file can make the check eat memory."""

from __future__ import annotations

import gzip
import hashlib
import os
import tarfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from ftos.image.engines import apk_file
from ftos.image.engines.apk_file import is_package
from ftos.image.manifest import LockedPackage

DATA = gzip.compress(b"data" * 1000, mtime=0)


def segment(name: str, content: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return gzip.compress(info.tobuf() + content + bytes(-len(content) % 512), mtime=0)


def information(data: bytes, times: int = 1) -> bytes:
    return b"pkgname = x\n" + f"datahash = {hashlib.sha256(data).hexdigest()}\n".encode() * times


SIGNATURE = segment(".SIGN.RSA.key", b"signature")
CONTROL = segment(".PKGINFO", information(DATA))


def package(control: bytes, size: int) -> LockedPackage:
    return LockedPackage(
        name="x",
        version="1",
        architecture="x86_64",
        file="x-1.apk",
        size=size,
        checksum=f"q1:{hashlib.sha1(control).hexdigest()}",
        url="",
    )


def judged(tmp_path: Path, content: bytes, locked: LockedPackage) -> bool:
    (tmp_path / "file").write_bytes(content)
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        return is_package(fd, locked)
    finally:
        os.close(fd)


@pytest.mark.parametrize("signatures", [0, 1, 2])
def test_a_package_is_known_by_its_control_segment(tmp_path: Path, signatures: int) -> None:
    content = SIGNATURE * signatures + CONTROL + DATA
    assert judged(tmp_path, content, package(CONTROL, len(content)))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no package",
        SIGNATURE,
        SIGNATURE + CONTROL,
        SIGNATURE + CONTROL + DATA[:-1],
        SIGNATURE + CONTROL + DATA + b"x",
        SIGNATURE + CONTROL + DATA + DATA,
        SIGNATURE + CONTROL[:-1] + DATA,
        SIGNATURE + DATA + CONTROL,
        SIGNATURE + segment(".PKGINFO", information(b"other data")) + DATA,
        SIGNATURE + segment(".PKGINFO", b"pkgname = x\n") + DATA,
        SIGNATURE + segment("other", information(DATA)) + DATA,
    ],
)
def test_another_file_of_the_right_size_is_not_the_package(tmp_path: Path, content: bytes) -> None:
    assert not judged(tmp_path, content, package(CONTROL, len(content)))


@pytest.mark.parametrize(
    "control",
    [
        segment(".PKGINFO", information(DATA, times=2)),
        segment(".PKGINFO", b"pkgname = x\n"),
        segment("usr", information(DATA)),
    ],
)
def test_a_control_segment_must_name_the_data_exactly_once(tmp_path: Path, control: bytes) -> None:
    content = control + DATA
    assert not judged(tmp_path, content, package(control, len(content)))


def test_another_size_than_that_of_the_index_is_not_the_package(tmp_path: Path) -> None:
    content = CONTROL + DATA
    right = package(CONTROL, len(content))
    assert judged(tmp_path, content, right)
    assert not judged(tmp_path, content, replace(right, size=len(content) + 1))


def test_a_control_segment_that_blows_up_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = segment(".PKGINFO", information(DATA) + bytes(200_000))
    content = control + DATA
    assert judged(tmp_path, content, package(control, len(content)))
    monkeypatch.setattr(apk_file, "_CONTROL_LIMIT", 100_000)
    assert not judged(tmp_path, content, package(control, len(content)))
