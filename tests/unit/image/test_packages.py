# SPDX-License-Identifier: AGPL-3.0-or-later
"""Locks, and the cache of package files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import BinaryIO

import pytest
from msgspec.structs import replace

from ftos.errors import BuildError
from ftos.host.places import Places
from ftos.host.trees import directory
from ftos.image.manifest import LockedPackage, PackageLock
from ftos.image.packages import PackageCache

DIGEST = "d" * 64


def package(name: str, content: bytes) -> LockedPackage:
    return LockedPackage(
        name=name,
        version="1:2",
        architecture="all",
        file=f"{name}_1%3a2_all.deb",
        size=len(content),
        checksum="sha256:" + hashlib.sha256(content).hexdigest(),
        url="http://m.invalid/",
    )


NANO = package("nano", b"nano's files")
LIBC = package("libc6", b"libc's files")
LOCK = PackageLock(base=(LIBC,), packages=(NANO,), indexes={"InRelease": "0" * 64})


@pytest.fixture
def cache(tmp_path: Path) -> PackageCache:
    made = PackageCache(Places(tmp_path / "root"))
    made.prepare()
    return made


@pytest.fixture
def delivered(tmp_path: Path) -> Path:
    (tmp_path / NANO.file).write_bytes(b"nano's files")
    return tmp_path


def test_a_lock_is_kept_and_what_the_cache_lacks_is_known(cache: PackageCache, delivered: Path) -> None:
    assert cache.lock(DIGEST) is None
    cache.save_lock(DIGEST, LOCK)
    assert cache.lock(DIGEST) == LOCK
    assert cache.missing((*LOCK.base, *LOCK.packages)) == [LIBC, NANO]
    with directory(delivered) as source:
        cache.add(source, NANO)
    assert cache.missing((*LOCK.base, *LOCK.packages)) == [LIBC]


def test_locks_of_the_same_packages_have_one_digest_whatever_the_mirror_and_the_index() -> None:
    elsewhere = replace(NANO, url="http://other.invalid/")
    assert PackageLock(base=(LIBC,), packages=(elsewhere,), indexes={}).digest == LOCK.digest
    assert PackageLock(base=(LIBC,), packages=(replace(NANO, checksum="sha256:0"),), indexes={}).digest != LOCK.digest
    assert PackageLock(base=(LIBC,), indexes={}).digest != LOCK.digest


def test_what_no_lock_names_is_surplus(cache: PackageCache, delivered: Path) -> None:
    with directory(delivered) as source:
        cache.add(source, NANO)
    cache.save_lock(DIGEST, LOCK)
    cache.save_lock("e" * 64, LOCK)
    for digest in (DIGEST, "e" * 64):
        cache.indexes(digest)
    (file,) = cache.files().values()
    assert {path.relative_to(file.parent.parent) for path in cache.surplus({DIGEST}, LOCK.packages)} == {
        Path("locks") / f"{'e' * 64}.json",
        Path("indexes") / ("e" * 64),
    }
    assert file in cache.surplus({DIGEST}, ())
    file.with_name(f".{file.name}.7.tmp").touch()  # of a killed build
    assert len(cache.surplus({DIGEST}, LOCK.packages)) == 3
    assert cache.files() == {NANO.checksum: file}


def test_locks_are_listed_and_forgotten(cache: PackageCache, tmp_path: Path) -> None:
    cache.save_lock(DIGEST, LOCK)
    (tmp_path / f"root/var/cache/ftos/locks/{'e' * 64}.json").write_text("{")
    assert cache.locks() == {DIGEST: LOCK, "e" * 64: None}
    cache.forget("e" * 64)
    cache.forget("f" * 64)
    assert cache.locks() == {DIGEST: LOCK}


@pytest.mark.parametrize("verdict", [True, False])
def test_another_checksum_is_judged_by_its_engine(cache: PackageCache, delivered: Path, verdict: bool) -> None:
    alpine = replace(NANO, checksum="q1:00")

    def read(file: BinaryIO) -> Iterator[bytes]:
        yield file.read()[:4]
        if not verdict:
            raise ValueError

    outcome = nullcontext() if verdict else pytest.raises(BuildError, match="has not the content")
    with directory(delivered) as source, outcome:
        cache.add(source, alpine, read)
    assert [file.read_bytes() for file in cache.files().values()] == ([b"nano"] if verdict else [])
    assert (cache.missing([alpine]) == []) is verdict


def test_a_damaged_lock_is_as_none(cache: PackageCache, tmp_path: Path) -> None:
    (tmp_path / f"root/var/cache/ftos/locks/{DIGEST}.json").write_text("{")
    assert cache.lock(DIGEST) is None


def test_a_wrong_file_never_enters_the_cache(cache: PackageCache, delivered: Path) -> None:
    (delivered / NANO.file).write_bytes(b"evil")
    with directory(delivered) as source, pytest.raises(BuildError, match="nano_1%3a2_all"):
        cache.add(source, NANO)
    assert cache.missing([NANO]) == [NANO]


def test_files_get_the_names_that_the_package_manager_knows(cache: PackageCache, delivered: Path) -> None:
    with directory(delivered) as source:
        cache.add(source, NANO)
    target = delivered / "laid-out"
    target.mkdir()
    cache.lay_out([NANO], target)
    assert (target / NANO.file).read_bytes() == b"nano's files"
