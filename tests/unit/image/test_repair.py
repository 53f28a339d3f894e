# SPDX-License-Identifier: AGPL-3.0-or-later
"""Damage by the test's own hand, in a real store: it is named, all of it and nothing else, and it goes."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ftos.errors import Busy, FtosError
from ftos.image.repair import Damage, Repair, examine, repair
from ftos.image.store import BuiltImage
from tests.unit.image.conftest import Device
from tests.unit.image.test_upkeep import in_another_process

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a build needs root")
FILES = {"usr/bin/tool": "tool", "usr/lib/shared": "shared", "etc/empty": ""}


@pytest.fixture
def notes(device: Device) -> BuiltImage:
    return device.image("notes", FILES, base=device.base())


@pytest.fixture
def other(device: Device, notes: BuiltImage) -> BuiltImage:
    """An image that shares a file with `notes`."""
    return device.image("other", {"usr/lib/shared": "shared", "own": "own"})


def look(device: Device) -> Damage:
    return examine(device.store, device.cache)


def mend(device: Device) -> Repair:
    return repair(device.builder)


def object_of(device: Device, file: Path) -> Path:
    """The object which a file of a tree is a link of."""
    number = file.stat().st_ino
    return next(path for path in (device.store.repository / "objects").glob("*/*") if path.lstat().st_ino == number)


def named(path: Path) -> str:
    return path.parent.name + path.name


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(bytes([content[0] ^ 1]) + content[1:])


def test_a_sound_store_has_no_damage_and_a_repair_changes_nothing(device: Device, other: BuiltImage) -> None:
    before = device.store.refs(), device.objects(), device.trees()
    damage = look(device)
    assert not damage
    assert damage.lines(device.store.refs()) == []
    assert not mend(device).damage
    assert (device.store.refs(), device.objects(), device.trees()) == before


@pytest.mark.parametrize("how", ["flipped", "deleted"])
def test_a_damaged_object_is_named_with_all_that_have_it_and_goes_with_them(
    device: Device, notes: BuiltImage, other: BuiltImage, how: str
) -> None:
    sound = device.image("sound", {"own": "sound"})
    path = object_of(device, notes.tree / "usr/lib/shared")
    flip(path) if how == "flipped" else path.unlink()
    damage = look(device)
    assert damage.objects == {named(path): {"flipped": "damaged", "deleted": "missing"}[how]}
    assert {ref.split("/")[1] for ref in damage.refs} == {"notes", "other"}
    done = mend(device)
    assert done.rebuilt == ["notes", "other"]
    assert {*done.failed} == {"notes", "other"}  # here no container runs, so nothing can be built
    assert not path.exists()
    # They stay, with all their files, and are not taken for sound.
    assert device.store.images() == [notes, other, sound]
    assert look(device).objects == {named(path): "missing"}
    assert (notes.tree / "usr/lib/shared").exists()
    device.store.ostree.check()
    assert device.cache.lock(notes.digest) == notes.manifest.lock
    again = device.image("notes", FILES)
    assert (again.tree / "usr/lib/shared").read_text() == "shared"
    assert device.store.find("former", "notes", notes.digest) is None
    device.store.remove([])
    assert not notes.tree.exists()
    assert {*look(device).trees} == {other.commit}
    assert mend(device).failed == {}
    assert (other.tree / "usr/lib/shared").read_text() == "shared"
    assert not look(device)


@pytest.mark.parametrize("kind", ["dirtree", "dirmeta", "commit"])
@pytest.mark.parametrize("how", [flip, Path.unlink])
def test_damage_of_structure_is_named_and_goes(device: Device, kind: str, how: Callable[[Path], None]) -> None:
    kept = device.image("kept", {"kept/file": "k"})
    shared = set((device.store.repository / "objects").glob("*/*"))
    device.image("notes", {"notes/file": "n"})
    own = set((device.store.repository / "objects").glob(f"*/*.{kind}")) - shared
    if kind == "dirmeta":  # all directories have the same
        own = {path for path in shared if path.suffix == ".dirmeta"}
    path = sorted(own)[0]
    how(path)
    damage = look(device)
    assert {*damage.objects} == {named(path)}
    damaged = {ref.split("/")[1] for ref in damage.refs}
    assert damaged == ({"kept", "notes"} if kind == "dirmeta" else {"notes"})
    mend(device)
    assert not path.exists()
    assert (kept.tree / "kept/file").read_text() == "k"
    assert {ref.split("/")[1] for ref in look(device).refs} == damaged
    for name in damaged:
        device.image(name, {f"{name}/file": name[0]})
    device.store.remove([])
    assert not look(device)
    device.store.ostree.check()
    assert [ref.partition("/")[0] for ref in device.store.refs()] == ["image", "image"]


def test_what_ostree_fsck_has_marked_is_found_all_the_same(device: Device, notes: BuiltImage) -> None:
    path = object_of(device, notes.tree / "usr/bin/tool")
    flip(path)
    for _ in range(2):
        with pytest.raises(FtosError):
            device.store.ostree.check()
    assert {*look(device).objects} == {named(path)}
    mend(device)
    device.store.ostree.check()


def change(tree: Path, what: str) -> None:
    match what:
        case "added":
            (tree / "usr/lib/added").write_text("added")
        case "deleted":
            (tree / "usr/bin/tool").unlink()
        case "replaced":
            shutil.copy2(tree / "usr/bin/tool", tree / "copy")
            (tree / "copy").rename(tree / "usr/bin/tool")
        case "mode":
            (tree / "usr/lib").chmod(0o777)
        case "owner":
            os.chown(tree / "usr", 4711, 4711)
        case "link":
            (tree / "usr/link").unlink()
            (tree / "usr/link").symlink_to("/elsewhere")
        case "empty":
            (tree / "etc/empty").chmod(0o666)
        case "directory":
            (tree / "usr/bin/tool").unlink()
            (tree / "usr/bin").rmdir()
        case "file for a directory":
            (tree / "usr/bin/tool").unlink()
            (tree / "usr/bin").rmdir()
            (tree / "usr/bin").symlink_to("/")
        case "attribute":
            os.setxattr(tree / "usr", "user.added", b"x")
        case "all":
            shutil.rmtree(tree)


CHANGES = {
    "added": "'/usr/lib/added' does not belong there",
    "deleted": "'/usr/bin/tool' is missing",
    "replaced": "'/usr/bin/tool' is another file",
    "mode": "'/usr/lib' has another owner or other permissions",
    "owner": "'/usr' has another owner or other permissions",
    "link": "'/usr/link' is another file",
    "empty": "'/etc/empty' is another file",
    "directory": "'/usr/bin' is missing, or no directory",
    "file for a directory": "'/usr/bin' is missing, or no directory",
    "attribute": "'/usr' has extended attributes",
    "all": "'/' is missing",
}


@pytest.fixture
def linked(device: Device) -> BuiltImage:
    """An image with a symlink in it."""
    built = device.image("notes", FILES)
    with device.store.build_directory() as work:
        shutil.copytree(built.tree, work / "files", symlinks=True)
        (work / "files/usr/link").symlink_to("bin/tool")
        (work / "skip").touch()
        return device.store.publish(built.manifest, [work / "files"], work / "skip", work)


@pytest.mark.parametrize("what", CHANGES)
def test_a_tree_that_differs_from_its_commit_is_made_again(device: Device, linked: BuiltImage, what: str) -> None:
    change(linked.tree, what)
    damage = look(device)
    assert damage.trees == {linked.commit: [CHANGES[what]]}
    assert not damage.refs
    assert damage.lines(device.store.refs())[0].startswith("tree of image/notes/")
    done = mend(device)
    assert (done.rebuilt, done.dropped, done.failed) == ([], [], {})
    assert not look(device)
    assert (linked.tree / "usr/link").resolve().read_text() == "tool"
    assert list((device.places.store / "builds").iterdir()) == []


def test_a_tree_under_a_running_app_is_left_and_its_image_is_built_anew(device: Device, linked: BuiltImage) -> None:
    device.store.remove([f"former/notes/{linked.digest}"])
    (linked.tree / "usr/added").write_text("x")
    device.running.add(linked.commit)
    assert {*mend(device).failed} == {"notes"}
    assert (linked.tree / "usr/added").exists()
    assert device.store.images() == [linked]
    again = device.image("notes", FILES)
    device.store.remove([])
    assert device.trees() == {again.commit, linked.commit}
    assert device.store.find("former", "notes", linked.digest) is None


def test_an_app_that_is_launched_during_the_repair_keeps_its_tree(device: Device, linked: BuiltImage) -> None:
    (linked.tree / "usr/added").write_text("x")
    thread = threading.Thread(target=mend, args=(device,))
    with in_another_process(device, "store.reading()"):
        thread.start()
        time.sleep(0.5)
        device.running.add(linked.commit)
    thread.join(20)
    assert (linked.tree / "usr/added").exists()


def test_while_somebody_builds_nothing_is_repaired(device: Device, linked: BuiltImage) -> None:
    """What is damaged, a build may have taken already."""
    flip(object_of(device, linked.tree / "usr/bin/tool"))
    before = device.store.refs(), device.objects()
    with in_another_process(device, "store.build_lock('other', lambda: None)"), pytest.raises(Busy):
        mend(device)
    assert (device.store.refs(), device.objects()) == before


def test_an_image_that_cannot_be_built_again_becomes_what_it_was_before_its_update(device: Device) -> None:
    former = device.image("notes", {"former": "f"})
    flip(device.image("notes", {"present": "p"}).tree / "present")
    done = mend(device)
    assert ({*done.failed}, done.returned) == ({"notes"}, ["notes"])
    assert device.store.images() == [former]
    assert [*device.store.refs()] == [f"image/notes/{former.digest}"]
    assert device.trees() == {former.commit}
    assert not look(device)
    device.store.ostree.check()


def test_a_damaged_build_by_an_older_recipe_goes_when_there_is_a_sound_one_by_the_present(device: Device) -> None:
    older = device.image("notes", FILES)
    device.describe("notes", ("less",))
    flip(object_of(device, older.tree / "usr/bin/tool"))
    assert {*mend(device).failed} == {"notes"}
    assert device.store.newest("notes") == older
    present = device.image("notes", {"other": "o"})
    done = mend(device)
    assert (done.rebuilt, done.failed) == (["notes"], {})
    assert device.store.images() == [present]


def test_a_damaged_image_without_a_descriptor_goes(device: Device, notes: BuiltImage) -> None:
    (device.places.etc / "images/notes.yml").unlink()
    flip(object_of(device, notes.tree / "usr/bin/tool"))
    done = mend(device)
    assert (done.rebuilt, done.dropped) == ([], [f"image/notes/{notes.digest}"])
    assert device.store.images() == []
    assert not look(device)


def test_a_tree_that_cannot_be_made_again_stays_as_it_is(device: Device, linked: BuiltImage) -> None:
    (linked.tree / "usr/added").write_text("x")
    (device.places.store / "repo/config").rename(device.places.root / "config")
    with pytest.raises(FtosError):
        mend(device)
    (device.places.root / "config").rename(device.places.store / "repo/config")
    assert (linked.tree / "usr/added").exists()
    assert mend(device).failed == {}
    assert not look(device)


@pytest.mark.parametrize("content", [None, "{", '{"kind": "image"}', "of another"])
def test_a_manifest_is_written_again_from_its_commit(device: Device, notes: BuiltImage, content: str | None) -> None:
    path = device.places.store / f"manifests/{notes.commit}.json"
    if content is None:
        path.unlink()
    elif content == "of another":
        path.write_bytes(msgspec.json.encode(msgspec.structs.replace(notes.manifest, size=1)))
    else:
        path.write_text(content)
    damage = look(device)
    assert {*damage.manifests} == {notes.commit}
    assert not damage.refs
    assert mend(device).failed == {}
    assert device.store.built(notes.commit) == notes
    assert not look(device)


def test_a_commit_of_an_older_format_is_dropped_to_be_built_again(device: Device, notes: BuiltImage) -> None:
    with device.store.build_directory() as work, device.store.changing():
        (work / "body").write_text('{"name": "notes", "packages": []}\n')
        (work / "skip").touch()
        commit = device.store.ostree.commit([notes.tree], work / "skip", "old", work / "body")
        device.store.ostree.set_ref(f"image/notes/{notes.digest}", commit)
        device.store.check_out(commit, work)
    (device.places.store / f"manifests/{commit}.json").write_text('{"name": "notes", "packages": []}')
    assert [*look(device).refs.values()] == ["its commit has no manifest of this version"]
    assert mend(device).rebuilt == ["notes"]
    assert device.cache.lock(notes.digest) == notes.manifest.lock
    assert not look(device)


@pytest.mark.parametrize(
    "content", [b"", b"garbage", b"\xff" * 64, b"0" * 64, b"x" * 5000], ids=lambda content: str(content[:7])
)
def test_a_ref_to_nothing_is_named_and_goes(device: Device, notes: BuiltImage, content: bytes) -> None:
    (device.store.repository / "refs/heads/image/notes" / notes.digest).write_bytes(content)
    assert device.store.find("image", "notes", notes.digest) is None
    assert {*look(device).refs} == {f"image/notes/{notes.digest}"}
    mend(device)
    assert [ref.partition("/")[0] for ref in device.store.refs()] == ["osbase"]
    assert not look(device)


def test_a_damaged_base_tree_or_former_build_is_dropped(device: Device) -> None:
    base = device.base()
    former = device.image("notes", {"former": "f"}, base=base)
    device.image("notes", {"present": "p"}, base=base)
    flip(object_of(device, former.tree / "former"))
    flip(object_of(device, base.tree / "usr/libc"))
    done = mend(device)
    assert [ref.partition("/")[0] for ref in done.dropped] == ["former", "osbase"]
    assert (done.rebuilt, done.failed) == ([], {})
    assert [ref.partition("/")[0] for ref in device.store.refs()] == ["image"]


def test_damaged_packages_and_locks_go_and_others_stay(device: Device, notes: BuiltImage) -> None:
    package = notes.manifest.lock.packages[0]
    device.cache.save_lock("e" * 64, notes.manifest.lock)
    (device.places.cache / f"locks/{'f' * 64}.json").write_text("{")
    unknown = device.places.cache / "packages" / f"q1-{'0' * 40}"
    unknown.write_text("nobody knows what this should be")
    (device.places.cache / "packages" / package.checksum.replace(":", "-")).write_text("truncated")
    damage = look(device)
    assert (damage.packages, damage.locks) == ([package.checksum], ["f" * 64])
    mend(device)
    assert device.cache.missing(notes.manifest.lock.base + notes.manifest.lock.packages) == [package]
    assert device.cache.locks().keys() == {notes.digest, "e" * 64, *base_digests(device)}
    assert unknown.exists()
    assert not look(device)


def base_digests(device: Device) -> set[str]:
    return {device.builder.recipe(device.builder.catalog.image("notes")).base.digest}


def test_package_with_another_kind_of_checksum_is_judged_by_it(device: Device, notes: BuiltImage) -> None:
    package = msgspec.structs.replace(notes.manifest.lock.packages[0], checksum=f"q1:{'a' * 40}", size=3)
    lock = msgspec.structs.replace(notes.manifest.lock, packages=(package,))
    device.cache.save_lock("e" * 64, lock)
    (device.places.cache / "packages" / f"q1-{'a' * 40}").write_text("abc")
    assert look(device).packages == [package.checksum]


def test_a_dry_plan_changes_nothing(device: Device, notes: BuiltImage) -> None:
    flip(object_of(device, notes.tree / "usr/bin/tool"))
    plan = repair(device.builder, dry_run=True)
    assert plan.rebuilt == ["notes"]
    assert device.store.images() == [notes]
    assert look(device)
