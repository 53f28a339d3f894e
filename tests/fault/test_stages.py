# SPDX-License-Identifier: AGPL-3.0-or-later
"""Updates that are killed at each stage: the image is what it was or what it will be, and the next one works.

Builds that are killed are in tests/image/test_crashes.py; changes of the store, step by step, in test_system_calls.py.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ftos.image.update import Updater, former, rollback
from tests.fault.synthetic import assert_nothing_left
from tests.image.alpine import OSBASE, Package, World
from tests.image.harness import image

_UPDATE = """
import sys
from pathlib import Path
from ftos.image.update import Updater
from tests.image.alpine import OSBASE, AlpinePlaces
from tests.image.harness import Recorder, builder, image

top, stage = Path(sys.argv[1]), sys.argv[2]
with Updater(builder(AlpinePlaces(top / "root", own=top / "shipped"), Recorder(stage))) as updater:
    updater.make(updater.look(image("hello", OSBASE, packages=("hello",))))
"""


def hello(version: str) -> Package:
    return Package("hello", version, files={"usr/bin/hello": version.encode()})


@pytest.mark.timeout(300)
def test_kill_9_at_each_stage_of_an_update(world: World, checkout: Path) -> None:
    world.offer(hello("1-r0"))
    old = world.build("hello", "hello")
    world.offer(hello("2-r0"))
    command = [sys.executable, "-c", _UPDATE, str(world.places.root.parent)]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    stages = (
        "alpine/3.20: refresh",
        "alpine/3.20: find",
        "hello: download",
        "hello: install",
        "hello: examine",
        "hello: commit",
    )
    store = world.builder.store
    for stage in stages:
        done = subprocess.run([*command, stage], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == -signal.SIGKILL, f"{stage}: {done.stderr}"
        store.ostree.check()
        assert store.images() == [old]
    wanted = image("hello", OSBASE, packages=("hello",))
    with Updater(world.builder) as updater:
        found = updater.look(wanted)
        assert [(change.name, change.new) for change in found.changes] == [("hello", "2-r0")]
        new = updater.make(found)
    assert store.images() == [new]
    assert former(world.builder, wanted) == (new, old)
    assert rollback(world.builder, wanted) == (new, old)
    assert store.images() == [old]
    store.remove([])
    assert not list(world.places.cache.rglob(".*.tmp"))
    assert {path.name for path in (store.root / "trees").iterdir()} == set(store.refs().values())
    world.builder.purge("hello")
    store.remove(store.refs())
    assert_nothing_left(store)
    assert list((store.root / "trees").iterdir()) == []
