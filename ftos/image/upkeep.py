# SPDX-License-Identifier: AGPL-3.0-or-later
"""Keeps the store small: what nothing names goes, and images that nobody has launched for long.

An image goes with its former build; no data, no lock of a build and no pin. The next launch brings it back with the
same packages, without network as long as the cache has them. What goes by itself is never pinned, nor run by an app.

    collect     builds of images without a descriptor, and by recipes that are not the present one; base trees that
                nothing is built on; then trees, objects, locks, indexes and package files that nothing names
    tidy        images unused for `purge-after` of host.yml; collect; make room
    make room   only while less than `keep-free` of host.yml is free: collect; one image after the other, the longest
                unused first; at last the package files that no image in the store is made of

A recipe changes with its osbase and with this host, not by the owner's hand alone. So the newest build of an image
stays until there is one by the present recipe; of a pinned image, those by all recipes stay. To make room, nothing goes
that was used within the last day, and no image at all when even without them the room would not be there.

Base trees, indexes and package files are left alone while a build is under way, since it may have chosen them already;
so are locks and packages while an image's recipe can't be computed, since one of them may be its.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

from ftos.errors import FtosError
from ftos.host.trees import directory, remove_tree
from ftos.image.holds import CLOCK_IS_WRONG_BEFORE, Holds
from ftos.image.manifest import LockedPackage, Manifest, PackageLock
from ftos.image.packages import PackageCache
from ftos.image.progress import Progress
from ftos.image.recipe import Recipe
from ftos.image.store import Store, base_key, image_of
from ftos.image.usage import disk_usage, free_space, usage
from ftos.spec.catalog import Catalog
from ftos.spec.records import Image, duration_seconds, size_bytes

_DAY = 86400.0


class Images(Protocol):
    """What is looked after; an `ImageBuilder` is one."""

    store: Store
    cache: PackageCache
    holds: Holds
    catalog: Catalog
    progress: Progress

    def recipe(self, image: Image) -> Recipe:
        """What `image` is made of on this host. Raises FtosError."""

    def purge(self, *names: str) -> object:
        """Remove all builds of images; their locks stay."""


@dataclass(slots=True)
class Removed:
    """What went, or would go."""

    images: list[str] = field(default_factory=list)
    """Purged though their recipes are as they were."""
    refs: list[str] = field(default_factory=list)
    files: int = 0
    """How many locks, indexes and package files."""
    freed: int = 0
    """Bytes on the disk."""
    notes: list[str] = field(default_factory=list)
    """What was kept though it might go, and why."""


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the descriptors of images mean on this host."""

    recipes: dict[str, Recipe]
    unknown: dict[str, str]
    """Image whose recipe can't be computed → why."""


class Upkeep:
    """Of the store of `images`. `removed` grows; with `dry_run` it is all that happens."""

    def __init__(self, images: Images, *, dry_run: bool = False) -> None:
        self.removed = Removed()
        self._images = images
        self._store = images.store
        self._dry_run = dry_run
        self._gone: set[str] = set()
        self._gone_files: set[Path] = set()
        """Refs and files that a dry run has not removed."""
        self._freed_files = self._freed_trees = 0

    # --- what happens ---

    def purge(self, names: Iterable[str]) -> None:
        """Images, with their former builds, whether pinned or not; what runs keeps its tree."""
        names = tuple(names)
        self._drop([ref for ref in self._refs() if image_of(ref) in names], lambda _: self._images.purge(*names))
        self.removed.images += names

    def idle(self, seconds: float) -> list[str]:
        """Images that were not launched, nor built for the first time, since `seconds`; the longest unused first.

        Without those that are pinned or run now. Raises FtosError when the clock is not set.
        """
        now = time.time()
        if now < CLOCK_IS_WRONG_BEFORE:
            raise FtosError("the clock is not set, so nobody knows how long an image was not used")
        return [name for used, name in self._purgeable() if used and now - used >= seconds]

    def collect(self, *, former: bool = False) -> None:
        """Remove what nothing names; with `former` also what images were before their last updates."""
        with self._store.nobody_building() as alone:
            refs = self._refs()
            kept = self._kept_images(refs, former)
            manifests = self._manifests(refs[ref] for ref in kept)
            gone = [ref for ref in refs if image_of(ref) is not None and ref not in kept]
            if manifests is None:
                self._note("an image can't be read, so base trees and packages are kept; see `ftos image fsck`")
            elif not alone:
                self._note("an image is being built, so base trees and packages are kept")
            else:
                gone += self._surplus_bases(refs, manifests)
            self._drop(gone, self._store.remove)
            self.removed.refs += gone
            for name, why in self._wanted.unknown.items():
                self._note(f"builds of {name}, and all packages, are kept: {why}")
            if alone and manifests is not None and not self._wanted.unknown:
                self._remove_files(self._surplus_files(manifests))

    def tidy(self) -> None:
        """What a timer does each day."""
        keeping = self._images.catalog.host().images
        if keeping.purge_after is not None:
            try:
                self.purge(self.idle(duration_seconds(keeping.purge_after)))
            except FtosError as error:
                self._note(error.message)
        self.collect()
        self.make_room()

    def make_room(self, spare: Collection[str] = ()) -> None:
        """Cheap when there is room. Images `spare` and their packages stay."""
        keep_free = self._images.catalog.host().images.keep_free
        if keep_free is None or not self._is_short(size_bytes(keep_free)):
            return
        wanted = size_bytes(keep_free)
        self.collect()
        idle = [name for used, name in self._purgeable() if name not in spare and time.time() - used >= _DAY]
        if not self._can_be_free(wanted, idle, spare):
            self._note(f"not even a purge of all idle images would keep {keep_free} free, so none is purged for it")
            return
        for name in idle:
            if self._is_short(wanted):
                self.purge([name])
        if self._is_short(wanted):
            self.collect()
        if self._is_short(wanted):
            self._drop_packages(spare)

    # --- what goes ---

    def _can_be_free(self, wanted: int, idle: Iterable[str], spare: Collection[str]) -> bool:
        """Whether so many bytes are free when all goes that may."""
        trial = Upkeep(self._images, dry_run=True)
        trial.purge({*idle, *self.removed.images})
        trial.collect()
        trial._drop_packages(spare)
        return not trial._is_short(wanted)

    @cached_property
    def _wanted(self) -> _Wanted:
        recipes, unknown = {}, {}
        for name in self._images.catalog.names("image"):
            try:
                recipes[name] = self._images.recipe(self._images.catalog.image(name))
            except FtosError as error:
                unknown[name] = error.message
        return _Wanted(recipes, unknown)

    def _kept_images(self, refs: Mapping[str, str], former: bool) -> set[str]:
        """Refs of images that apps run on or are launched from; unless `former`, of what those were before, too."""
        meant = {ref for name, recipe in self._wanted.recipes.items() for ref in self._meant(refs, name, recipe)}
        in_use = self._store.in_use()
        kept = {
            ref
            for ref, commit in refs.items()
            if ref.startswith("image/") and (ref in meant or image_of(ref) in self._wanted.unknown or commit in in_use)
        }
        before = {ref.replace("image/", "former/", 1) for ref in kept}
        return kept if former else kept | (before & refs.keys())

    def _meant(self, refs: Mapping[str, str], name: str, recipe: Recipe) -> list[str]:
        """Builds of an image with a descriptor that must stay."""
        present = f"image/{name}/{recipe.digest}"
        if self._images.holds.get(name).pinned:
            return [ref for ref in refs if ref.startswith(f"image/{name}/")]
        if self._store.find("image", name, recipe.digest) is None:
            newest = self._store.newest(name)
            return [present] if newest is None else [present, f"image/{name}/{newest.digest}"]
        return [present]

    def _manifests(self, commits: Iterable[str]) -> list[Manifest] | None:
        """None when one can't be read."""
        try:
            return [self._store.manifest(commit) for commit in commits]
        except FtosError:
            return None

    def _surplus_bases(self, refs: Mapping[str, str], manifests: Iterable[Manifest]) -> list[str]:
        """Base trees that no image in the store is built on, and none would be that is built next."""
        commits = {manifest.base for manifest in manifests}
        newest = set()
        for base in {recipe.base.digest: recipe.base for recipe in self._wanted.recipes.values()}.values():
            lock = self._images.cache.lock(base.digest)
            if lock is not None:
                newest.add(f"osbase/{base.name}/{base_key(base.digest, lock.digest)}")
        return [
            ref for ref, commit in refs.items() if image_of(ref) is None and commit not in commits and ref not in newest
        ]

    def _surplus_files(self, manifests: Iterable[Manifest]) -> list[Path]:
        """Locks and indexes of no recipe and no build, package files of no lock."""
        recipes = self._wanted.recipes.values()
        digests = {recipe.digest for recipe in recipes} | {recipe.base.digest for recipe in recipes}
        digests |= {manifest.digest for manifest in manifests} | self._pinned_recipes()
        locks = [lock for digest in digests if (lock := self._images.cache.lock(digest)) is not None]
        locks += [manifest.lock for manifest in manifests]
        return self._images.cache.surplus(digests, _packages(locks))

    def _pinned_recipes(self) -> set[str]:
        """Digests of recipes by which pinned images were built, in the store or not."""
        holds = map(self._images.holds.get, self._wanted.recipes)
        return {hold.recipe for hold in holds if hold.pinned}

    def _drop_packages(self, spare: Collection[str]) -> None:
        """Package files that no image in the store is made of, nor one that is pinned or of `spare` will be."""
        with self._store.nobody_building() as alone:
            manifests = self._manifests(commit for ref, commit in self._refs().items() if image_of(ref) is not None)
            if not alone or manifests is None:
                return
            cache, recipes = self._images.cache, self._wanted.recipes
            digests = {recipes[name].digest for name in spare if name in recipes} | self._pinned_recipes()
            locks = [manifest.lock for manifest in manifests]
            locks += [lock for digest in digests if (lock := cache.lock(digest)) is not None]
            kept = {package.checksum for package in _packages(locks)}
            self._remove_files([file for checksum, file in cache.files().items() if checksum not in kept])

    def _purgeable(self) -> list[tuple[float, str]]:
        """Time of the last use (seconds since 1970, 0 for unknown) and name, of what may go by itself."""
        running = set()
        for commit in self._store.in_use():
            with suppress(FtosError):
                running.add(self._store.manifest(commit).name)
        names = {name for ref in self._refs() if ref.startswith("image/") and (name := image_of(ref)) is not None}
        free = [name for name in names - running if not self._images.holds.get(name).pinned]
        return sorted((self._last_use(name), name) for name in free)

    def _last_use(self, name: str) -> float:
        """Of the last launch; or of the first build, should that be later or the other unknown."""
        builds = [_seconds(manifest.built_at) for _, manifest in self._store.history(name)]
        first = min((built for built in builds if built >= CLOCK_IS_WRONG_BEFORE), default=0.0)
        return max(self._images.holds.last_used(name) or 0.0, first)

    # --- how it goes ---

    def _refs(self) -> dict[str, str]:
        return {ref: commit for ref, commit in self._store.refs().items() if ref not in self._gone}

    def _drop(self, refs: Collection[str], remove: Callable[[Collection[str]], object]) -> None:
        needed = {*(commit for ref, commit in self._refs().items() if ref not in refs), *self._store.in_use()}
        freed = usage(self._store, [tree for tree in self._trees() if tree not in needed]).unique
        if self._dry_run:
            self._gone.update(refs)
            self._freed_trees = freed  # the trees of earlier steps are among them still
        else:
            self._freed_trees += freed
            remove(refs)
        self.removed.freed = self._freed_trees + self._freed_files

    def _trees(self) -> Iterator[str]:
        with suppress(FileNotFoundError):
            yield from (tree.name for tree in (self._store.root / "trees").iterdir())

    def _remove_files(self, files: Collection[Path]) -> None:
        files = [file for file in files if file not in self._gone_files]
        self.removed.files += len(files)
        self._freed_files += sum(map(disk_usage, files))
        self.removed.freed = self._freed_trees + self._freed_files
        if self._dry_run:
            self._gone_files.update(files)
            return
        for file in files:
            with directory(file.parent) as parent:
                remove_tree(parent, file.name)

    def _is_short(self, wanted: int) -> bool:
        return free_space(self._store.root) + (self.removed.freed if self._dry_run else 0) < wanted

    def _note(self, text: str) -> None:
        if text not in self.removed.notes:
            self.removed.notes.append(text)


def make_room(images: Images, image: str) -> None:
    """For who is about to build `image`: let `keep-free` of host.yml be free, as far as it can be. Says what it did.

    Call it before `Store.build_lock`; within, the packages in the cache are left alone. Cheap when there is room.
    """
    upkeep = Upkeep(images)
    upkeep.make_room((image,))
    if upkeep.removed.images:
        images.progress.note(f"space is short: purged {', '.join(upkeep.removed.images)}")


def _packages(locks: Iterable[PackageLock]) -> Iterator[LockedPackage]:
    for lock in locks:
        yield from (*lock.base, *lock.packages)


def _seconds(built_at: str) -> float:
    try:
        return datetime.strptime(built_at, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
