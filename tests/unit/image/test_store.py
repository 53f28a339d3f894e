# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store, with the real ostree: what is published is there, what is purged is gone, leftovers don't stay."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

from ftos.errors import BuildError, FtosError, NotFound
from ftos.host.places import Places
from ftos.image.manifest import InstalledPackage, LockedPackage, Manifest, PackageLock
from ftos.image.store import BuiltImage, Store, base_key, now

pytestmark = pytest.mark.skipif(shutil.which("ostree") is None, reason="ostree is not installed")
DIGEST = "d" * 64


@pytest.fixture
def in_use() -> set[str]:
    return set()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


@pytest.fixture
def store(places: Places, in_use: set[str]) -> Store:
    return Store(places, lambda: in_use)


def manifest(name: str, digest: str = DIGEST, **more: object) -> Manifest:
    packages = (InstalledPackage(name="nano", version="1", architecture="all"),)
    fields = {"kind": "image", "osbase": "debian/trixie", "base": "", "components": (), "size": 3, "built_at": now()}
    fields["lock"] = PackageLock(base=(), indexes={})
    return Manifest(name=name, digest=digest, packages=packages, **{**fields, **more})  # type: ignore[arg-type]


def publish(store: Store, name: str, content: str, digest: str = DIGEST, **more: object) -> BuiltImage:
    with store.build_directory() as work:
        (work / "tree-a/usr").mkdir(parents=True)
        (work / "tree-a/usr/file").write_text(content)
        (work / "tree-a/usr/left-out").write_text("log")
        (work / "tree-b/usr").mkdir(parents=True)
        (work / "tree-b/usr/added").write_text(content)
        (work / "skip").write_text("/usr/left-out\n")
        trees = [work / "tree-a", work / "tree-b"]
        return store.publish(manifest(name, digest, **more), trees, work / "skip", work)


def objects(places: Places) -> int:
    return sum(1 for path in (places.store / "repo/objects").rglob("*") if path.is_file())


def test_a_published_image_is_found_with_its_files_and_packages(store: Store, places: Places) -> None:
    assert store.find("image", "notes", DIGEST) is None
    built = publish(store, "notes", "abc")
    assert store.find("image", "notes", DIGEST) == built
    assert store.images() == [built]
    assert built.tree == store.tree(built.commit)
    assert msgspec.json.decode(store.ostree.body(built.commit), type=Manifest) == built.manifest
    assert sorted(path.name for path in (built.tree / "usr").iterdir()) == ["added", "file"]
    assert built.packages[0].name == "nano"
    assert stat.S_IMODE(places.store.stat().st_mode) == 0o700
    assert [path.name for path in (places.store / "builds").iterdir()] == []
    store.ostree.check()


def test_a_manifest_that_could_not_be_read_again_is_refused_and_the_image_stays(
    store: Store, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = publish(store, "notes", "old")
    before = objects(places)
    size = (places.store / f"manifests/{built.commit}.json").stat().st_size
    monkeypatch.setattr("ftos.image.store.MANIFEST_LIMIT", size)
    again = publish(store, "other", "old")
    assert store.find("image", "other", DIGEST) == again
    with pytest.raises(BuildError, match=f"what is known of notes is larger than {size} bytes"):
        publish(store, "notes", "new", parent=built.commit)
    assert store.find("image", "notes", DIGEST) == built
    store.purge("other")
    assert objects(places) == before
    store.ostree.check()


def test_equal_files_of_two_images_are_one_on_the_disk(store: Store) -> None:
    one, two = publish(store, "one", "same"), publish(store, "two", "same")
    assert (one.tree / "usr/file").stat().st_ino == (two.tree / "usr/added").stat().st_ino


def test_an_update_moves_the_ref_to_the_new_commit_and_keeps_the_former(store: Store) -> None:
    oldest = publish(store, "notes", "oldest", built_at="2026-01-01T00:00:00Z")
    old = publish(store, "notes", "old", parent=oldest.commit, built_at="2026-01-02T00:00:00Z")
    new = publish(store, "notes", "new", parent=old.commit, built_at="2026-01-03T00:00:00Z")
    assert store.find("image", "notes", DIGEST) == new
    assert store.find("former", "notes", DIGEST) == old
    assert store.images() == [new]
    store.remove([])
    assert not oldest.tree.exists()
    assert store.history("notes") == [(build.commit, build.manifest) for build in (new, old, oldest)]
    store.ostree.check()


def test_an_image_and_what_it_was_before_can_be_swapped_and_swapped_back(store: Store) -> None:
    old = publish(store, "notes", "old")
    with pytest.raises(NotFound, match="there is no former build of notes"):
        store.swap("notes", DIGEST)
    new = publish(store, "notes", "new", parent=old.commit)
    assert store.swap("notes", DIGEST) == old
    assert (store.find("image", "notes", DIGEST), store.find("former", "notes", DIGEST)) == (old, new)
    assert store.swap("notes", DIGEST) == new
    assert store.find("former", "notes", DIGEST) == old
    assert [commit for commit, _ in store.history("notes")] == [new.commit, old.commit]


def test_base_trees_of_other_packages_stand_side_by_side(store: Store) -> None:
    def lock(version: str) -> PackageLock:
        package = LockedPackage(
            name="a",
            version=version,
            architecture="all",
            file=f"a_{version}.deb",
            size=1,
            checksum=f"q1:{version * 40}",
            url="",
        )
        return PackageLock(base=(package,), indexes={})

    one = publish(store, "debian/trixie", "1", kind="osbase", lock=lock("1"))
    two = publish(store, "debian/trixie", "2", kind="osbase", lock=lock("2"))
    assert len(store.refs()) == 2
    assert store.find("osbase", "debian/trixie", base_key(DIGEST, lock("1").digest)) == one
    assert store.find("osbase", "debian/trixie", base_key(DIGEST, lock("2").digest)) == two
    assert store.images() == []


def test_purge_removes_the_image_and_what_only_it_had(store: Store, places: Places) -> None:
    kept = publish(store, "kept", "kept")
    before = objects(places)
    gone = publish(store, "notes", "gone")
    assert store.purge("notes") == [gone]
    assert store.purge("notes") == []
    assert store.images() == [kept]
    assert objects(places) == before
    assert not gone.tree.exists()
    store.ostree.check()


def test_purge_of_a_name_leaves_longer_names_alone(store: Store) -> None:
    publish(store, "notes", "a")
    longer = publish(store, "notes-2", "b")
    store.purge("notes")
    assert store.images() == [longer]


def test_a_tree_in_use_outlives_its_image_until_it_is_free(store: Store, in_use: set[str]) -> None:
    built = publish(store, "notes", "abc")
    in_use.add(built.commit)
    store.purge("notes")
    assert store.images() == []
    assert (built.tree / "usr/file").read_text() == "abc"
    in_use.clear()
    store.remove([])
    assert not built.tree.exists()


def test_a_failed_build_changes_nothing_and_leaves_nothing(store: Store, places: Places) -> None:
    kept = publish(store, "kept", "kept")
    before = objects(places)

    def interrupted() -> None:
        with store.build_directory() as work:
            (work / "deep/er").mkdir(parents=True)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list((places.store / "builds").iterdir()) == []
    assert (store.images(), objects(places)) == ([kept], before)


def test_what_ostree_refuses_is_told_and_changes_nothing(store: Store, places: Places) -> None:
    publish(store, "kept", "kept")
    with store.build_directory() as work:
        (work / "tree").mkdir()
        os.mkfifo(work / "tree/fifo")
        (work / "skip").touch()
        with pytest.raises(FtosError, match="refused to commit: 'Not a regular file or symlink: fifo'"):
            store.publish(manifest("notes"), [work / "tree"], work / "skip", work)
    assert [image.name for image in store.images()] == ["kept"]
    store.ostree.check()


STAGES = ("commit", "check_out", "set_ref", "end")
KILLED = """
import os, signal, sys
from pathlib import Path
from ftos.host.places import Places
from ftos.image.ostree import Ostree
from ftos.image.manifest import Manifest, PackageLock
from ftos.image.store import Store, now

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

store = Store(Places(Path(sys.argv[1])), lambda: ())
with store.build_directory() as work:
    (work / "tree-a").mkdir()
    (work / "tree-a/new").write_text("new")
    (work / "skip").touch()
    if sys.argv[2] != "end":
        setattr(Ostree, sys.argv[2], die)
    lock = PackageLock(base=(), indexes={})
    manifest = Manifest(
        kind="image", name="new", digest="e" * 64, osbase="debian/trixie", base="", components=(), packages=(),
        lock=lock, size=3, built_at=now(),
    )
    store.publish(manifest, [work / "tree-a"], work / "skip", work)
    die()
"""


@pytest.mark.parametrize("stage", STAGES)
def test_kill_9_before_each_step_of_publishing_leaves_old_or_new(store: Store, places: Places, stage: str) -> None:
    kept = publish(store, "kept", "kept")
    done = subprocess.run([sys.executable, "-c", KILLED, str(places.root), stage], check=False)
    assert done.returncode == -9
    store.ostree.check()
    assert [image.name for image in store.images()] == (["kept", "new"] if stage == "end" else ["kept"])
    assert len(list((places.store / "builds").iterdir())) == 1
    next_one = publish(store, "next", "next")
    store.ostree.check()
    assert kept in store.images()
    assert next_one in store.images()
    commits = {image.commit for image in store.images()}
    assert {path.name for path in (places.store / "trees").iterdir()} == commits
    assert {path.stem for path in (places.store / "manifests").iterdir()} == commits
    assert list((places.store / "builds").iterdir()) == []


def test_a_running_builds_directory_is_left_alone_by_another_build(store: Store) -> None:
    with store.build_directory() as running:
        publish(store, "other", "x")
        assert running.is_dir()


def test_the_second_build_of_a_name_waits_and_says_so(store: Store, places: Places) -> None:
    waiting, order = threading.Event(), []

    def second() -> None:
        with Store(places, tuple).build_lock("notes", waiting.set):
            order.append("second")

    thread = threading.Thread(target=second)
    with store.build_lock("notes", lambda: order.append("first waited")):
        thread.start()
        assert waiting.wait(10)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    with store.build_lock("notes", lambda: None), store.build_lock("debian/trixie", lambda: order.append("waited")):
        assert "waited" not in order


def test_a_damaged_manifest_is_told_with_its_path_and_hides_no_other_image(store: Store, places: Places) -> None:
    built, other = publish(store, "notes", "abc"), publish(store, "other", "abc")
    (places.store / f"manifests/{built.commit}.json").write_text("{")
    with pytest.raises(FtosError, match=r"manifests/.*\.json' is damaged"):
        store.built(built.commit)
    assert store.find("image", "notes", DIGEST) is None
    assert store.images() == [other]
