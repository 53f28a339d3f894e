# SPDX-License-Identifier: AGPL-3.0-or-later
"""What images take of the disk, against what `du` and a purge say."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ftos.image.usage import disk_usage, free_space, image_commits, image_usage, usage
from tests.unit.image.conftest import Device

BIG = "x" * 100_000


def du(*paths: Path) -> int:
    done = subprocess.run(["du", "-s", "-B1", *paths], capture_output=True, text=True, check=True)
    return sum(int(line.split()[0]) for line in done.stdout.splitlines())


def test_size_is_that_of_the_tree_and_unique_is_what_a_purge_frees(device: Device) -> None:
    base = device.base()
    one = device.image("one", {"usr/lib/shared": BIG, "usr/lib/one": BIG + "1", "usr/empty": ""}, base=base)
    device.image("two", {"usr/lib/shared": BIG, "usr/lib/two": BIG + "2"}, base=base)
    found = image_usage(device.store)
    assert list(found) == ["one", "two"]
    assert found["one"].size == du(one.tree)
    assert 100_000 < found["one"].unique < 150_000 < found["one"].size
    before = du(device.places.store / "repo/objects", device.places.store / "trees")
    device.store.purge("one")
    freed = before - du(device.places.store / "repo/objects", device.places.store / "trees")
    # Besides, the repository has an object for each directory.
    assert found["one"].unique <= freed < found["one"].unique + 50_000


def test_the_former_build_belongs_to_its_image_and_shares_with_it(device: Device) -> None:
    old = device.image("one", {"same": BIG, "old": BIG + "old"})
    new = device.image("one", {"same": BIG, "new": BIG + "new"})
    assert image_commits(device.store) == {"one": [old.commit, new.commit]}
    both, newest = image_usage(device.store)["one"], usage(device.store, [new.commit])
    assert both.unique - newest.unique > 200_000  # of the newest alone, only `new` is its own
    assert both.size == du(old.tree) + du(new.tree)


def test_a_file_that_is_twice_in_one_image_is_its_own(device: Device) -> None:
    built = device.image("one", {"a": BIG, "b": BIG})
    assert (built.tree / "a").stat().st_ino == (built.tree / "b").stat().st_ino
    assert 100_000 < image_usage(device.store)["one"].unique < 150_000


def test_disk_usage_is_that_of_du_with_hardlinks_counted_once(device: Device) -> None:
    built = device.image("one", {"a": BIG, "b/c": "c"})
    assert disk_usage(device.places.store) == du(device.places.store)
    assert disk_usage(built.tree / "a") == du(built.tree / "a")
    assert disk_usage(device.places.store / "nothing") == 0


def test_a_tree_that_is_not_there_takes_nothing(device: Device) -> None:
    assert usage(device.store, ["0" * 64]).size == 0


def test_free_space_of_what_is_not_there_yet_is_that_of_its_file_system(tmp_path: Path) -> None:
    assert free_space(tmp_path / "a/b/c") > 0
