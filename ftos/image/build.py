# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds images: the one who knows the order of things.

    recipe ─▶ in the store? ─▶ done
       │ no
       ▼
    lock of the last build, else: refresh indexes ─▶ resolve base tree and image
       ▼
    download what the cache lacks
       ▼
    base tree (built the same way, once for all images with the same)
       ▼
    install in a container ─▶ settle caches ─▶ disarm, examine, add ─▶ commit, publish

Whatever fails or dies on the way, the store has what it had before.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from msgspec.structs import replace

from ftos.errors import BuildError, FtosError, Unsupported, quote
from ftos.host.facts import HostFacts
from ftos.host.ids import allocate
from ftos.host.places import Places
from ftos.host.trees import directory
from ftos.image.container import BuildLog, Runner
from ftos.image.engines import Engine, Fetcher, engine, installed
from ftos.image.holds import CLOCK_IS_WRONG_BEFORE, Holds
from ftos.image.manifest import Manifest, PackageLock
from ftos.image.packages import PackageCache
from ftos.image.progress import Progress
from ftos.image.recipe import BaseRecipe, Recipe, base_recipe, image_recipe
from ftos.image.remote import Remotes
from ftos.image.settle import settle
from ftos.image.sources import Sources
from ftos.image.store import BuiltImage, InUse, Store, base_key, now
from ftos.image.tree import Leftovers, assemble, disarm, examine, make_additions
from ftos.image.upkeep import make_room
from ftos.image.watchdog import Patience
from ftos.image.workshop import PACKAGES, Workshop
from ftos.spec.catalog import Catalog
from ftos.spec.components import resolve_components
from ftos.spec.records import Image, Link, Osbase


class ImageBuilder:
    """See the module. in_use: commits that running containers have mounted."""

    def __init__(
        self,
        places: Places,
        catalog: Catalog,
        facts: HostFacts,
        runner: Runner,
        progress: Progress,
        *,
        in_use: InUse,
    ) -> None:
        self.places = places
        self.catalog = catalog
        self.progress = progress
        self.cache = PackageCache(places)
        self.holds = Holds(places)
        self.store = Store(places, in_use)
        self.patience = Patience()
        self._facts = facts
        self._runner = runner
        self._sources = Sources(catalog, facts)
        self.remotes = Remotes(catalog, self.store, self.cache, self.holds, progress, self.workshop)

    def recipe(self, image: Image) -> Recipe:
        """What `image` is made of on this host. Raises FtosError when the osbase or a key is missing or unfit."""
        osbase = self.catalog.osbase(image.osbase)
        base = base_recipe(osbase, self._facts.architecture, self._sources.base_keys(osbase))
        return image_recipe(image, osbase, base, self._sources.image_keys(image), self._facts.values())

    def find(self, image: Image) -> BuiltImage | None:
        """The image as it is in the store; None when it must be built first."""
        return self.store.find("image", image.name, self.recipe(image).digest)

    def ensure(self, image: Image, *, anew: bool = False) -> BuiltImage:
        """The image, built if it is not in the store. Nothing happens when it is, unless it is to be built `anew`.

        A build takes the packages of the last build with this recipe, from cache or mirror; else the newest ones.
        Raises BuildError, and other FtosErrors; the store is as it was then.
        """
        recipe = self.recipe(image)
        found = self.store.find("image", image.name, recipe.digest)
        if found is not None and not anew:
            return found
        if self.holds.get(image.name).holds_other(recipe.digest):
            raise BuildError(
                f"{image.name} is pinned, and its descriptor or this host has changed since",
                f"`ftos image unpin {image.name}` lets it be built as it is described now",
            )
        osbase = self.catalog.osbase(image.osbase)
        self.check_status(osbase)
        make_room(self, image.name)
        with self.one_at_a_time(image.name):
            # Another process may have built it while this one waited.
            found = None if anew else self.store.find("image", image.name, recipe.digest)
            if found is None and not self._is_at_hand(osbase, recipe):
                found = self.remotes.pull(image, recipe.digest)
            return found or self.build(image, recipe, self._lock(image, osbase, recipe))

    def ready(self, image: Image) -> BuiltImage:
        """What a launch takes: the image, built if need be.

        Where it is pinned, or can't be built as it is described now, what there is of it: an app that worked goes on
        working. Raises FtosError when there is nothing.
        """
        hold = self.holds.get(image.name)
        pinned = self.store.find("image", image.name, hold.recipe) if hold.pinned and hold.recipe else None
        if pinned is not None:
            return pinned
        try:
            return self.ensure(image)
        except FtosError as error:
            older = self.store.newest(image.name)
            if older is None:
                raise
            self.progress.note(f"{image.name} is launched as it was built at {older.built_at}: {error.message}")
            return older

    def check_status(self, osbase: Osbase) -> None:
        """Raises Unsupported when nothing may be built on `osbase` any more; notes when nothing should be."""
        hint = f"its successor is {osbase.successor}" if osbase.successor else ""
        if osbase.status == "retired":
            raise Unsupported(f"the osbase {osbase.name} is retired: it gets no fixes any more", hint)
        if osbase.status == "deprecated":
            self.progress.note(f"the osbase {osbase.name} is deprecated" + (f"; {hint}" if hint else ""))

    def build(self, image: Image, recipe: Recipe, lock: PackageLock) -> BuiltImage:
        """Build `image` of the packages of `lock`, which are in the cache, and publish it."""
        osbase = self.catalog.osbase(image.osbase)
        base = self._ensure_base(osbase, recipe.base, lock)
        before = self.store.find("image", image.name, recipe.digest)
        tool = engine(osbase.engine)
        with self.workshop("image", image.name) as workshop:
            self.cache.lay_out(lock.packages, workshop.packages)
            tool.install(workshop, lock.packages, [base.tree])
            self._run_commands(workshop, recipe.commands, [base.tree])
            draft = Manifest(
                kind="image",
                name=image.name,
                digest=recipe.digest,
                osbase=osbase.name,
                base=base.commit,
                parent=before.commit if before is not None else "",
                components=resolve_components(image, osbase, self._facts.values()).names,
                packages=(),
                lock=lock,
                size=0,
                built_at=now(),
            )
            return self._seal(draft, recipe.post_clean, tool, workshop, base.tree, recipe.links)

    def purge(self, *names: str) -> list[BuiltImage]:
        """Remove all builds of images. The next build takes the same packages, from the cache where it has them."""
        for image in self.store.images():
            if image.name in names:
                self.cache.save_lock(image.digest, image.manifest.lock)
        return self.store.purge(*names)

    # --- packages ---

    def _lock(self, image: Image, osbase: Osbase, recipe: Recipe) -> PackageLock:
        """What the build takes; all of it is in the cache."""
        lock = self.cache.lock(recipe.digest)
        if lock is not None and self._obtain(image, osbase, recipe, lock):
            return lock
        with self.fetcher(osbase, image, recipe.base) as fetcher:
            indexes = fetcher.refresh()
            base = self.cache.lock(recipe.base.digest)
            if base is not None and self._in_reach(osbase, recipe.base, base):
                self._ensure_base(osbase, recipe.base, base)
            else:
                base = PackageLock(base=fetcher.resolve(recipe.base.packages, b""), indexes=indexes)
                self.cache.save_lock(recipe.base.digest, base)
            packages = fetcher.resolve(recipe.packages, self.database(fetcher, osbase, recipe.base, base))
            lock = PackageLock(base=base.base, packages=packages, indexes=indexes)
            fetcher.download(self.cache, (*lock.base, *lock.packages))
        self.cache.save_lock(recipe.digest, lock)
        return lock

    def _obtain(self, image: Image, osbase: Osbase, recipe: Recipe, lock: PackageLock) -> bool:
        """Whether all packages of `lock` are in the cache now; those which it lacks are downloaded."""
        packages = lock.packages if self._in_reach(osbase, recipe.base, lock) else (*lock.base, *lock.packages)
        if not self.cache.missing(packages):
            return True
        try:
            with self.fetcher(osbase, image, recipe.base) as fetcher:
                fetcher.download(self.cache, packages)
        except BuildError as error:
            if self.holds.get(image.name).pinned:
                raise BuildError(
                    f"{image.name} is pinned, and packages of it can't be had any more: {error.message}",
                    f"`ftos image unpin {image.name}` lets it take the present ones",
                ) from error
            self.progress.note(f"the packages of the last build of {image.name} are gone; newer ones are taken")
            return False
        return True

    def _is_at_hand(self, osbase: Osbase, recipe: Recipe) -> bool:
        """Whether all packages of the last build are in the cache: then a build does not wait for any network."""
        lock = self.cache.lock(recipe.digest)
        return lock is not None and self._in_reach(osbase, recipe.base, lock) and not self.cache.missing(lock.packages)

    def _in_reach(self, osbase: Osbase, recipe: BaseRecipe, lock: PackageLock) -> bool:
        """Whether the base tree of `lock` is in the store, or can be built from the cache."""
        return self._find_base(osbase, recipe, lock) is not None or not self.cache.missing(lock.base)

    def database(self, fetcher: Fetcher, osbase: Osbase, recipe: BaseRecipe, lock: PackageLock) -> bytes:
        """The package database of the base tree of `lock`; if it is not built, what the newest indexes say of it."""
        base = self._find_base(osbase, recipe, lock)
        if base is None:
            return fetcher.database_of(lock.base)
        with directory(base.tree) as tree:
            return engine(osbase.engine).database(tree)

    @contextmanager
    def fetcher(self, osbase: Osbase, image: Image | None, recipe: BaseRecipe) -> Iterator[Fetcher]:
        """Who gets packages for `image`, or for base trees of `osbase`."""
        self.cache.prepare()
        request = self._sources.request(osbase, image, self.cache.indexes(recipe.digest))
        name = image.name if image is not None else osbase.name
        try:
            with self.workshop("fetch", name) as workshop:
                yield engine(osbase.engine).fetcher(workshop, request)
        except BuildError as error:
            if time.time() < CLOCK_IS_WRONG_BEFORE:
                today = datetime.now(UTC).date()
                hint = f"the clock of this device says {today}, so what is signed now seems to be of the future: set it"
                raise BuildError(error.message, hint) from error
            raise

    # --- trees ---

    def _find_base(self, osbase: Osbase, recipe: BaseRecipe, lock: PackageLock) -> BuiltImage | None:
        return self.store.find("osbase", osbase.name, base_key(recipe.digest, _of_base(lock).digest))

    def _ensure_base(self, osbase: Osbase, recipe: BaseRecipe, lock: PackageLock) -> BuiltImage:
        found = self._find_base(osbase, recipe, lock)
        if found is not None:
            return found
        with self.one_at_a_time(osbase.name):
            found = self._find_base(osbase, recipe, lock)
            return found or self._build_base(osbase, recipe, _of_base(lock))

    def _build_base(self, osbase: Osbase, recipe: BaseRecipe, lock: PackageLock) -> BuiltImage:
        tool = engine(osbase.engine)
        with self.workshop("osbase", osbase.name) as workshop:
            self.cache.lay_out(lock.base, workshop.packages)
            tool.bootstrap(workshop, lock.base, recipe.architecture)
            draft = Manifest(
                kind="osbase",
                name=osbase.name,
                digest=recipe.digest,
                osbase=osbase.name,
                base="",
                components=(),
                packages=(),
                lock=lock,
                size=0,
                built_at=now(),
            )
            return self._seal(draft, recipe.post_clean, tool, workshop, workshop.empty, ())

    def _run_commands(self, workshop: Workshop, commands: Sequence[Sequence[str]], layers: Sequence[Path]) -> None:
        """What the os-components want to be done once all is installed."""
        for command in commands:
            workshop.stage("prepare the os-components")
            environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C"}
            workshop.inside(f"command {quote(command[0])}", command, layers, environment)

    @contextmanager
    def workshop(self, kind: str, name: str) -> Iterator[Workshop]:
        """The place of one build, with its log. What the disk refuses meanwhile becomes a BuildError."""
        log = BuildLog(self.places.cache / "logs" / f"{kind}-{name.replace('/', '-')}.log")
        try:
            with self.store.build_directory() as work:
                id_base = allocate(self.places, "build")
                yield Workshop(name, work, id_base, self._runner, log, self.progress, self.patience)
        except OSError as error:
            what = f": {quote(error.filename)}" if error.filename else ""
            raise BuildError(f"building {name} failed: {error.strerror}{what}", f"see {quote(log.path)}") from error
        finally:
            log.close()

    def _seal(
        self,
        draft: Manifest,
        post_clean: Sequence[str],
        tool: Engine,
        workshop: Workshop,
        lower: Path,
        links: Sequence[Link],
    ) -> BuiltImage:
        """Commit what the container left, together with `lower`, what it was laid over."""
        from ftos._native.launch import overlay_view

        settle(workshop, [lower])
        workshop.stage("examine the files")
        disarm(workshop.upper, self.progress.note)
        additions, merged = workshop.directory / "additions", workshop.directory / "merged"
        mount = overlay_view([str(workshop.upper), str(lower)])
        try:
            with directory(".", mount) as view:
                contents = examine(view, post_clean, _with_mount_point(tool.leftovers))
                make_additions(view, additions, links)
                packages = installed(tool, view)
                assemble(view, workshop.upper, lower, merged)
        finally:
            os.close(mount)
        skip = workshop.directory / "skip"
        skip.write_text("".join(path + "\n" for path in contents.left_out))
        manifest = replace(draft, packages=packages, size=contents.size)
        workshop.stage("commit")
        return self.store.publish(manifest, [merged, additions], skip, workshop.directory)

    def one_at_a_time(self, name: str) -> AbstractContextManager[None]:
        return self.store.build_lock(name, lambda: self.progress.note(f"waiting for another build of {name}"))


def _of_base(lock: PackageLock) -> PackageLock:
    return PackageLock(base=lock.base, indexes=lock.indexes)


def _with_mount_point(leftovers: Leftovers) -> Leftovers:
    return Leftovers(files=(*leftovers.files, PACKAGES.strip("/")), logs=leftovers.logs)
