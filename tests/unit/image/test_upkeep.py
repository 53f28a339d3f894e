# SPDX-License-Identifier: AGPL-3.0-or-later
"""What goes by itself and what stays, in a real store: unused images, stale builds, base trees, packages."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ftos.errors import FtosError
from ftos.image.holds import CLOCK_IS_WRONG_BEFORE, Hold
from ftos.image.upkeep import Upkeep, make_room
from ftos.spec.records import duration_seconds
from tests.unit.image.conftest import Device

DAY = 86400
OLD = "2026-02-01T12:00:00Z"
BIG = "x" * 100_000


def used(device: Device, name: str, days_ago: float) -> None:
    device.builder.holds.mark_used(name)
    moment = time.time() - days_ago * DAY
    os.utime(device.places.state / "used" / name, (moment, moment))


def collect(device: Device, *, dry_run: bool = False, former: bool = False) -> Upkeep:
    upkeep = Upkeep(device.builder, dry_run=dry_run)
    upkeep.collect(former=former)
    return upkeep


def images(device: Device) -> list[str]:
    return [image.name for image in device.store.images()]


def packages(device: Device) -> set[str]:
    return {path.name for path in (device.places.cache / "packages").iterdir()}


@contextmanager
def in_another_process(device: Device, statement: str) -> Iterator[None]:
    """Somebody else is inside `with STATEMENT`, where `store` is the store."""
    code = (
        "import sys; from pathlib import Path; from ftos.host.places import Places\n"
        "from ftos.image.store import Store\n"
        f"store = Store(Places(Path(sys.argv[1])), tuple)\nwith {statement}:\n    print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(device.places.root)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        try:
            yield
        finally:
            process.stdin.close()
            process.wait(10)


# --- collect ---


def test_what_is_meant_by_descriptors_stays(device: Device) -> None:
    base = device.base()
    device.image("notes", {"a": "1"}, base=base)
    device.image("notes", {"a": "2"}, base=base)
    before = device.store.refs(), device.objects(), packages(device)
    removed = collect(device).removed
    assert (removed.refs, removed.files, removed.freed, removed.notes) == ([], 0, 0, [])
    assert (device.store.refs(), device.objects(), packages(device)) == before


def test_builds_of_a_changed_recipe_and_of_a_descriptor_that_is_gone_go(device: Device) -> None:
    base = device.base()
    device.image("changed", {"a": BIG + "1"}, base=base)
    device.image("changed", {"a": BIG + "2"}, base=base)
    device.image("gone", {"a": BIG + "3"}, base=base)
    device.describe("changed", ("nano", "less"))
    kept = device.image("changed", {"a": "4"}, base=base)
    (device.places.etc / "images/gone.yml").unlink()
    would = collect(device, dry_run=True).removed
    assert len(device.store.refs()) == 5
    removed = collect(device).removed
    assert sorted(ref.split("/")[:2] for ref in removed.refs) == [
        ["former", "changed"],
        ["image", "changed"],
        ["image", "gone"],
    ]
    assert (would.refs, would.files, would.freed) == (removed.refs, removed.files, removed.freed)
    assert removed.freed > 300_000
    assert device.trees() == {base.commit, kept.commit}
    assert len(packages(device)) == 2
    assert len(list((device.places.cache / "locks").iterdir())) == 2


def test_the_newest_build_stays_with_all_that_is_its_until_there_is_one_by_the_present_recipe(device: Device) -> None:
    """A recipe changes with an osbase, or with a fact of the host: then the app must start, also without network."""
    base = device.base("old")
    oldest = device.image("notes", {"a": "1"}, base=base, built_at=OLD)
    device.describe("notes", ("less",))
    former = device.image("notes", {"a": "2"}, base=base)
    newest = device.image("notes", {"a": "3"}, base=base)
    device.describe("notes", ("nano",))
    device.base("new")
    removed = collect(device).removed
    assert removed.refs == [f"image/notes/{oldest.digest}"]
    assert device.store.newest("notes") == newest
    assert device.store.find("former", "notes", newest.digest) == former
    assert base.tree.exists()
    assert device.cache.lock(newest.digest) == newest.manifest.lock
    assert device.cache.missing((*newest.manifest.lock.base, *newest.manifest.lock.packages)) == []
    device.host("images: {keep-free: 9000T}")
    make_room(device.builder, "notes")
    assert device.store.newest("notes") == newest
    present = device.image("notes", {"a": "4"})
    (device.places.store / f"trees/{present.commit}").rename(device.places.root / "lost")
    assert collect(device).removed.refs == []  # what is not whole can't be launched
    (device.places.root / "lost").rename(device.places.store / f"trees/{present.commit}")
    assert sorted(ref.split("/")[0] for ref in collect(device).removed.refs) == ["former", "image", "osbase"]
    assert device.store.images() == [present]


def test_of_a_pinned_image_the_builds_by_all_recipes_stay_until_it_is_unpinned(device: Device) -> None:
    pinned = device.image("notes", {"a": "1"})
    device.builder.holds.put("notes", Hold(pinned=True, recipe=pinned.digest))
    device.describe("notes", ("less",))
    present = device.image("notes", {"a": "2"})
    assert collect(device).removed.refs == []
    assert device.cache.lock(pinned.digest) == pinned.manifest.lock
    device.builder.purge("notes")
    assert collect(device).removed.files == 0
    assert device.cache.lock(pinned.digest) == pinned.manifest.lock
    assert device.cache.missing(pinned.manifest.lock.packages) == []
    device.builder.holds.put("notes", Hold())
    assert collect(device).removed.files == 1
    assert device.cache.lock(pinned.digest) is None
    assert device.cache.lock(present.digest) == present.manifest.lock


def test_an_app_that_runs_keeps_its_stale_image_and_the_base_of_it(device: Device) -> None:
    base = device.base("old")
    built = device.image("notes", {"a": "1"}, base=base)
    device.base("new")
    device.running.add(built.commit)
    device.describe("notes", ("less",))
    device.image("notes", {"a": "2"})
    assert collect(device).removed.refs == []
    device.running.clear()
    refs = collect(device).removed.refs
    assert sorted(ref.split("/")[0] for ref in refs) == ["image", "osbase"]
    assert not base.tree.exists()


def test_former_builds_go_only_when_asked(device: Device) -> None:
    old = device.image("notes", {"a": "1"})
    device.image("notes", {"a": "2"})
    assert collect(device).removed.refs == []
    assert [ref.split("/")[0] for ref in collect(device, former=True).removed.refs] == ["former"]
    assert not old.tree.exists()
    assert images(device) == ["notes"]


def test_a_base_tree_stays_for_a_former_build_and_when_it_is_the_newest(device: Device) -> None:
    first, second, newest = device.base("1"), device.base("2"), device.base("3")
    device.image("notes", {"a": "1"}, base=first)
    device.image("notes", {"a": "2"}, base=newest)
    collect(device)
    assert first.tree.exists()
    assert newest.tree.exists()
    assert not second.tree.exists()
    collect(device, former=True)
    assert not first.tree.exists()


def test_an_image_whose_recipe_cannot_be_computed_is_kept_and_said(device: Device) -> None:
    built = device.image("notes", {"a": "1"})
    device.cache.save_lock("e" * 64, built.manifest.lock)
    for text in ("kind: image\nschema: 9\n", None):
        if text is None:
            device.describe("notes", osbase="debian/unheard")
        else:
            (device.places.etc / "images/notes.yml").write_text(text)
        removed = collect(device).removed
        assert removed.refs == []
        assert removed.files == 0
        assert [text.partition(":")[0] for text in removed.notes] == ["builds of notes, and all packages, are kept"]
    assert images(device) == ["notes"]


def test_locks_of_a_purged_image_stay_with_their_packages(device: Device) -> None:
    device.base()
    device.image("notes", {"a": "1"})
    before = packages(device)
    Upkeep(device.builder).purge(["notes"])
    assert collect(device).removed.files == 0
    assert packages(device) == before


def test_indexes_of_no_osbase_go(device: Device) -> None:
    device.describe("notes")
    base = device.builder.recipe(device.builder.catalog.image("notes")).base.digest
    for digest in (base, "f" * 64):
        (device.cache.indexes(digest) / "InRelease").write_text("x" * 5000)
    removed = collect(device).removed
    assert removed.files == 1
    assert removed.freed >= 5000
    assert [path.name for path in (device.places.cache / "indexes").iterdir()] == [base]


def test_with_an_unreadable_manifest_bases_and_packages_are_kept(device: Device) -> None:
    base = device.base("old")
    built = device.image("notes", {"a": "1"}, base=base)
    device.base("new")
    (device.places.store / f"manifests/{built.commit}.json").write_text("{")
    removed = collect(device).removed
    assert removed.refs == []
    assert "can't be read" in removed.notes[0]
    assert base.tree.exists()


# --- collect, and others at work ---


def test_while_somebody_builds_base_trees_and_packages_stay(device: Device) -> None:
    base = device.base("old")
    device.base("new")
    file = device.package("downloaded")
    with in_another_process(device, "store.build_lock('notes', lambda: None)"):
        removed = collect(device).removed
        assert removed.refs == []
        assert removed.notes == ["an image is being built, so base trees and packages are kept"]
        assert base.tree.exists()
        assert not device.cache.missing([file])
    assert len(collect(device).removed.refs) == 1
    assert device.cache.missing([file]) == [file]
    assert not base.tree.exists()


def test_a_build_that_was_killed_is_no_build(device: Device) -> None:
    base = device.base("old")
    device.base("new")
    code = (
        "import os, sys; from pathlib import Path; from ftos.host.places import Places\n"
        "from ftos.image.store import Store\n"
        "with Store(Places(Path(sys.argv[1])), tuple).build_lock('n', lambda: None): os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code, str(device.places.root)], check=False)
    collect(device)
    assert not base.tree.exists()


def test_a_build_begins_only_when_the_collection_is_over(device: Device) -> None:
    began, order = threading.Event(), []

    def build() -> None:
        began.set()
        with device.store.build_lock("notes", lambda: None):
            order.append("build")

    with device.store.nobody_building() as alone:
        assert alone
        thread = threading.Thread(target=build)
        thread.start()
        assert began.wait(10)
        time.sleep(0.2)
        order.append("collected")
    thread.join(10)
    assert order == ["collected", "build"]


def test_what_a_launch_has_found_stays_until_its_record_is_written(device: Device) -> None:
    built = device.image("notes", {"a": "1"})
    (device.places.etc / "images/notes.yml").unlink()
    thread = threading.Thread(target=collect, args=(device,))
    with in_another_process(device, "store.reading()"):
        thread.start()
        time.sleep(0.3)
        assert (built.tree / "a").read_text() == "1"
        device.running.add(built.commit)
    thread.join(20)
    assert (built.tree / "a").read_text() == "1"


def test_a_launch_does_not_wait_for_a_commit(device: Device) -> None:
    device.image("notes", {"a": "1"})
    launched = threading.Event()

    def launch() -> None:
        with device.store.reading():
            launched.set()

    with in_another_process(device, "store.changing()"):
        thread = threading.Thread(target=launch)
        thread.start()
        assert launched.wait(5)
    thread.join(10)


# --- purge ---


def test_idle_images_are_those_unused_for_so_long_the_longest_first(device: Device) -> None:
    for name in ("fresh", "older", "oldest", "pinned", "running"):
        built = device.image(name, {"a": name}, built_at=OLD)
        used(device, name, {"fresh": 1, "older": 40}.get(name, 50))
    device.running.add(built.commit)
    device.builder.holds.put("pinned", Hold(pinned=True))
    upkeep = Upkeep(device.builder)
    assert upkeep.idle(30 * DAY) == ["oldest", "older"]
    assert upkeep.idle(0) == ["oldest", "older", "fresh"]


def test_an_app_that_runs_on_a_former_build_keeps_its_image_from_being_idle(device: Device) -> None:
    old = device.image("notes", {"a": "1"}, built_at=OLD)
    device.image("notes", {"a": "2"}, built_at=OLD)
    device.running.add(old.commit)
    assert Upkeep(device.builder).idle(DAY) == []


def test_of_an_image_that_was_never_launched_the_first_build_counts(device: Device) -> None:
    device.image("notes", {"a": "1"}, built_at=OLD)
    device.image("notes", {"a": "2"}, built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    device.image("new", {"a": "2"}, built_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
    assert Upkeep(device.builder).idle(30 * DAY) == ["notes"]


def test_a_clock_that_is_not_set_purges_nothing(device: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    device.image("notes", {"a": "1"}, built_at="1970-01-01T00:00:07Z")
    assert Upkeep(device.builder).idle(0) == []
    device.image("old", {"a": "1"}, built_at=OLD)
    monkeypatch.setattr(time, "time", lambda: CLOCK_IS_WRONG_BEFORE - 1.0)
    with pytest.raises(FtosError, match="the clock is not set"):
        Upkeep(device.builder).idle(0)
    device.host("images: {purge-after: 1d}")
    upkeep = Upkeep(device.builder)
    upkeep.tidy()
    assert upkeep.removed.images == []
    assert "the clock is not set" in upkeep.removed.notes[0]


def test_purge_keeps_the_lock_of_what_was_built_last(device: Device) -> None:
    built = device.image("notes", {"a": BIG})
    device.cache.forget(built.digest)
    upkeep = Upkeep(device.builder, dry_run=True)
    upkeep.purge(["notes"])
    assert images(device) == ["notes"]
    real = Upkeep(device.builder)
    real.purge(["notes"])
    assert images(device) == []
    assert device.cache.lock(built.digest) == built.manifest.lock
    assert upkeep.removed.freed == real.removed.freed > 100_000


def test_tidy_purges_what_was_not_used_for_purge_after(device: Device) -> None:
    for name, days in (("old", 100), ("new", 10)):
        device.image(name, {"a": name}, built_at=OLD)
        used(device, name, days)
    upkeep = Upkeep(device.builder)
    upkeep.tidy()
    assert upkeep.removed.images == []
    device.host("images: {purge-after: 90d}")
    upkeep = Upkeep(device.builder)
    upkeep.tidy()
    assert upkeep.removed.images == ["old"]
    assert images(device) == ["new"]


@pytest.mark.parametrize(("text", "seconds"), [("30s", 30), ("15m", 900), ("8h", 28800), ("14d", 1209600)])
def test_a_duration_in_seconds(text: str, seconds: int) -> None:
    assert duration_seconds(text) == seconds


# --- room ---


def test_with_room_nothing_goes(device: Device) -> None:
    device.image("notes", {"a": "1"})
    file = device.package("surplus")
    make_room(device.builder, "other")
    device.host("images: {keep-free: 1K}")
    make_room(device.builder, "other")
    assert images(device) == ["notes"]
    assert not device.cache.missing([file])
    assert device.progress.notes == []


def test_when_no_purge_would_make_the_room_nothing_is_purged_for_it(device: Device) -> None:
    """Else an image would go at each build of another, without end."""
    device.image("notes", {"a": "1"}, built_at=OLD)
    used(device, "notes", 40)
    gone = device.image("gone", {"a": "2"}, built_at=OLD)
    (device.places.etc / "images/gone.yml").unlink()
    device.host("images: {keep-free: 9000T}")
    upkeep = Upkeep(device.builder)
    upkeep.make_room()
    assert upkeep.removed.images == []
    assert upkeep.removed.notes == [
        "not even a purge of all idle images would keep 9000T free, so none is purged for it"
    ]
    assert images(device) == ["notes"]
    assert not gone.tree.exists()


def test_a_dry_run_counts_nothing_twice(device: Device) -> None:
    device.image("gone", {"a": BIG}, built_at=OLD)
    device.image("idle", {"a": BIG, "b": BIG + "2"}, built_at=OLD)
    (device.places.etc / "images/gone.yml").unlink()
    device.host("images: {purge-after: 1d, keep-free: 9000T}")
    would, did = Upkeep(device.builder, dry_run=True), Upkeep(device.builder)
    would.tidy()
    did.tidy()
    assert would.removed == did.removed
    assert did.removed.images == ["gone", "idle"]
    assert did.removed.files == 2  # the lock and the package of what has no descriptor


ON_A_SMALL_DISK = """
import sys
from pathlib import Path
from ftos.image.holds import Hold
from ftos.image.manifest import PackageLock
from ftos.image.upkeep import Upkeep, make_room
from ftos.image.usage import free_space
from tests.unit.image.conftest import Device
from tests.unit.image.test_upkeep import BIG, OLD, images, packages, used

place = Path(sys.argv[1])
device = Device(place)
"""

ONLY_WHAT_IS_NEEDED = """
for name, days in (("older", 3), ("newer", 2)):
    device.image(name, {"a": name * 400_000}, built_at=OLD)
    used(device, name, days)
wanted = free_space(place) + 500_000
device.host(f"images: {{keep-free: '{wanted}'}}")
plan = Upkeep(device.builder, dry_run=True)
plan.make_room()
assert plan.removed.images == ["older"], plan.removed
assert images(device) == ["newer", "older"]
make_room(device.builder, "other")
assert images(device) == ["newer"]
assert free_space(place) >= wanted
"""

ALL_THAT_MAY = """
for name, days in (("b", 3), ("a", 2), ("c", 1), ("today", 0.9), ("pinned", 4), ("coming", 5)):
    built = device.image(name, {"a": name * 500_000}, built_at=OLD)
    used(device, name, days)
    (device.places.cache / f"packages/{built.manifest.lock.packages[0].checksum.replace(':', '-')}").write_text(BIG)
device.builder.holds.put("pinned", Hold(pinned=True))
wanted = free_space(place) + 3 * 500_000 + 2 * len(BIG)
device.host(f"images: {{keep-free: '{wanted}'}}")
plan = Upkeep(device.builder, dry_run=True)
plan.make_room(("coming",))
make_room(device.builder, "coming")
assert images(device) == ["coming", "pinned", "today"], images(device)
assert device.progress.notes == ["space is short: purged b, a, c"]
assert plan.removed.images == ["b", "a", "c"], plan.removed
assert free_space(place) >= wanted
# Packages of images that may come back go at last, and those of what is about to be built do not.
assert device.cache.lock(built.digest) is not None
kept = [image.manifest.lock.packages[0] for image in device.store.images()]
assert len(packages(device)) == len(kept) == 3
assert device.cache.missing(kept) == []
"""

PINNED_AND_PURGED = """
built = device.image("pinned", {"a": "1"}, built_at=OLD)
device.builder.holds.put("pinned", Hold(pinned=True, recipe=built.digest))
device.builder.purge("pinned")
surplus = device.package("surplus", BIG.encode())
device.describe("some")
lock = PackageLock(base=(), packages=(surplus,), indexes={})
device.cache.save_lock(device.builder.recipe(device.builder.catalog.image("some")).digest, lock)
device.host(f"images: {{keep-free: '{free_space(place) + len(BIG) // 2}'}}")
make_room(device.builder, "coming")
assert device.cache.missing([surplus]) == [surplus]
assert device.cache.missing(built.manifest.lock.packages) == []
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("statements", [ONLY_WHAT_IS_NEEDED, ALL_THAT_MAY, PINNED_AND_PURGED])
def test_what_goes_for_room(checkout: Path, tmp_path: Path, statements: str) -> None:
    """On a file system of its own, on which nobody else takes space."""
    script = 'mount -t tmpfs -o size=64M tmpfs "$1" && exec "$2" -c "$3" "$1"'
    command = ["unshare", "--mount", "--propagation=private", "sh", "-c", script, "sh"]
    done = subprocess.run(
        [*command, str(tmp_path), sys.executable, ON_A_SMALL_DISK + statements],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
