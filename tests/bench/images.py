# SPDX-License-Identifier: AGPL-3.0-or-later
"""Benchmark of images: times against the package managers alone, disk against trees and layers of their own.

    python -m tests.bench.images [PART...]      parts: commands debian alpine store disk; all by default

Ratios are within one run. State is in .state/bench, packages in the cache of the tests; the first run needs a mirror.
Writes .state/bench/images.json. Nothing here passes or fails.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from ftos.errors import FtosError
from ftos.host.places import Places
from ftos.image.build import ImageBuilder
from ftos.image.manifest import Manifest, PackageLock
from ftos.image.store import BuiltImage, now
from ftos.image.usage import disk_usage, usage
from ftos.spec.records import Image
from tests.bench.measure import Report, best, command
from tests.image.alpine import OSBASE as ALPINE
from tests.image.alpine import Alpine, World, archive
from tests.image.harness import Recorder, builder, describe, fresh, image

CHECKOUT = Path(__file__).resolve().parents[2]
TOP = CHECKOUT / ".state/bench"
FTOS = Path(sys.executable).with_name("ftos")
MEBIBYTE = 1 << 20
RUNS = 3
APPS = "galculator l3afpad mousepad xpad qalculate-gtk gucharmap ristretto viewnior gpicview lxtask".split()
"""Programs of one toolkit."""
DEBIAN = {"small": ("nano",), "gtk": ("galculator",)}
"""Images that are built with mmdebstrap too."""


@dataclass
class Stopwatch(Recorder):
    """How long each stage took."""

    begun: list[tuple[str, float]] = field(default_factory=list)

    def stage(self, name: str) -> None:
        self.begun.append((name, time.monotonic()))

    def times(self) -> list[tuple[str, float]]:
        ends = [*(moment for _, moment in self.begun[1:]), time.monotonic()]
        return [(name, end - moment) for (name, moment), end in zip(self.begun, ends, strict=True)]


def clear(places: Places) -> None:
    subprocess.run(["rm", "-rf", places.store], check=True)


def rebuild(report: Report, places: Places, wanted: Image, what: str) -> tuple[float, BuiltImage]:
    """Time of a whole rebuild from the cache, base tree included, and of the image alone."""
    watches: list[tuple[float, Stopwatch, list[tuple[str, float]]]] = []
    built: list[BuiltImage] = []

    def once() -> None:
        watch = Stopwatch()
        begin = time.monotonic()
        built.append(builder(places, watch, offline=wanted.osbase.startswith("debian")).ensure(wanted))
        watches.append((time.monotonic() - begin, watch, watch.times()))

    whole = best(RUNS, once, lambda: clear(places))
    report.tell(f"{what}: rebuild from the cache", whole)
    report.stages(min(watches, key=lambda entry: entry[0])[2])
    making = builder(places, offline=wanted.osbase.startswith("debian"))
    own = best(RUNS, lambda: making.ensure(wanted), lambda: making.purge(wanted.name))
    report.tell(f"{what}: image on a base tree that is there", own)
    return whole, built[-1]


def cached(shared: Places, wanted: Image) -> PackageLock:
    """The lock of an image, whose packages are in the cache then."""
    making = builder(shared)
    lock = making.cache.lock(making.recipe(wanted).digest)
    if lock is None or making.cache.missing((*lock.base, *lock.packages)):
        lock = making.ensure(wanted).manifest.lock
    return lock


# --- parts ----------------------------------------------------------------------------------------------------------


def commands(report: Report, shared: Places) -> None:
    report.section("Commands, Python's start included")
    cached(shared, image("bench", packages=("nano",)))
    places = Places(fresh_directory("commands") / "root")
    places.cache.parent.mkdir(parents=True)
    subprocess.run(["cp", "-al", shared.cache, places.cache], check=True)  # its own: `gc` removes packages
    describe(places, image("bench", packages=("nano",)))
    subprocess.run([FTOS, "--root", places.root, "image", "build", "bench"], check=True, stderr=subprocess.DEVNULL)
    report.tell("python -c pass", best(10, command(sys.executable, "-c", "pass")))
    for words in ("image build bench", "image list", "image show bench", "image df", "image gc"):
        report.tell(f"ftos {words} (nothing to do)", best(10, command(FTOS, "--root", places.root, *words.split())))


def debian(report: Report, shared: Places) -> None:
    for name, packages in DEBIAN.items():
        report.section(f"Debian, {name}: {' '.join(packages)}")
        places = fresh_places(f"debian-{name}", shared)
        wanted = image(f"bench-{name}", packages=packages)
        lock = cached(shared, wanted)
        whole, _ = rebuild(report, places, wanted, name)
        if shutil.which("mmdebstrap") is None:
            report.skip(f"{name}: mmdebstrap alone", "it is not installed")
            continue
        alone = best(RUNS, *mmdebstrap(shared, lock, places.root / "alone"))
        report.tell(f"{name}: mmdebstrap alone", alone)
        report.tell(f"{name}: ftos / mmdebstrap", whole / alone, "×", "(target: 1.5)")


def mmdebstrap(shared: Places, lock: PackageLock, top: Path) -> tuple[Callable[[], object], Callable[[], object]]:
    """Makes a tree of exactly the packages of `lock` out of a repository with only these; and what clears up."""
    repository = top / "repository"
    repository.mkdir(parents=True)
    files = builder(shared).cache.files()
    index = b""
    for package in (*lock.base, *lock.packages):
        file = repository / package.file
        os.link(files[package.checksum], file)
        control = subprocess.run(["dpkg-deb", "-f", file], check=True, capture_output=True).stdout
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        index += control + f"Filename: ./{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n\n".encode()
    (repository / "Packages").write_bytes(index)
    names = ",".join(package.name for package in (*lock.base, *lock.packages))
    source = f"deb [trusted=yes] copy:{repository} ./"
    words = ("mmdebstrap", "--mode=root", "--variant=apt", f"--include={names}", "trixie", top / "tree", source)
    return command(*words), command("rm", "-rf", top / "tree")


def alpine(report: Report, shared: Places) -> None:
    report.section("Alpine: the base tree")
    source = archive(CHECKOUT, "x86_64")
    if source is None:
        report.skip("alpine", "there are no release archives: set FTOS_TEST_ALPINE to their directory")
        return
    world = Alpine.below(fresh_directory("alpine"), source).at(TOP / "alpine/world")
    wanted = image("bench", ALPINE)
    builder(world.places).ensure(wanted)
    whole, built = rebuild(report, world.places, wanted, "alpine")
    tree = world.repository.minirootfs.tree
    alone = TOP / "alpine/alone"
    words = (
        str(tree / "lib/ld-musl-x86_64.so.1"), "--library-path", str(tree / "lib"), str(tree / "sbin/apk"),
        "--root", str(alone), "--initdb", "--no-network", "--no-progress", "--no-cache",
        "--keys-dir", str(keys(world)), "--repositories-file", "/dev/null",
        "--repository", f"{world.repository.directory}/v3.20/main",
        "add", *(package.name for package in built.packages),
    )  # fmt: skip
    only = best(RUNS, command(*words), command("rm", "-rf", alone))
    report.tell("alpine: apk alone", only)
    report.tell("alpine: ftos / apk", whole / only, "×", "(target: 1.5)")


def keys(world: World) -> Path:
    directory = TOP / "alpine/keys"
    directory.mkdir()
    (directory / world.repository.key.name).write_bytes(world.repository.key.public)
    return directory


def store(report: Report, shared: Places) -> None:
    """Synthetic images of 4000 files, of which 3800 are the same in all."""
    places = Places(fresh_directory("store") / "root")
    common = TOP / "store/common"
    for number in range(3800):
        path = common / f"usr/share/{number // 100}/{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(os.urandom(8000))
    separate = 0.0
    for number in range(50):
        name = f"synthetic-{number}"
        wanted = describe(places, image(name))
        source = TOP / f"store/{name}"
        subprocess.run(["cp", "-al", common, source], check=True)
        for own in range(200):
            (source / f"own-{own}").write_bytes(os.urandom(8000))
        publish(builder(places), wanted, source)
        separate += disk_usage(source) / MEBIBYTE
        shutil.rmtree(source)
        if number + 1 not in (1, 10, 50):
            continue
        what = f"{number + 1} image{'s' if number else ''}"
        report.section(f"Store, {what} of 4000 files")
        taken = disk_usage(places.store) / MEBIBYTE
        report.tell(f"{what}: disk", taken, "MiB")
        report.tell(f"{what}: as separate trees", separate, "MiB")
        for words in ("image list", "image df", "image gc", "image fsck"):
            runs = 1 if words == "image fsck" else RUNS
            report.tell(f"{what}: ftos {words}", best(runs, command(FTOS, "--root", places.root, *words.split())))


def publish(making: ImageBuilder, wanted: Image, source: Path) -> None:
    made = Manifest(
        kind="image", name=wanted.name, digest=making.recipe(wanted).digest, osbase=wanted.osbase, base="",
        components=(), packages=(), lock=PackageLock(base=(), indexes={}), size=0, built_at=now(),
    )  # fmt: skip
    with making.store.build_directory() as work:
        (work / "skip").touch()
        making.store.publish(made, [source], work / "skip", work)


def disk(report: Report, shared: Places) -> None:
    report.section(f"Disk: images with one toolkit ({' '.join(APPS)})")
    places = fresh_places("disk", shared)
    built: list[BuiltImage] = []
    for app in APPS:
        try:
            built.append(builder(places).ensure(image(f"bench-{app}", packages=(app,))))
        except FtosError as error:
            report.skip(app, error.message.splitlines()[0])
    making = builder(places)
    one = disk_of([built[0].tree]) / MEBIBYTE
    separate = sum(copied(image.tree) for image in built) / MEBIBYTE
    base = making.store.tree(built[0].manifest.base)
    layers = (disk_of([base]) + sum(disk_of([image.tree], base) for image in built)) / MEBIBYTE
    taken = disk_usage(places.store) / MEBIBYTE
    what = f"{len(built)} images"
    report.tell("one image as a tree", one, "MiB")
    report.tell(f"{what} as separate trees (cp -a)", separate, "MiB")
    report.tell(f"{what} as layers: a base and one each", layers, "MiB")
    report.tell(f"{what} in the store, base tree and all", taken, "MiB")
    report.tell("store / one tree", taken / one, "×")
    report.tell("store / layers", taken / layers, "×")
    report.tell("store / separate trees", taken / separate, "×")
    own = [usage(making.store, [image.commit]).unique / MEBIBYTE for image in built]
    report.tell("unique to one image, on average", sum(own) / len(own), "MiB")


def copied(tree: Path) -> int:
    copy = TOP / "disk/copy"
    subprocess.run(["cp", "-a", tree, copy], check=True)
    size = disk_usage(copy)
    subprocess.run(["rm", "-rf", copy], check=True)
    return size


def disk_of(trees: Iterable[Path], without: Path | None = None) -> int:
    """Bytes of the files of `trees` that are not, with the same content, at the same path in `without`."""
    size = 0
    for tree in trees:
        for path in tree.rglob("*"):
            below = None if without is None else without / path.relative_to(tree)
            status = path.lstat()
            if below is None or not os.path.lexists(below) or below.lstat().st_ino != status.st_ino:
                size += 0 if below is not None and path.is_dir() and below.is_dir() else status.st_blocks * 512
    return size


# --- where ----------------------------------------------------------------------------------------------------------


def fresh_directory(name: str) -> Path:
    path = TOP / name
    subprocess.run(["rm", "-rf", path], check=True)
    path.mkdir(parents=True)
    return path


def fresh_places(name: str, shared: Places) -> Places:
    return fresh(fresh_directory(name) / "root", shared)


PARTS = {part.__name__: part for part in (commands, debian, alpine, store, disk)}


def main() -> None:
    report = Report()
    shared = Places(Path(os.environ.get("FTOS_TEST_CACHE") or CHECKOUT / ".state/test-cache").absolute())
    for name in sys.argv[1:] or PARTS:
        PARTS[name](report, shared)
        subprocess.run(["rm", "-rf", TOP / name], check=True)
    report.write(TOP / "images.json")


if __name__ == "__main__":
    main()
