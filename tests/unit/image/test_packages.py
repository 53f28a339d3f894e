# SPDX-License-Identifier: AGPL-3.0-or-later
"""Locks, and the cache of package files."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.host.places import Places
from ftos.host.trees import directory
from ftos.image.packages import LockedPackage, PackageCache, PackageLock

DIGEST = "d" * 64


def package(name: str, content: bytes) -> LockedPackage:
    return LockedPackage(
        name=name,
        version="1:2",
        architecture="all",
        file=f"{name}_1%3a2_all.deb",
        size=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        url="http://m.invalid/",
    )


NANO = package("nano", b"nano's files")
LOCK = PackageLock(base="b", packages=(NANO,), indexes={"InRelease": "0" * 64})


@pytest.fixture
def cache(tmp_path: Path) -> PackageCache:
    made = PackageCache(Places(tmp_path / "root"))
    made.prepare()
    return made


@pytest.fixture
def delivered(tmp_path: Path) -> Path:
    (tmp_path / NANO.file).write_bytes(b"nano's files")
    return tmp_path


def test_a_lock_counts_only_with_its_files_and_its_base(cache: PackageCache, delivered: Path) -> None:
    assert cache.lock(DIGEST, "b") is None
    cache.save_lock(DIGEST, LOCK)
    assert cache.lock(DIGEST, "b") is None
    assert cache.missing(LOCK.packages) == [NANO]
    with directory(delivered) as source:
        cache.add(source, NANO)
    assert cache.missing(LOCK.packages) == []
    assert cache.lock(DIGEST, "b") == LOCK
    assert cache.lock(DIGEST, "another base") is None


def test_a_damaged_lock_is_as_none(cache: PackageCache, tmp_path: Path) -> None:
    (tmp_path / f"root/var/cache/ftos/locks/{DIGEST}.json").write_text("{")
    assert cache.lock(DIGEST, "b") is None


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
