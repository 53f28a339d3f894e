# SPDX-License-Identifier: AGPL-3.0-or-later
"""Clean-up, check and repair of a store with real images, and clean-up while they are built."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from ftos.host.places import Places
from ftos.image.repair import examine, repair
from ftos.image.sbom import sbom
from ftos.image.upkeep import Upkeep
from ftos.image.usage import image_usage, usage
from ftos.spec.records import Image
from tests.image.harness import builder, describe, image


@pytest.fixture
def wanted(shared: Places, places: Places) -> Image:
    """An image with a descriptor, whose packages are in a cache of our own: the clean-up must not touch the shared."""
    packages = ("nano",)
    builder(shared).ensure(image("twice", packages=packages))
    places.cache.unlink()
    for source in shared.cache.rglob("*"):
        target = places.cache / source.relative_to(shared.cache)
        if source.is_dir():
            target.mkdir(parents=True)
        elif "logs" not in source.parts:
            os.link(source, target)
    return describe(places, image("notes", packages=packages))


def flip(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_purged_image_comes_back_without_network_from_what_a_clean_up_left(places: Places, wanted: Image) -> None:
    images = builder(places, offline=True)
    first = images.ensure(wanted)
    content = images.store.ostree.content_checksum(first.commit)
    Upkeep(images).collect()
    assert images.find(wanted) == first
    assert images.cache.files().keys() == {
        p.checksum for p in (*first.manifest.lock.base, *first.manifest.lock.packages)
    }
    upkeep = Upkeep(images)
    freed = image_usage(images.store)["notes"].unique
    upkeep.purge(["notes"])
    assert upkeep.removed.freed == freed
    upkeep.collect()
    assert images.store.images() == []
    assert [ref.split("/")[0] for ref in images.store.refs()] == ["osbase"]
    again = images.ensure(wanted)
    assert images.store.ostree.content_checksum(again.commit) == content
    assert again.packages == first.packages


def test_most_of_an_image_is_shared_with_its_base_tree(places: Places, wanted: Image) -> None:
    images = builder(places, offline=True)
    built = images.ensure(wanted)
    of_image = usage(images.store, [built.commit])
    assert of_image.unique < of_image.size / 5
    assert built.manifest.size * 0.9 < of_image.size < built.manifest.size * 2
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(sbom(built))) is None
    assert all("hashes" in component for component in sbom(built)["components"])  # type: ignore[attr-defined]


def test_a_damaged_image_and_its_base_tree_are_built_again_with_equal_content(places: Places, wanted: Image) -> None:
    images = builder(places, offline=True)
    built = images.ensure(wanted)
    content = images.store.ostree.content_checksum(built.commit)
    Upkeep(images).collect()  # there may be locks of older formats in the cache
    assert not examine(images.store, images.cache)
    flip(built.tree / "usr/bin/nano")  # of the image alone; the file is the object
    deleted = next(
        path for path in objects(places) if path.lstat().st_ino == (built.tree / "usr/bin/dpkg").stat().st_ino
    )
    deleted.unlink()
    package = places.cache / "packages" / built.manifest.lock.packages[0].checksum.replace(":", "-")
    damage = examine(images.store, images.cache)
    assert sorted(damage.objects.values()) == ["damaged", "missing"]
    assert sorted(ref.split("/")[0] for ref in damage.refs) == ["image", "osbase"]
    assert package.exists()
    done = repair(images)
    assert (done.rebuilt, done.failed) == (["notes"], {})
    rebuilt = images.find(wanted)
    assert rebuilt is not None
    assert rebuilt.commit != built.commit
    assert images.store.ostree.content_checksum(rebuilt.commit) == content
    assert not examine(images.store, images.cache)
    images.store.ostree.check()


def objects(places: Places) -> Iterator[Path]:
    return (places.store / "repo/objects").glob("*/*.file")


@pytest.mark.fault
def test_clean_up_without_end_does_no_harm_to_builds(places: Places, wanted: Image) -> None:
    """Above all not to the base tree, which no image names until the build on it is over."""
    done = threading.Event()
    problems: list[BaseException] = []
    rounds = 0

    def clean() -> None:
        nonlocal rounds
        try:
            while not done.is_set():
                Upkeep(builder(places, offline=True)).collect(former=True)
                rounds += 1
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=clean)
    thread.start()
    try:
        images = builder(places, offline=True)
        for _ in range(2):
            built = images.ensure(wanted)
            assert (built.tree / "usr/bin/nano").exists()
            images.purge("notes")
        last = images.ensure(wanted)
    finally:
        done.set()
        thread.join(60)
    assert problems == []
    assert rounds > 3
    assert images.find(wanted) == last
    images.store.ostree.check()
    assert [path for path in (places.store / "builds").iterdir() if path.is_dir()] == []
