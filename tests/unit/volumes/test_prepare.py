# SPDX-License-Identifier: AGPL-3.0-or-later
"""Kept volumes on the disk: made once, owned by the app's foreign id, deleted whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ftos.errors import FtosError
from ftos.host import trees
from ftos.host.places import Places
from ftos.plan.records import APP_ID, FOREIGN_BASE
from ftos.spec.records import Volume, VolumeClass
from ftos.volumes import prepare as volumes

ID = "d-0000000a"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files are given to foreign ids by root")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def volume(name: str, volume_class: VolumeClass = "data") -> Volume:
    return Volume(name=name, volume_class=volume_class, path=f"/{name}")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_volumes_are_the_apps_and_nobody_else_enters(places: Places, umask: int) -> None:
    before = os.umask(umask)
    try:
        top = volumes.prepare(places, ID, [volume("letters")])
    finally:
        os.umask(before)
    made = top / "letters"
    assert (made.stat().st_uid, made.stat().st_gid) == (FOREIGN_BASE + APP_ID, FOREIGN_BASE + APP_ID)
    assert [mode(path) for path in (places.volumes, top, made)] == [0o700] * 3
    assert top.stat().st_uid == 0


def test_only_classes_that_stay_get_a_directory(places: Places) -> None:
    classes: tuple[VolumeClass, ...] = ("data", "settings", "cache", "temp", "discard")
    top = volumes.prepare(places, ID, [volume(f"of-{each}", each) for each in classes])
    assert sorted(path.name for path in top.iterdir()) == ["of-cache", "of-data", "of-settings"]


def test_preparing_again_leaves_what_is_there(places: Places) -> None:
    made = volumes.prepare(places, ID, [volume("letters")]) / "letters"
    (made / "dear").write_text("aunt")
    made.chmod(0o750)
    volumes.prepare(places, ID, [volume("letters"), volume("more")])
    assert (made / "dear").read_text() == "aunt"
    assert mode(made) == 0o750


def test_a_volume_that_a_crash_left_unowned_is_given_to_the_app(places: Places) -> None:
    (places.volumes / ID / "letters").mkdir(parents=True)
    made = volumes.prepare(places, ID, [volume("letters")]) / "letters"
    assert made.stat().st_uid == FOREIGN_BASE + APP_ID


@pytest.mark.parametrize("kind", ["file", "link to a directory", "dangling link", "fifo"])
def test_what_is_no_directory_is_refused_and_not_touched(places: Places, tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    path = places.volumes / ID / "letters"
    path.parent.mkdir(parents=True)
    if kind == "file":
        path.write_text("x")
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(outside if kind == "link to a directory" else tmp_path / "nothing")
    with pytest.raises(FtosError, match=r"^the volume '.*letters' can't be used: "):
        volumes.prepare(places, ID, [volume("letters")])
    assert outside.stat().st_uid == 0


def test_deleting_takes_the_deployments_volumes_and_no_others(places: Places, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("stays")
    for each in (ID, "d-0000000b"):
        top = volumes.prepare(places, each, [volume("letters")])
        (top / "letters/dear").write_text("aunt")
        (top / "letters/away").symlink_to(outside)
    volumes.delete(places, ID)
    assert [path.name for path in places.volumes.iterdir()] == ["d-0000000b"]
    assert (places.volumes / "d-0000000b/letters/dear").read_text() == "aunt"
    assert (outside / "file").read_text() == "stays"


def test_deleting_what_is_not_there_is_done(places: Places) -> None:
    volumes.delete(places, ID)
    assert not places.volumes.exists() or list(places.volumes.iterdir()) == []


@pytest.mark.parametrize("used_again", [False, True])
def test_a_deletion_that_a_crash_cut_off_is_finished_by_the_next(
    places: Places, monkeypatch: pytest.MonkeyPatch, used_again: bool
) -> None:
    class Crash(BaseException):
        pass

    def crash(parent: int, name: str) -> None:
        raise Crash

    volumes.prepare(places, ID, [volume("letters")])
    with monkeypatch.context() as patch:
        patch.setattr(trees, "remove_tree", crash)
        with pytest.raises(Crash):
            volumes.delete(places, ID)
    assert not volumes.directory(places, ID).exists()  # never seen half deleted
    if used_again:
        volumes.prepare(places, ID, [volume("letters")])
    volumes.delete(places, ID)
    assert list(places.volumes.iterdir()) == []


def test_a_tree_that_is_deeper_than_any_stack_is_deleted(places: Places) -> None:
    volumes.prepare(places, ID, [volume("letters")])
    at = os.open(volumes.directory(places, ID) / "letters", os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=at)
        below = os.open("d", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    volumes.delete(places, ID)
    assert list(places.volumes.iterdir()) == []
