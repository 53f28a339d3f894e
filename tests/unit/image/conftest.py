# SPDX-License-Identifier: AGPL-3.0-or-later
"""A device below a temporary root, with small images in a real store: no packages, just files."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.host.facts import gather
from ftos.host.places import Places
from ftos.image.build import ImageBuilder
from ftos.image.manifest import LockedPackage, Manifest, PackageLock
from ftos.image.store import BuiltImage
from ftos.plan.records import LaunchPlan
from ftos.spec.catalog import Catalog

OSBASE = "debian/trixie"


class Silence:
    """Progress that is remembered."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str) -> None: ...

    def update(self, done: int, total: int, what: str) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def _no_container(plan: LaunchPlan, *_: object, **__: object) -> int:
    raise BuildError("there are no containers here")


class Device:
    """Descriptors, store and cache, and an image builder for them."""

    def __init__(self, root: Path) -> None:
        self.places = Places(root)
        self.running: set[str] = set()
        """Commits that apps run on."""
        self.progress = Silence()
        catalog = Catalog(self.places)
        self.builder = ImageBuilder(
            self.places,
            catalog,
            gather(catalog.host()),
            _no_container,
            self.progress,
            in_use=lambda: self.running,
        )
        self.store, self.cache = self.builder.store, self.builder.cache
        self.cache.prepare()

    def host(self, text: str) -> None:
        self.places.etc.mkdir(parents=True, exist_ok=True)
        (self.places.etc / "host.yml").write_text(f"kind: host\nschema: 1\n{text}\n")

    def describe(self, name: str, packages: Sequence[str] = (), osbase: str = OSBASE) -> None:
        directory = self.places.etc / "images"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.yml").write_text(
            f"kind: image\nschema: 1\nname: {name}\ntitle: x\nversion: '1'\nosbase: {osbase}\n"
            f"packages: [{', '.join(packages or (name,))}]\ncommand: [/bin/sh]\n"
        )

    def package(self, name: str, content: bytes = b"") -> LockedPackage:
        """A package whose file is in the cache."""
        content = content or name.encode() * 100
        digest = hashlib.sha256(content).hexdigest()
        (self.places.cache / f"packages/sha256-{digest}").write_bytes(content)
        return LockedPackage(
            name=name,
            version="1",
            architecture="all",
            file=f"{name}_1_all.deb",
            size=len(content),
            checksum=f"sha256:{digest}",
            url="http://m.invalid/",
        )

    def base(self, version: str = "1") -> BuiltImage:
        """A base tree, and the newest lock of its recipe."""
        self.describe("some")
        recipe = self.builder.recipe(self.builder.catalog.image("some")).base
        lock = PackageLock(base=(self.package(f"libc-{version}"),), indexes={})
        self.cache.save_lock(recipe.digest, lock)
        return self._publish("osbase", OSBASE, recipe.digest, lock, {"usr/libc": f"libc {version}"}, "", "")

    def image(
        self, name: str, files: Mapping[str, str], *, base: BuiltImage | None = None, built_at: str = ""
    ) -> BuiltImage:
        """Publish an image by the recipe of its descriptor, which is written if there is none."""
        if not (self.places.etc / f"images/{name}.yml").exists():
            self.describe(name)
        digest = self.builder.recipe(self.builder.catalog.image(name)).digest
        before = self.store.find("image", name, digest)
        lock = PackageLock(
            base=base.manifest.lock.base if base else (), packages=(self.package(f"{name}-package"),), indexes={}
        )
        self.cache.save_lock(digest, lock)
        return self._publish(
            "image", name, digest, lock, files, base.commit if base else "", before.commit if before else "", built_at
        )

    def _publish(
        self,
        kind: str,
        name: str,
        digest: str,
        lock: PackageLock,
        files: Mapping[str, str],
        base: str,
        parent: str,
        built_at: str = "",
    ) -> BuiltImage:
        manifest = Manifest(
            kind=kind,
            name=name,
            digest=digest,
            osbase=OSBASE,
            base=base,
            parent=parent,
            components=(),
            packages=(),
            lock=lock,
            size=sum(map(len, files.values())),
            built_at=built_at or "2026-11-01T12:00:00Z",
        )
        with self.store.build_directory() as work:
            for path, content in files.items():
                (work / "files" / path).parent.mkdir(parents=True, exist_ok=True)
                (work / "files" / path).write_text(content)
            (work / "skip").touch()
            return self.store.publish(manifest, [work / "files"], work / "skip", work)

    def objects(self) -> int:
        return sum(1 for path in (self.places.store / "repo/objects").rglob("*") if path.is_file())

    def trees(self) -> Collection[str]:
        return {path.name for path in (self.places.store / "trees").iterdir()}


@pytest.fixture
def device(tmp_path: Path) -> Device:
    if shutil.which("ostree") is None:
        pytest.skip("ostree is not installed")
    return Device(tmp_path)
