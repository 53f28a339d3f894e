# SPDX-License-Identifier: AGPL-3.0-or-later
"""Mirrors that move or drip, and indexes that several builds use at once."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from msgspec.structs import replace

from ftos.errors import BuildError
from ftos.host.places import Places
from ftos.image import watchdog
from ftos.image.build import ImageBuilder
from ftos.image.packages import PackageCache
from ftos.image.store import BuiltImage
from ftos.spec.records import Image, Repository
from tests.image.alpine import Package, World, host
from tests.image.harness import LocalRepository, Recorder, builder, describe, image

HELLO = Package("hello", files={"usr/bin/hello": (b"#!/bin/sh\n", 0o755)})


def all_at_once(builds: list[Callable[[], BuiltImage]]) -> list[BuiltImage | BaseException]:
    results: list[BuiltImage | BaseException] = []

    def run(build: Callable[[], BuiltImage]) -> None:
        try:
            results.append(build())
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=run, args=(build,)) for build in builds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


# --- Alpine ---------------------------------------------------------------------------------------------------------


def test_two_first_builds_at_once_share_indexes_and_base_tree(world: World) -> None:
    world.offer(HELLO)
    made = all_at_once([lambda name=name: world.build(name, "hello") for name in ("one", "two")])  # type: ignore[misc]
    assert all(isinstance(built, BuiltImage) for built in made), made
    assert len({built.manifest.base for built in made if isinstance(built, BuiltImage)}) == 1
    assert not list(world.places.cache.rglob(".*"))


def test_a_moved_mirror_of_alpine_has_the_locked_packages(world: World) -> None:
    world.offer(HELLO)
    before = world.build("hello", "hello").manifest.lock
    assert all(p.url.startswith(f"{world.repository.url}/") for p in (*before.base, *before.packages))
    world.builder.purge("hello")
    shutil.rmtree(world.places.store)
    shutil.rmtree(world.places.cache / "packages")
    shutil.rmtree(world.places.cache / "indexes")
    moved = world.repository.directory.rename(world.repository.directory.with_name("it moved"))
    host(world.places, moved.as_uri(), world.repository.minirootfs.source)
    assert world.build("hello", "hello").manifest.lock == before


# --- Debian ---------------------------------------------------------------------------------------------------------


class Own:
    """An image with one package of a repository of its own, which may be anywhere."""

    def __init__(self, shared: Places, directory: Path) -> None:
        self.shared = shared
        self.repository = LocalRepository(directory)
        self.repository.add("moving", "exit 0")
        self.repository.publish()
        self.name = "moving"

    def at(self, url: str) -> Image:
        source = Repository(url=url, suite="local", components=("main",), key="moving.asc")
        (self.shared.etc / "images").mkdir(parents=True, exist_ok=True)
        (self.shared.etc / "images/moving.asc").write_bytes(self.repository.key)
        return describe(self.shared, image(self.name, packages=("moving",), repositories=(source,)))

    def forget(self, wanted: Image) -> ImageBuilder:
        """Neither the image nor its own package is known any more."""
        making = builder(self.shared, Recorder())
        making.store.purge(self.name)
        making.cache.forget(making.recipe(wanted).digest)
        for package in (path for path in making.cache.files().values() if path.read_bytes() in self.files()):
            package.unlink()
        return making

    def files(self) -> list[bytes]:
        return [path.read_bytes() for path in self.repository.directory.glob("pool/*.deb")]


@pytest.fixture
def own(shared: Places, tmp_path: Path) -> Iterator[Own]:
    made = Own(shared, tmp_path / "repository")
    yield made
    made.forget(made.at("http://127.0.0.1:9/"))
    made.repository.close()


def test_a_lock_names_a_local_mirror_by_its_url_and_a_moved_one_has_the_package(own: Own, tmp_path: Path) -> None:
    wanted = own.at(f"file://{own.repository.directory}")
    lock = own.forget(wanted).ensure(wanted).manifest.lock
    (package,) = (package for package in lock.packages if package.name == "moving")
    assert package.url == f"file://{own.repository.directory}/pool/moving_1_all.deb"
    shutil.copytree(own.repository.directory / "pool", tmp_path / "it moved/pool")
    moved = own.at((tmp_path / "it moved").as_uri())
    making = own.forget(wanted)
    cache = PackageCache(own.shared)
    gone = replace(package, url=f"file://{tmp_path}/gone/pool/moving_1_all.deb")
    with making.fetcher(making.catalog.osbase(moved.osbase), moved, making.recipe(moved).base) as fetcher:
        fetcher.download(cache, [gone])
    assert cache.missing([package]) == []
    own.forget(moved)
    refused = pytest.raises(BuildError, match=r"(?s)download of the packages: failed.*gone/pool/moving_2_all.deb")
    with making.fetcher(making.catalog.osbase(moved.osbase), moved, making.recipe(moved).base) as fetcher, refused:
        fetcher.download(cache, [replace(gone, url=gone.url.replace("_1_", "_2_"))])


class Dripping(BaseHTTPRequestHandler):
    """Sends bodies byte by byte."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        with suppress(OSError):
            for _ in range(100_000):
                self.wfile.write(b"x")
                time.sleep(0.05)

    def log_message(self, *arguments: object) -> None:
        pass


def test_a_mirror_that_drips_does_not_hold_up_a_build(own: Own, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "GRACE", 3)
    monkeypatch.setattr(watchdog, "SLOWEST", 1 << 40)
    with ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        wanted = own.at(url)
        making = own.forget(wanted)
        start = time.monotonic()
        with making.fetcher(making.catalog.osbase(wanted.osbase), wanted, making.recipe(wanted).base) as fetcher:
            package = replace(
                making.cache.lock(making.recipe(wanted).base.digest).base[0],  # type: ignore[union-attr]
                checksum="sha256:" + "0" * 64,
                url=f"{url}/pool/slow_1_all.deb",
            )
            with pytest.raises(BuildError, match="download of the packages: no"):
                fetcher.download(making.cache, [package])
        assert time.monotonic() - start < 30
        server.shutdown()
