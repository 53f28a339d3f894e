# SPDX-License-Identifier: AGPL-3.0-or-later
"""Updates in which the base tree changes: images that are updated together go on sharing it, others keep theirs."""

from __future__ import annotations

from pathlib import Path

from ftos.image.store import BuiltImage
from ftos.image.update import PackageChange, Updater, rollback
from ftos.spec.records import Image
from tests.image.alpine import OSBASE, Package, World
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
