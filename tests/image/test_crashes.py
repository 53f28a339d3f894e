# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds that are killed, interrupted or fail: the store has what it had, and the next build works."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.host.places import Places
from ftos.image.manifest import LockedPackage
from tests.image.harness import Recorder, builder, image

PYTHON = (sys.executable, "-m", "tests.image.harness")


def child(checkout: Path, places: Places, name: str, stage: str) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.Popen([*PYTHON, str(places.root), name, stage], env=environment, start_new_session=True)


def state(places: Places) -> dict[str, str]:
    heads = places.store / "repo/refs/heads"
    return {str(ref.relative_to(heads)): ref.read_text() for ref in heads.rglob("*") if ref.is_file()}


def left_builds(places: Places) -> list[Path]:
    return [path for path in (places.store / "builds").iterdir() if path.is_dir()]


def assert_nothing_runs() -> None:
    """No process is in the cgroup of a build, soon: init ends when its launcher is gone."""
    for _ in range(100):
        running = [path for path in Path("/proc").glob("[0-9]*/cgroup") if "/ftos/build/" in read(path)]
        if not running:
            return
        time.sleep(0.05)
    pytest.fail(f"still running: {running}")


def read(path: Path) -> str:
    try:
        return path.read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def cached(cache: Path, packages: Iterable[LockedPackage]) -> list[Path]:
    """Their files in the cache."""
    return [cache / "packages" / package.checksum.replace(":", "-") for package in packages]


def kill_at(checkout: Path, places: Places, name: str, stages: tuple[str, ...]) -> None:
    """Kill a build of image `name` at each of `stages`, one after another."""
    for stage in stages:
        before = state(places)
        assert child(checkout, places, name, stage).wait(200) == -signal.SIGKILL, stage
        builder(places).store.ostree.check()
        assert builder(places).find(image(name, packages=("nano",))) is None
        assert state(places).items() >= before.items()
        assert_nothing_runs()


@pytest.mark.fault
def test_kill_9_at_each_stage_of_a_whole_build_from_the_cache(checkout: Path, shared: Places, places: Places) -> None:
    wanted = image("twice", packages=("nano",))
    expected = builder(shared).ensure(wanted)
    base = ("unpack the base tree", "install the base tree", "examine the files", "commit")
    own = ("install the packages", "examine the files", "commit")
    kill_at(checkout, places, "twice", tuple(f"debian/trixie: {stage}" for stage in base))
    kill_at(checkout, places, "twice", tuple(f"twice: {stage}" for stage in own))
    built = builder(places).ensure(wanted)
    builder(places).store.ostree.check()
    assert built.packages == expected.packages
    assert left_builds(places) == []
    commits = {content.strip() for content in state(places).values()}
    assert {path.name for path in (places.store / "trees").iterdir()} == commits


@pytest.mark.fault
def test_kill_9_at_each_stage_of_a_fetch(checkout: Path, shared: Places) -> None:
    builder(shared).ensure(image("twice", packages=("nano",)))
    builder(shared).store.purge("fetched")
    digest = builder(shared).recipe(image("fetched", packages=("nano",))).digest
    lock = builder(shared).cache.lock(digest)
    assert lock is not None
    for file in cached(shared.cache, lock.packages):
        file.unlink()
    (shared.cache / f"locks/{digest}.json").unlink()
    kill_at(checkout, shared, "fetched", ("fetched: refresh", "fetched: find", "fetched: download", "fetched: install"))
    assert builder(shared).ensure(image("fetched", packages=("nano",)))
    assert left_builds(shared) == []


@pytest.mark.fault
def test_kill_9_at_random_moments(checkout: Path, shared: Places) -> None:
    """Between the stages too, above all while ostree commits and checks out."""
    wanted = image("killed", packages=("nano",))
    builder(shared).ensure(image("twice", packages=("nano",)))
    builder(shared).store.purge("killed")
    seed = random.randrange(1 << 32)
    moments = random.Random(seed)
    for _ in range(4):
        before = state(shared)
        process = child(checkout, shared, "killed", "no stage")
        time.sleep(moments.uniform(0.3, 4.5))
        process.kill()
        process.wait(10)
        assert state(shared).items() >= before.items(), f"seed {seed}"
        # The next one waits for what the killed one had begun, cleans up, and leaves a sound store.
        built = builder(shared).ensure(wanted)
        builder(shared).store.ostree.check()
        assert (built.tree / "usr/bin/nano").is_file()
        builder(shared).store.purge("killed")
        builder(shared).store.ostree.check()
        assert left_builds(shared) == []  # only now: one killed after it had published leaves nothing to build
    assert_nothing_runs()


@pytest.mark.fault
@pytest.mark.parametrize("stage", ["install the packages", "commit"])
def test_ctrl_c_leaves_the_store_as_it_was_and_no_directory(shared: Places, stage: str) -> None:
    builder(shared).ensure(image("twice", packages=("nano",)))
    builder(shared).store.purge("interrupted")
    before = state(shared)

    class Interrupter(Recorder):
        def stage(self, name: str) -> None:
            if name.endswith(stage_name):
                signal.setitimer(signal.ITIMER_REAL, 0.15)
            super().stage(name)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    stage_name = stage
    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            builder(shared, Interrupter()).ensure(image("interrupted", packages=("nano",)))
    finally:
        signal.signal(signal.SIGALRM, former)
    assert state(shared) == before
    assert left_builds(shared) == []
    assert_nothing_runs()
    builder(shared).store.ostree.check()
    assert builder(shared).ensure(image("interrupted", packages=("nano",)))


@pytest.mark.fault
def test_a_damaged_package_in_the_cache_is_noticed(shared: Places, places: Places) -> None:
    """The cache is root's own, but disks fail: dpkg reads a checksum of its own."""
    lock = builder(shared).ensure(image("twice", packages=("nano",))).manifest.lock
    own = places.root / "own-cache"
    subprocess.run(["cp", "-al", str(shared.cache), str(own)], check=True)
    places.cache.unlink()
    places.cache.symlink_to(own)
    biggest = max(cached(own, lock.base), key=lambda path: path.stat().st_size)
    data = bytearray(biggest.read_bytes())
    data[len(data) // 2 :] = bytes(len(data) - len(data) // 2)
    biggest.unlink()
    biggest.write_bytes(data)
    with pytest.raises(BuildError):
        builder(places, offline=True).ensure(image("twice", packages=("nano",)))
    assert state(places) == {}
