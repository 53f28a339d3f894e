# SPDX-License-Identifier: AGPL-3.0-or-later
"""A phone whose battery was empty believes that it is 1970: images are built and launched, and none is purged for it.

The clock is set back for one process and what it starts, by a library in front of libc's. Containers of builds have the
machine's own clock: what apt does with indexes of the future is tested with such indexes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftos.host.places import Places
from ftos.image.holds import Holds
from ftos.image.upkeep import Upkeep
from ftos.spec.records import Repository
from tests.fault.synthetic import assert_nothing_left, assert_whole, change, contents, fill, publish, store
from tests.image.alpine import Package, World
from tests.image.conftest import repository, shared
from tests.image.harness import LocalRepository, describe, image

__all__ = ["repository", "shared"]

_SHIM = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <sys/time.h>
#include <time.h>

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = dlsym(RTLD_NEXT, "clock_gettime");
    return real(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE ? CLOCK_BOOTTIME : clock, now);
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    now->tv_sec = time.tv_sec;
    now->tv_usec = time.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *now)
{
    struct timespec found;
    clock_gettime(CLOCK_REALTIME, &found);
    return now ? *now = found.tv_sec : found.tv_sec;
}
"""


@pytest.fixture(scope="module")
def in_1970(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment of a process whose clock began at 1970 when the machine was started."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no gcc")
    library = tmp_path_factory.mktemp("clock") / "clock.so"
    command = ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", "-o", str(library), "-xc", "-"]
    subprocess.run(command, input=_SHIM, text=True, check=True)
    environment = {"LD_PRELOAD": str(library)}
    date = [sys.executable, "-c", "import datetime; print(datetime.date.today().year)"]
    year = subprocess.run(date, env={**os.environ, **environment}, capture_output=True, text=True, check=True).stdout
    assert int(year) < 1980
    return environment


def test_the_store_needs_no_clock(tmp_path: Path, in_1970: dict[str, str]) -> None:
    places = Places(tmp_path / "root")
    first, second = (fill(tmp_path / name, {"usr/own": name.encode()}) for name in ("first", "second"))
    publish(store(places), "notes", first)
    for words in (("publish", "notes", str(second)), ("publish", "other", str(first)), ("swap", "notes"), ("gc",)):
        with change(places, *words, **in_1970) as child:
            _, said = child.communicate(timeout=60)
        assert (child.returncode, said) == (0, "")
    made = store(places)
    assert_whole(made, {"notes": contents(first), "other": contents(first)})
    assert_nothing_left(made)
    assert [manifest.built_at[:4] < "1980" for _, manifest in made.history("notes")] == [False, True]


_RUN = """
import os, sys, time
from pathlib import Path
from ftos.errors import FtosError
from ftos.image.upkeep import Upkeep
from tests.image.alpine import OSBASE, AlpinePlaces
from tests.image.harness import builder, image

top = Path(sys.argv[1])
making = builder(AlpinePlaces(top / "root", own=top / "shipped"))
making.ensure(image("hello", OSBASE, packages=("hello",)))
making.holds.mark_used("hello")
os.utime(making.places.state / "used/hello", (time.time(), time.time()))  # the kernel knows better here
try:
    print(Upkeep(making).idle(1))
except FtosError as error:
    print(error.message)
upkeep = Upkeep(making)
upkeep.tidy()
print(upkeep.removed.images)
"""


def test_a_wrong_clock_purges_nothing_now_or_later(world: World, checkout: Path, in_1970: dict[str, str]) -> None:
    """With a `purge-after` of a second; the image is built again from the cache, without its repository."""
    world.offer(Package("hello", files={"usr/bin/hello": b"hello"}))
    built = world.build("hello", "hello")
    describe(world.places, image("hello", built.manifest.osbase, packages=("hello",)))
    with (world.places.etc / "host.yml").open("a") as file:
        file.write("images: {purge-after: 1s}\n")
    made = world.builder
    made.purge("hello")
    made.store.remove(made.store.refs())
    world.repository.directory.rename(world.repository.directory.with_name("gone"))
    command = [sys.executable, "-c", _RUN, str(world.places.root.parent)]
    environment = {**os.environ, **in_1970, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["the clock is not set, so nobody knows how long an image was not used", "[]"]
    assert world.builder.store.find("image", "hello", built.digest) is not None
    assert Holds(world.places).last_used("hello") is None
    assert Upkeep(world.builder).idle(1) == []


_FETCH = """
import sys
from pathlib import Path
from ftos.errors import BuildError
from ftos.host.places import Places
from ftos.spec.catalog import Catalog
from tests.image.harness import builder

places = Places(Path(sys.argv[1]))
try:
    builder(places).ensure(Catalog(places).image("future"))
except BuildError as error:
    print(error.message)
    print(error.hint)
"""


def test_indexes_of_the_future_are_refused_and_the_clock_is_blamed(
    shared: Places, repository: LocalRepository, checkout: Path, in_1970: dict[str, str]
) -> None:
    repository.add("future", "exit 0")
    repository.publish("Fri, 01 Jan 2100 00:00:00 UTC")
    source = Repository(url=f"file://{repository.directory}", suite="local", components=("main",), key="local.asc")
    describe(shared, image("future", packages=("future",), repositories=(source,)))
    (shared.etc / "images/local.asc").write_bytes(repository.key)
    command = [sys.executable, "-c", _FETCH, str(shared.root)]
    environment = {**os.environ, **in_1970, "PYTHONPATH": str(checkout)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    (shared.etc / "images/future.yml").unlink()
    assert (done.returncode, done.stderr) == (0, "")
    assert "is not valid yet" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("the clock of this device says 19")
