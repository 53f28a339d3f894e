# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images with the same files share them, on the disk and in the memory of their running apps."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from ftos.host.facts import HostFacts
from ftos.host.places import Places
from ftos.image.store import BuiltImage
from ftos.runtime.assemble import assemble, prepared
from ftos.runtime.container import Container
from ftos.runtime.control import Command, Connection, Kind
from ftos.spec.catalog import Catalog
from tests.image.alpine import OSBASE, Package, World
from tests.image.harness import describe, image

TOOLKIT_SIZE = 24 << 20
LIBRARY = "/usr/lib/libtoolkit.so"


@pytest.fixture(scope="module")
def first(common: World) -> BuiltImage:
    """An image of a toolkit, with a library that can be loaded, and of a program of its own."""
    library = (common.repository.minirootfs.tree / "lib/libz.so.1").read_bytes()
    files = {LIBRARY[1:]: library, "usr/share/toolkit": os.urandom(TOOLKIT_SIZE)}
    programs = [
        Package(f"app{i}", files={f"usr/bin/app{i}": os.urandom(10_000)}, depends=("toolkit",)) for i in range(10)
    ]
    common.offer(Package("toolkit", files=files), *programs)
    return build(common, "app0")


def build(world: World, name: str) -> BuiltImage:
    return world.builder.ensure(describe(world.places, image(name, OSBASE, packages=(name,))))


def taken(places: Places, *options: str) -> int:
    """Bytes on the disk."""
    command = ["du", "-s", "-B1", *options, str(places.store)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout.split()[0])


def test_ten_images_with_one_toolkit_take_the_disk_of_one(common: World, first: BuiltImage) -> None:
    of_one = taken(common.places)
    assert of_one > TOOLKIT_SIZE
    images = [first, *(build(common, f"app{i}") for i in range(1, 10))]
    assert len({built.tree for built in images}) == 10
    assert taken(common.places, "--count-links") > 10 * TOOLKIT_SIZE
    assert taken(common.places) < 1.2 * of_one


def test_a_library_in_two_running_apps_is_in_memory_once(common: World, first: BuiltImage) -> None:
    """By the kernel's own count of who has mapped its pages, and as the inode of the store."""
    other = build(common, "app1")
    assert first.commit != other.commit
    with running(common.places, first) as one:
        assert shared_pages(one) == 0
        with running(common.places, other) as two:
            assert one != two
            assert shared_pages(one) > 0
            assert shared_pages(two) > 0
            of_store = (first.tree / LIBRARY[1:]).stat().st_ino
            assert [Path(f"/proc/{pid}/root{LIBRARY}").stat().st_ino for pid in (one, two)] == [of_store] * 2


@contextmanager
def running(places: Places, built: BuiltImage) -> Iterator[int]:
    """A shell in a container of the image, with the library loaded; its process id on the host."""
    directory = places.etc / "deployments"
    directory.mkdir(exist_ok=True)
    text = f"kind: deployment\nschema: 1\nname: {built.name}\nid: d-{built.commit[:8]}\nimage: {built.name}\n"
    (directory / f"{built.name}.yml").write_text(text)
    catalog = Catalog(places)
    facts = HostFacts("x86_64", "none", "C.UTF-8", "Etc/UTC", None)
    assembly = assemble(places, catalog, facts, catalog.deployment(built.name), built.commit, built.tree)
    environment = (*assembly.plan.environment, ("LD_PRELOAD", LIBRARY))
    command = Command(arguments=("sh", "-c", "echo ready; read word"), environment=environment, directory="/")
    with ExitStack() as opened:
        record = opened.enter_context(prepared(places, assembly))
        container = opened.enter_context(Container(places, assembly.plan, record))
        ends = [*os.pipe(), *os.pipe()]
        for end in ends:
            opened.callback(os.close, end)
        input_end, _, output, output_end = ends
        connection = Connection.connect(container.control)
        opened.callback(connection.close)
        connection.start(Kind.START, command, (input_end, output_end, output_end))
        assert os.read(output, 100) == b"ready\n"
        yield child_of(container.pid)


def child_of(pid: int) -> int:
    found = [path.parent for path in Path("/proc").glob("[0-9]*/stat") if parent(path) == pid]
    return int(found[0].name)


def parent(stat: Path) -> int | None:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except (FileNotFoundError, ProcessLookupError):
        return None


def shared_pages(pid: int) -> int:
    """KiB of the library in memory that another process has mapped too."""
    shared, is_library = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        words = line.split()
        if not words[0].endswith(":"):
            is_library = line.endswith(LIBRARY)
        elif is_library and words[0] in ("Shared_Clean:", "Shared_Dirty:"):
            shared += int(words[1])
    return shared
