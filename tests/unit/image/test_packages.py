# SPDX-License-Identifier: AGPL-3.0-or-later
"""Locks, and the cache of package files."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

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


def test_what_no_lock_names_can_be_removed(cache: PackageCache, delivered: Path) -> None:
    with directory(delivered) as source:
        cache.add(source, NANO)
    cache.save_lock(DIGEST, LOCK)
    cache.save_lock("e" * 64, LOCK)
    assert cache.keep_only({DIGEST}, LOCK.packages) > 0
    assert cache.lock("e" * 64) is None
    assert cache.missing([NANO]) == []
    assert cache.keep_only({DIGEST}, ()) == len(b"nano's files")
    assert cache.missing([NANO]) == [NANO]
    assert cache.lock(DIGEST) == LOCK


@pytest.mark.parametrize("verdict", [True, False])
def test_another_checksum_is_judged_by_its_engine(cache: PackageCache, delivered: Path, verdict: bool) -> None:
    seen: list[bytes] = []
    alpine = replace(NANO, checksum="q1:00")

    def judge(fd: int) -> bool:
        seen.append(os.read(fd, 100))
        return verdict

    with directory(delivered) as source:
        if verdict:
            cache.add(source, alpine, judge)
        else:
            with pytest.raises(BuildError, match="has not the content"):
                cache.add(source, alpine, judge)
    assert seen == [b"nano's files"]
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
