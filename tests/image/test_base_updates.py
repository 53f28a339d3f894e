# SPDX-License-Identifier: AGPL-3.0-or-later
"""Updates in which the base tree changes: images that are updated together go on sharing it, others keep theirs."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ftos.errors import BuildError, Unsupported
from ftos.image.holds import Hold
from ftos.image.store import BuiltImage
from ftos.image.update import PackageChange, Updater, rollback
from ftos.spec.records import Image
from tests.image.alpine import OSBASE, Package, World, osbase
from tests.image.harness import image

NEWER = Package("scanelf", "9-r0", files={"usr/bin/scanelf": (b"#!/bin/sh\necho new\n", 0o755)})
"""A package of the base tree."""
CHANGE = PackageChange("scanelf", "1.3.7-r2", "9-r0")


def made(name: str) -> Image:
    return image(name, OSBASE, packages=(f"lib{name}",))


def build(world: World, *names: str) -> list[BuiltImage]:
    world.offer(*(Package(f"lib{name}", files={f"usr/lib/{name}": name.encode()}) for name in names))
    return [world.builder.ensure(made(name)) for name in names]


def found(world: World, name: str) -> BuiltImage:
    built = world.builder.find(made(name))
    assert built is not None
    return built


def inode(built: BuiltImage, path: str) -> int:
    return Path(built.tree, path).stat().st_ino


def test_images_that_are_updated_together_share_the_new_base_tree(world: World) -> None:
    one, two, three = build(world, "one", "two", "three")
    assert one.manifest.base == two.manifest.base == three.manifest.base
    world.offer(NEWER)
    with Updater(world.builder) as updater:
        updates = [updater.look(made(name)) for name in ("one", "two")]
        assert [(update.state, update.changes) for update in updates] == [("changed", (CHANGE,))] * 2
        assert len(world.builder.store.refs()) == 4, "nothing is built to look"
        newer = [updater.make(update) for update in updates]
    assert newer[0].manifest.base == newer[1].manifest.base != one.manifest.base
    assert inode(newer[0], "usr/bin/scanelf") == inode(newer[1], "usr/bin/scanelf") != inode(one, "usr/bin/scanelf")
    assert inode(newer[0], "lib/libcrypto.so.3") == inode(three, "lib/libcrypto.so.3")
    with Updater(world.builder) as updater:
        assert [updater.look(made(name)).state for name in ("one", "two", "three")] == ["current", "current", "changed"]
    assert found(world, "three") == three
    world.builder.store.ostree.check()


def test_an_image_that_was_rolled_back_is_built_again_on_the_base_tree_that_it_had(world: World) -> None:
    (first,) = build(world, "one")
    content = world.builder.store.ostree.content_checksum(first.commit)
    world.offer(NEWER)
    with Updater(world.builder) as updater:
        updater.make(updater.look(made("one")))
    rollback(world.builder, made("one"))
    store = world.builder.store
    assert found(world, "one") == first
    world.builder.purge("one")
    store.remove([ref for ref in store.refs() if ref.startswith("osbase/")])
    assert store.refs() == {}
    again = world.builder.ensure(made("one"))
    assert again.manifest.lock == first.manifest.lock
    assert store.ostree.content_checksum(again.commit) == content
    assert {package.name: package.version for package in again.packages}["scanelf"] == CHANGE.old
    (two,) = build(world, "two")
    assert two.manifest.base != again.manifest.base, "a new image takes the newest base tree"


def test_an_app_that_worked_is_launched_when_its_image_cannot_be_built_as_it_is_described_now(world: World) -> None:
    (first,) = build(world, "one")
    osbase(world.places.own, OSBASE, world.repository.key, **{"post-clean": "[/usr/share/doc]"})
    shutil.rmtree(world.repository.directory)
    with pytest.raises(BuildError, match="download of the package indexes"):
        world.builder.ensure(made("one"))
    assert world.builder.ready(made("one")) == first
    assert world.progress.notes[-1].startswith(f"one is launched as it was built at {first.built_at}: ")
    with pytest.raises(BuildError):
        world.builder.ready(made("two"))


def test_on_a_retired_osbase_what_is_built_is_launched_and_nothing_is_built(world: World) -> None:
    (first,) = build(world, "one")
    path = world.places.own / "osbases" / OSBASE / "osbase.yml"
    path.write_text(path.read_text().replace("status: supported", "status: retired\nsuccessor: alpine/9.99"))
    assert world.builder.ready(made("one")) == first
    with pytest.raises(Unsupported, match="is retired: it gets no fixes any more") as caught:
        world.builder.ensure(made("two"))
    assert caught.value.hint == "its successor is alpine/9.99"
    with Updater(world.builder) as updater, pytest.raises(Unsupported, match="is retired"):
        updater.look(made("one"))


def test_a_pin_holds_through_a_purge_an_update_and_a_changed_recipe(world: World) -> None:
    (first,) = build(world, "one")
    world.builder.holds.put("one", Hold(pinned=True, recipe=first.digest))
    world.offer(NEWER)
    world.builder.purge("one")
    with Updater(world.builder) as updater:
        assert updater.look(made("one")).state == "pinned"
    again = world.builder.ensure(made("one"))
    assert again.manifest.lock == first.manifest.lock
    osbase(world.places.own, OSBASE, world.repository.key, **{"post-clean": "[/usr/share/doc]"})
    assert world.builder.find(made("one")) is None
    assert world.builder.ready(made("one")) == again
    with pytest.raises(BuildError, match="one is pinned, and its descriptor or this host has changed since"):
        world.builder.ensure(made("one"))
    world.builder.holds.put("one", Hold())
    assert world.builder.ready(made("one")).digest != first.digest
