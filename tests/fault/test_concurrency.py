# SPDX-License-Identifier: AGPL-3.0-or-later
"""Several at once: builds of one image and of two, builds and what removes, and a person who presses Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ftos.errors import FtosError
from ftos.host.places import Places
from tests.fault.synthetic import assert_nothing_left, assert_whole, change, contents, fill, publish, store
from tests.image.alpine import Package, World

HELLO = Package("hello", files={"usr/bin/hello": (b"#!/bin/sh\necho hello\n", 0o755)})
SLOW = Package("slow", files={"usr/bin/slow": b""}, scripts={"post-install": "sleep 1"})


def test_many_processes_change_one_store(tmp_path: Path) -> None:
    places = Places(tmp_path / "root")
    shared = {f"usr/{i}": os.urandom(5000) for i in range(20)}
    sources = [fill(tmp_path / f"image{i}", {**shared, "usr/own": bytes([i])}) for i in range(3)]
    publish(store(places), "image0", sources[0])
    changes = [
        *(change(places, "publish", f"image{i}", str(source)) for i, source in enumerate(sources) for _ in range(2)),
        change(places, "gc"),
        change(places, "purge", "image0"),
        change(places, "gc"),
    ]
    for child in changes:
        _, said = child.communicate(timeout=60)
        assert (child.returncode, said) == (0, "")
    images = {f"image{i}": contents(source) for i, source in enumerate(sources)}
    without = {name: content for name, content in images.items() if name != "image0"}
    made = store(places)
    assert_whole(made, images, without)
    assert_nothing_left(made)


def test_two_builds_at_once_share_what_they_can(world: World) -> None:
    """Two of one image, and one of another, with a base tree that none of them finds."""
    world.offer(HELLO, SLOW)
    errors: list[BaseException] = []

    def build(name: str, package: str) -> None:
        try:
            World(world.places, world.repository).build(name, package)
        except BaseException as error:
            errors.append(error)

    threads = [
        threading.Thread(target=build, args=words)
        for words in (("hello", "hello"), ("hello", "hello"), ("slow", "slow"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(100)
    assert errors == []
    built = world.builder.store
    assert sorted(ref.partition("/")[0] for ref in built.refs()) == ["image", "image", "osbase"]
    assert {image.manifest.base for image in built.images()} == {built.refs()[r] for r in built.refs() if r[:2] == "os"}
    built.ostree.check()
    assert_nothing_left_of_builds(world)


def test_what_removes_meanwhile_takes_nothing_that_a_build_needs(common: World) -> None:
    common.offer(HELLO, SLOW)
    common.build("hello", "hello")
    done = threading.Event()
    errors: list[FtosError] = []

    def remove() -> None:
        while not done.wait(0.05):
            try:
                World(common.places, common.repository).builder.store.remove([])
            except FtosError as error:
                errors.append(error)

    remover = threading.Thread(target=remove)
    remover.start()
    try:
        common.builder.purge("slow")
        slow = common.build("slow", "slow")
    finally:
        done.set()
        remover.join()
    assert errors == []
    assert (slow.tree / "usr/bin/slow").exists()
    common.builder.store.ostree.check()
    assert_nothing_left_of_builds(common)


BUILD = """
import sys
from pathlib import Path
from tests.image.alpine import OSBASE, AlpinePlaces
from tests.image.harness import Recorder, builder, image

class Told(Recorder):
    def stage(self, name):
        print(name, flush=True)

top = Path(sys.argv[1])
places = AlpinePlaces(top / "root", own=top / "shipped")
try:
    builder(places, Told()).ensure(image("slow", OSBASE, packages=("slow",)))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.parametrize("stage", ["refresh", "unpack", "install the packages", "commit"])
def test_ctrl_c_at_a_stage(common: World, checkout: Path, stage: str) -> None:
    """The terminal sends it to all processes of the group, ostree and the launcher's children among them."""
    common.offer(SLOW)
    common.builder.purge("slow")
    store = common.builder.store
    store.remove(store.refs())
    for lock in common.places.cache.glob("locks/*.json"):
        lock.unlink()
    command = [sys.executable, "-c", BUILD, str(common.places.root.parent)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, start_new_session=True) as child:
        assert child.stdout is not None
        met = any(stage in line for line in child.stdout)
        time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)
        assert child.wait(20) in (130, -signal.SIGINT)
    assert met
    store.ostree.check()
    assert [ref for ref in store.refs() if ref.startswith("image/")] == []
    assert_nothing_left_of_builds(common)


def assert_nothing_left_of_builds(world: World) -> None:
    assert [path for path in (world.places.store / "builds").iterdir() if path.is_dir()] == []
    assert [path.name for path in (world.places.store / "repo/tmp").iterdir() if path.name != "cache"] == []
