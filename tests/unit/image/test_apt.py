# SPDX-License-Identifier: AGPL-3.0-or-later
"""What root takes over from the container that fetched, as far as no container is needed to see it."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from ftos.errors import BuildError, Unsupported
from ftos.host.trees import directory
from ftos.image.engines import engine
from ftos.image.engines.apt_fetch import keep_indexes

OLD = b"Origin: D\nDate: Sat, 01 Aug 2026 00:00:00 UTC\n"
NEW = b"Origin: D\nDate: Sun, 02 Aug 2026 00:00:00 UTC\n"
INDEX = "mirror.invalid_debian_dists_trixie_InRelease"
LIST = "mirror.invalid_debian_dists_trixie_main_binary-amd64_Packages.lz4"


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    (tmp_path / "lists/partial").mkdir(parents=True)
    (tmp_path / "lists/lock").touch()
    (tmp_path / "lists" / INDEX).write_bytes(NEW)
    (tmp_path / "lists" / LIST).write_bytes(b"new list")
    return tmp_path / "lists"


@pytest.fixture
def known(tmp_path: Path) -> Path:
    (tmp_path / "known").mkdir()
    return tmp_path / "known"


def keep(lists: Path, known: Path) -> dict[str, str]:
    with directory(lists) as fd:
        return keep_indexes(fd, known)


def names(path: Path) -> list[str]:
    return sorted(os.listdir(path))


def test_indexes_are_taken_and_the_signed_ones_told(lists: Path, known: Path) -> None:
    (known / "other.invalid_InRelease").write_bytes(NEW)
    (lists / "-option").touch()
    os.utime(lists / LIST, (7, 7))
    assert keep(lists, known) == {INDEX: hashlib.sha256(NEW).hexdigest()}
    assert names(known) == [INDEX, LIST, "other.invalid_InRelease"]
    assert (known / LIST).stat().st_mtime == 7


@pytest.mark.parametrize("replayed", [OLD, b"Origin: D\n", b""])
def test_an_older_signed_index_is_refused_and_nothing_taken(lists: Path, known: Path, replayed: bytes) -> None:
    keep(lists, known)
    (lists / INDEX).write_bytes(replayed)
    (lists / LIST).write_bytes(b"old list")
    with pytest.raises(BuildError, match=r"older than the one known, of 2026-08-02 00:00:00") as caught:
        keep(lists, known)
    assert (known / INDEX).read_bytes() == NEW
    assert (known / LIST).read_bytes() == b"new list"
    assert str(known / INDEX) in caught.value.hint


def test_the_same_index_again_is_fine(lists: Path, known: Path) -> None:
    assert keep(lists, known) == keep(lists, known)


def test_an_index_that_is_a_symlink_is_refused(lists: Path, known: Path) -> None:
    (lists / LIST).unlink()
    (lists / LIST).symlink_to("/etc/shadow")
    with pytest.raises(BuildError, match="is not a regular file"):
        keep(lists, known)
    assert LIST not in names(known)


def test_an_unknown_engine_is_unsupported() -> None:
    with pytest.raises(Unsupported, match="can't build with 'pacman'") as caught:
        engine("pacman")
    assert caught.value.hint == "it has: apk, apt"
