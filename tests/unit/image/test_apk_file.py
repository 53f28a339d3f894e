# SPDX-License-Identifier: AGPL-3.0-or-later
"""The identity of a package file: every byte counts, and no file can make the check eat memory."""

from __future__ import annotations

import gzip
import hashlib
import tarfile
from pathlib import Path

import pytest
from msgspec.structs import replace

from ftos.image.engines import apk_file
from ftos.image.engines.apk_file import is_package, vouched
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
    """Whether the file is taken; then what is kept of it is the package, and nothing before it."""
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        try:
            (tmp_path / "kept").write_bytes(b"".join(vouched(file, locked)))
        except ValueError:
            return False
    with (tmp_path / "kept").open("rb") as kept:
        assert is_package(kept, locked)
    return True


@pytest.mark.parametrize("signatures", [0, 1, 2])
def test_a_package_is_known_by_its_control_segment(tmp_path: Path, signatures: int) -> None:
    content = SIGNATURE * signatures + CONTROL + DATA
    assert judged(tmp_path, content, package(CONTROL, len(content)))
    assert (tmp_path / "kept").read_bytes() == CONTROL + DATA


def test_a_file_with_a_signature_is_not_what_is_kept(tmp_path: Path) -> None:
    content = SIGNATURE + CONTROL + DATA
    (tmp_path / "file").write_bytes(content)
    with (tmp_path / "file").open("rb") as file:
        assert not is_package(file, package(CONTROL, len(content)))


def headers(name: str, *more: tuple[bytes, bytes]) -> bytes:
    """A segment of entries (type, content), and one named `name`."""
    tar = b""
    for kind, content in (*more, (b"0", b"")):
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, len(content)
        tar += info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)
    return gzip.compress(tar, mtime=0)


@pytest.mark.parametrize(
    "before",
    [
        headers(".SIGN.RSA.x", *[(b"L", b"a\0")] * 3000),
        headers(".SIGN.RSA.x", (b"x", b"30 GNU.sparse.name=etc/evil.sh\n")),
        headers(".SIGN.RSA.x", (b"g", b"21 path=etc/evil.sh\n")),
        headers("etc/evil.sh"),
        gzip.compress(b"no tar file"),
    ],
)
def test_nothing_of_what_stands_before_the_control_segment_is_read_or_kept(tmp_path: Path, before: bytes) -> None:
    content = before + CONTROL + DATA
    assert judged(tmp_path, content, package(CONTROL, len(content)))
    assert (tmp_path / "kept").read_bytes() == CONTROL + DATA


def test_not_any_number_of_segments_is_looked_through(tmp_path: Path) -> None:
    content = gzip.compress(b"") * 1000 + CONTROL + DATA
    assert not judged(tmp_path, content, package(CONTROL, len(content)))


@pytest.mark.parametrize("size", [b"-0000001000\0", b"\x80" + bytes(11), b"           \0", b"77777777777\0"])
def test_a_control_segment_with_a_senseless_size_is_refused(tmp_path: Path, size: bytes) -> None:
    info = tarfile.TarInfo("other")
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[124:136] = size
    control = gzip.compress(bytes(header) + gzip.decompress(CONTROL), mtime=0)
    assert not judged(tmp_path, control + DATA, package(control, len(control + DATA)))


def test_a_control_segment_of_chained_long_names_is_read(tmp_path: Path) -> None:
    control = gzip.compress(gzip.decompress(headers("x", *[(b"L", b"a\0")] * 3000)) + gzip.decompress(CONTROL), mtime=0)
    assert judged(tmp_path, control + DATA, package(control, len(control + DATA)))


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


def test_what_is_larger_than_the_index_has_it_is_not_the_package(tmp_path: Path) -> None:
    content = SIGNATURE + CONTROL + DATA
    right = package(CONTROL, len(content))
    assert judged(tmp_path, content, right)
    assert not judged(tmp_path, content, replace(right, size=len(content) - 1))


def test_a_control_segment_that_blows_up_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = segment(".PKGINFO", information(DATA) + bytes(200_000))
    content = control + DATA
    assert judged(tmp_path, content, package(control, len(content)))
    monkeypatch.setattr(apk_file, "_CONTROL_LIMIT", 100_000)
    assert not judged(tmp_path, content, package(control, len(content)))
