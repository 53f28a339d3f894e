# SPDX-License-Identifier: AGPL-3.0-or-later
"""The directory that is served, with the real ostree and gpg: whole at every moment, and no larger than it must be."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftos.errors import BadInput, Busy, FtosError, NotFound
from ftos.host.places import Places
from ftos.image.export import choose, compare, export
from ftos.image.ostree import Ostree
from ftos.image.store import Store
from tests.image.harness import Recorder
from tests.image.remotes import Key
from tests.unit.image.test_store import DIGEST, publish

pytestmark = pytest.mark.skipif(not (shutil.which("ostree") and shutil.which("gpg")), reason="ostree or gpg is missing")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Key]:
    made = Key(tmp_path_factory.mktemp("key") / "home")
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(Places(tmp_path), tuple)


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "served"


def run(store: Store, target: Path, key: Key, *names: str) -> list[bool]:
    found = export(store, choose(store, names), target, key.id, key.home, Recorder())
    return [exported.is_new for exported in found]


def refs(target: Path) -> dict[str, str]:
    heads = target / "refs/heads"
    return {str(path.relative_to(heads)): path.read_text().strip() for path in heads.rglob("*") if path.is_file()}


def seen(target: Path) -> dict[str, bytes]:
    """What readers see: all but the refs, since they go by the summary, and what ostree keeps for itself."""
    paths = ((path.relative_to(target), path) for path in target.rglob("*") if path.is_file())
    return {str(name): path.read_bytes() for name, path in paths if name.parts[0] not in ("refs", "tmp")}


def summary(target: Path) -> str:
    command = ["ostree", "summary", f"--repo={target}", "--view"]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout


def test_all_images_are_there_signed_and_with_deltas(store: Store, target: Path, key: Key) -> None:
    built = [publish(store, name, name) for name in ("notes", "other")]
    assert compare(choose(store, ()), target) == compare(built, target)
    assert run(store, target, key) == [True, True]
    assert refs(target) == {f"image/{image.name}/{DIGEST}": image.commit for image in built}
    assert all(image.commit in summary(target) for image in built)
    assert (target / "summary.sig").is_file()
    assert len(list(target.rglob("*.commitmeta"))) == 2
    assert len(list(target.rglob("superblock"))) == 2
    assert all(path.stat().st_mode & 0o004 for path in target.rglob("*") if path.name != ".lock")
    Ostree(target).check()


def test_a_second_export_writes_only_what_is_new_and_keeps_one_former(store: Store, target: Path, key: Key) -> None:
    first = publish(store, "notes", "1")
    publish(store, "other", "x")
    run(store, target, key)
    assert run(store, target, key) == [False, False]
    second = publish(store, "notes", "2")
    assert run(store, target, key) == [True, False]
    assert refs(target)[f"former/notes/{DIGEST}"] == first.commit
    assert f"{first.commit}-{second.commit}" in summary(target)
    third = publish(store, "notes", "3")
    run(store, target, key)
    assert refs(target)[f"image/notes/{DIGEST}"] == third.commit
    assert not list(target.rglob(f"{first.commit[2:]}.commit"))
    Ostree(target).check()


def test_only_the_images_that_are_named_are_exported(store: Store, target: Path, key: Key) -> None:
    publish(store, "notes", "1")
    publish(store, "other", "2")
    run(store, target, key, "other")
    assert set(refs(target)) == {f"image/other/{DIGEST}"}
    with pytest.raises(NotFound, match="'missing' is not built"):
        choose(store, ("notes", "missing"))


@pytest.mark.parametrize("step", ["pull_local", "sign", "make_delta", "set_ref", "write_summary"])
def test_an_export_that_breaks_off_leaves_readers_what_was_there(
    store: Store, target: Path, key: Key, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    publish(store, "notes", "1")
    run(store, target, key)
    before = seen(target)
    second = publish(store, "notes", "2")

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Ostree, step, interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(store, target, key)
    after = seen(target)
    assert {name: after.get(name) for name in before} == before
    run(store, target, key)
    assert f"{second.commit}\n" in summary(target)
    Ostree(target).check()


def test_a_key_that_is_not_there_is_told(store: Store, target: Path, key: Key) -> None:
    publish(store, "notes", "1")
    with pytest.raises(FtosError, match=r"refused to gpg-sign: .*ID 0123"):
        export(store, choose(store, ()), target, "0123", key.home, Recorder())
    assert not (target / "summary").exists()


def test_a_directory_with_something_else_is_left_alone(store: Store, target: Path, key: Key) -> None:
    target.mkdir()
    (target / "mine").touch()
    with pytest.raises(BadInput, match="is neither empty nor a repository of images"):
        run(store, target, key)
    assert os.listdir(target) == ["mine"]


def test_two_exports_to_one_directory_do_not_meet(store: Store, target: Path, key: Key) -> None:
    target.mkdir()
    fd = os.open(target, os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_EX)
    with pytest.raises(Busy, match="another export"):
        run(store, target, key)
    os.close(fd)
