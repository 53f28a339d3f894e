# SPDX-License-Identifier: AGPL-3.0-or-later
"""Updates: what newer indexes would change in images that are built, and the change itself.

An image which a remote serves follows the remote. Of the others, those of one osbase are looked at together: its
indexes are fetched once, and the base tree is resolved once, so that they go on sharing it. Nothing is built to find
out what would change; what is found out is what is built. An image that is pinned stays as it is, and so does one whose
newest packages are those that were rolled back.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Literal

from msgspec.structs import replace

from ftos.errors import FtosError, NotFound
from ftos.image.build import ImageBuilder
from ftos.image.engines import Fetcher
from ftos.image.holds import Hold
from ftos.image.manifest import LockedPackage, PackageLock
from ftos.image.recipe import Recipe
from ftos.image.store import BuiltImage
from ftos.image.upkeep import make_room
from ftos.spec.records import Image, Osbase

State = Literal["current", "changed", "pinned", "rolled back", "not built"]


@dataclass(frozen=True, slots=True)
class PackageChange:
    """Of one package. `old` or `new` is None where it was not, or will not be, there."""

    name: str
    old: str | None
    new: str | None


@dataclass(frozen=True, slots=True)
class Update:
    """What newer indexes mean for one image."""

    image: Image
    state: State
    """`changed`: an update changes it; `pinned`, `rolled back`: it would, but the owner said no."""
    changes: tuple[PackageChange, ...]
    recipe: Recipe
    lock: PackageLock
    """What it would be made of."""
    served: bool
    """A remote has it: it is pulled, not built."""


class Updater:
    """Looks for updates of images, and makes them. Use it as a context: indexes are fetched once for all."""

    def __init__(self, builder: ImageBuilder) -> None:
        self._builder = builder
        self._stack = ExitStack()
        self._bases: dict[str, tuple[Fetcher, PackageLock] | FtosError] = {}
        """By digest of the base recipe; or why there are no indexes."""

    def __enter__(self) -> Updater:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def look(self, image: Image) -> Update:
        """Raises FtosError when the indexes can't be had or don't fit."""
        builder = self._builder
        recipe = builder.recipe(image)
        built, hold = builder.store.find("image", image.name, recipe.digest), builder.holds.get(image.name)
        served = builder.remotes.served(image, recipe.digest)
        if served is None:
            lock = self._newest(image, recipe)
        elif built is None or served.built_at > built.built_at:
            lock = served.lock
        else:
            lock = built.manifest.lock
        changes = package_changes(built.manifest.lock, lock) if built is not None else ()
        state = _state(built, builder.cache.lock(recipe.digest), lock, hold)
        return Update(image, state, changes, recipe, lock, served is not None)

    def make(self, update: Update) -> BuiltImage:
        """Build what `look` has found to be changed. Apps that run keep the tree they have.

        Raises FtosError; the image is as it was then.
        """
        builder, image = self._builder, update.image
        osbase = builder.catalog.osbase(image.osbase)
        make_room(builder, image.name)
        with builder.one_at_a_time(image.name):
            pulled = builder.remotes.pull(image, update.recipe.digest) if update.served else None
            if pulled is not None:
                self.remember(update)
                return pulled
            with builder.fetcher(osbase, image, update.recipe.base) as fetcher:
                fetcher.download(builder.cache, (*update.lock.base, *update.lock.packages))
            built = builder.build(image, update.recipe, update.lock)
            self.remember(update)
        return built

    def remember(self, update: Update) -> None:
        """Let later builds take the packages of `update`."""
        cache, lock = self._builder.cache, update.lock
        cache.save_lock(update.recipe.base.digest, PackageLock(base=lock.base, indexes=lock.indexes))
        cache.save_lock(update.recipe.digest, lock)

    def _newest(self, image: Image, recipe: Recipe) -> PackageLock:
        """What the image is made of by the newest indexes."""
        builder, osbase = self._builder, self._builder.catalog.osbase(image.osbase)
        builder.check_status(osbase)
        fetcher, base = self._base(osbase, recipe)
        indexes = base.indexes
        if image.repositories:
            fetcher = self._stack.enter_context(builder.fetcher(osbase, image, recipe.base))
            indexes = fetcher.refresh()
        packages = fetcher.resolve(recipe.packages, builder.database(fetcher, osbase, recipe.base, base))
        return PackageLock(base=base.base, packages=packages, indexes=indexes)

    def _base(self, osbase: Osbase, recipe: Recipe) -> tuple[Fetcher, PackageLock]:
        """Who knows the newest indexes of an osbase, and what its base tree is by them."""
        known = self._bases.get(recipe.base.digest)
        if known is None:
            try:
                fetcher = self._stack.enter_context(self._builder.fetcher(osbase, None, recipe.base))
                indexes = fetcher.refresh()
                known = fetcher, PackageLock(base=fetcher.resolve(recipe.base.packages, b""), indexes=indexes)
            except FtosError as error:
                known = error
            self._bases[recipe.base.digest] = known
        if isinstance(known, FtosError):
            raise known
        return known


def former(builder: ImageBuilder, image: Image) -> tuple[BuiltImage, BuiltImage]:
    """What `image` is, and what it was before its last update or rollback. Raises NotFound."""
    digest = builder.recipe(image).digest
    now, before = (builder.store.find(kind, image.name, digest) for kind in ("image", "former"))
    if now is None or before is None or now.commit == before.commit:
        raise NotFound(
            f"there is no former build of {image.name} to return to", "an update keeps one; see: ftos image history"
        )
    return now, before


def rollback(builder: ImageBuilder, image: Image) -> tuple[BuiltImage, BuiltImage]:
    """Let `image` be what it was before; what it was until now, and what it is.

    No update leads to what was rolled back again. Raises NotFound when the former build is not there.
    """
    with builder.one_at_a_time(image.name):
        before, after = former(builder, image)
        hold = builder.holds.get(image.name)
        rejected = {*hold.rejected, before.manifest.lock.digest} - {after.manifest.lock.digest}
        # Before the swap: an image that is what was rejected does no harm, one that comes back would.
        builder.holds.put(image.name, replace(hold, rejected=tuple(sorted(rejected))))
        builder.store.swap(image.name, before.digest)
        builder.cache.save_lock(before.digest, after.manifest.lock)
        return before, after


def package_changes(old: PackageLock, new: PackageLock) -> tuple[PackageChange, ...]:
    """What differs between two locks, by name of the package."""
    return changes_of(_versions(old.base, old.packages), _versions(new.base, new.packages))


def changes_of(old: dict[str, str], new: dict[str, str]) -> tuple[PackageChange, ...]:
    """What differs between two lists of name → version, by name."""
    names = sorted({*old, *new})
    return tuple(PackageChange(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name))


def _versions(*layers: Iterable[LockedPackage]) -> dict[str, str]:
    """Name of a package → version; an upper layer wins."""
    return {package.name: package.version for layer in layers for package in layer}


def _state(built: BuiltImage | None, last: PackageLock | None, lock: PackageLock, hold: Hold) -> State:
    """`last` is what the next build would take, were there no update; `lock` what the update is."""
    if built is not None and built.manifest.lock.digest == lock.digest:
        return "current"
    if hold.pinned and (built is not None or last is not None or hold.recipe):
        return "pinned"
    if lock.digest in hold.rejected:
        return "rolled back"
    return "not built" if built is None else "changed"
