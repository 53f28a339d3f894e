# SPDX-License-Identifier: AGPL-3.0-or-later
"""Builds images: the one who knows the order of things.

    recipe ─▶ in the store? ─▶ done
       │ no
       ▼
    base tree (built the same way, once for all images of an osbase)
       ▼
    lock in the cache? else fetch ─▶ install in a container ─▶ disarm, examine, add ─▶ commit, publish

Whatever fails or dies on the way, the store has what it had before.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

import msgspec

from ftos.errors import BadInput, BuildError, quote
from ftos.host.facts import HostFacts
from ftos.host.files import read_limited
from ftos.host.ids import allocate
from ftos.host.places import Places
from ftos.host.trees import directory
from ftos.image.container import BuildLog, Runner
from ftos.image.engines import Engine, FetchRequest, PackageSource, engine
from ftos.image.packages import PackageCache, PackageLock
from ftos.image.progress import Progress
from ftos.image.recipe import BaseRecipe, Recipe, base_recipe, image_recipe
from ftos.image.store import BuiltImage, InUse, Manifest, Store, now
from ftos.image.tree import Leftovers, disarm, examine, make_additions
from ftos.image.workshop import PACKAGES, Workshop
from ftos.spec.catalog import Catalog
from ftos.spec.records import Image, Link, Osbase

_KEY_LIMIT = 1 << 20
_OWN = "image-"
"""Before the names of an image's own key files, which may be those of the osbase's."""


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
        self._places = places
        self._catalog = catalog
        self._facts = facts
        self._runner = runner
        self._progress = progress
        self._cache = PackageCache(places)
        self.store = Store(places, in_use)

    def recipe(self, image: Image) -> Recipe:
        """What `image` is made of on this host. Raises FtosError when the osbase or a key is missing or unfit."""
        osbase = self._catalog.osbase(image.osbase)
        return image_recipe(image, osbase, self._base_recipe(osbase), self._image_keys(image))

    def find(self, image: Image) -> BuiltImage | None:
        """The image as it is in the store; None when it must be built first."""
        return self.store.find("image", image.name, self.recipe(image).digest)

    def ensure(self, image: Image) -> BuiltImage:
        """The image, built if it is not in the store. Nothing happens when it is.

        Raises BuildError, and other FtosErrors; the store is as it was then.
        """
        recipe = self.recipe(image)
        found = self.store.find("image", image.name, recipe.digest)
        if found is not None:
            return found
        osbase = self._catalog.osbase(image.osbase)
        if osbase.status == "deprecated":
            hint = f"; its successor is {osbase.successor}" if osbase.successor else ""
            self._progress.note(f"the osbase {osbase.name} is deprecated{hint}")
        with self._one_at_a_time(image.name):
            # Another process may have built it while this one waited.
            found = self.store.find("image", image.name, recipe.digest)
            return found or self._build_image(image, osbase, recipe)

    def _ensure_base(self, osbase: Osbase, recipe: BaseRecipe) -> BuiltImage:
        found = self.store.find("osbase", osbase.name, recipe.digest)
        if found is not None:
            return found
        with self._one_at_a_time(osbase.name):
            found = self.store.find("osbase", osbase.name, recipe.digest)
            return found or self._build_base(osbase, recipe)

    def _build_base(self, osbase: Osbase, recipe: BaseRecipe) -> BuiltImage:
        tool = engine(osbase.engine)

        def request() -> FetchRequest:
            return FetchRequest(
                architecture=recipe.architecture,
                sources=self._base_sources(osbase),
                keys=self._base_keys(osbase),
                packages=recipe.packages,
                base_tree=None,
                base="",
                indexes=self._cache.indexes(recipe.digest),
            )

        def install(workshop: Workshop, lock: PackageLock) -> None:
            tool.bootstrap(workshop, lock, recipe.architecture)

        return self._build("osbase", osbase.name, recipe, tool, request, install)

    def _build_image(self, image: Image, osbase: Osbase, recipe: Recipe) -> BuiltImage:
        base = self._ensure_base(osbase, recipe.base)
        base_packages = hashlib.sha256(msgspec.json.encode(base.packages)).hexdigest()
        tool = engine(osbase.engine)

        def request() -> FetchRequest:
            extra = tuple(
                PackageSource(repository.url, repository.suite, repository.components, (_OWN + repository.key,))
                for repository in image.repositories
            )
            own_keys = {_OWN + name: content for name, content in self._image_keys(image).items()}
            return FetchRequest(
                architecture=recipe.base.architecture,
                sources=(*self._base_sources(osbase), *extra),
                keys={**self._base_keys(osbase), **own_keys},
                packages=recipe.packages,
                base_tree=base.tree,
                base=base_packages,
                indexes=self._cache.indexes(recipe.base.digest),
            )

        def install(workshop: Workshop, lock: PackageLock) -> None:
            tool.install(workshop, lock, [base.tree])

        return self._build("image", image.name, recipe, tool, request, install, base, base_packages, recipe.links)

    def _build(
        self,
        kind: str,
        name: str,
        recipe: BaseRecipe | Recipe,
        tool: Engine,
        request: Callable[[], FetchRequest],
        install: Callable[[Workshop, PackageLock], None],
        base: BuiltImage | None = None,
        base_packages: str = "",
        links: Sequence[Link] = (),
    ) -> BuiltImage:
        """`request` is made only when the lock, or a file that it names, is not in the cache."""
        self._cache.prepare()
        log = BuildLog(self._places.cache / "logs" / f"{kind}-{name.replace('/', '-')}.log")
        try:
            with self.store.build_directory() as work:
                id_base = allocate(self._places, "build")
                workshop = Workshop(name, work, id_base, self._runner, log, self._progress)
                lock = self._cache.lock(recipe.digest, base_packages)
                if lock is None:
                    lock = tool.fetch(workshop, self._cache, request())
                    self._cache.save_lock(recipe.digest, lock)
                self._cache.lay_out(lock.packages, workshop.packages)
                install(workshop, lock)
                return self._seal(kind, recipe, tool, workshop, lock, base, links)
        except OSError as error:
            what = f": {quote(error.filename)}" if error.filename else ""
            raise BuildError(f"building {name} failed: {error.strerror}{what}", f"see {quote(log.path)}") from error
        finally:
            log.close()

    def _seal(
        self,
        kind: str,
        recipe: BaseRecipe | Recipe,
        tool: Engine,
        workshop: Workshop,
        lock: PackageLock,
        base: BuiltImage | None,
        links: Sequence[Link],
    ) -> BuiltImage:
        """Commit what the container left, together with what it was laid over."""
        from ftos._native.launch import overlay_view

        workshop.stage("examine the files")
        disarm(workshop.upper, self._progress.note)
        additions = workshop.directory / "additions"
        mount = overlay_view([str(workshop.upper), str(base.tree if base is not None else workshop.empty)])
        try:
            with directory(".", mount) as view:
                contents = examine(view, recipe.post_clean, _with_mount_point(tool.leftovers))
                make_additions(view, additions, links)
                packages = tool.installed(view)
            skip = workshop.directory / "skip"
            skip.write_text("".join(path + "\n" for path in contents.left_out))
            manifest = Manifest(
                name=workshop.name,
                digest=recipe.digest,
                base=base.commit if base is not None else "",
                packages=packages,
                indexes=lock.indexes,
                size=contents.size,
                built_at=now(),
            )
            workshop.stage("commit")
            # With the dot, since ostree opens directories without following a symlink.
            trees = [f"/proc/self/fd/{mount}/.", str(additions)]
            return self.store.publish(kind, manifest, trees, skip, [mount], workshop.directory)
        finally:
            os.close(mount)

    # --- inputs ---

    def _one_at_a_time(self, name: str) -> AbstractContextManager[None]:
        return self.store.build_lock(name, lambda: self._progress.note(f"waiting for another build of {name}"))

    def _base_recipe(self, osbase: Osbase) -> BaseRecipe:
        return base_recipe(osbase, self._facts.architecture, self._base_keys(osbase))

    def _base_keys(self, osbase: Osbase) -> dict[str, bytes]:
        beside = self._catalog.path("osbase", osbase.name).parent / "keys"
        return {name: read_limited(beside / name, _KEY_LIMIT) for name in osbase.keys}

    def _image_keys(self, image: Image) -> dict[str, bytes]:
        if not image.repositories:
            return {}
        beside = self._catalog.path("image", image.name).parent
        return {repository.key: read_limited(beside / repository.key, _KEY_LIMIT) for repository in image.repositories}

    def _base_sources(self, osbase: Osbase) -> tuple[PackageSource, ...]:
        return tuple(
            PackageSource(self._mirror(osbase, source.mirror), source.suite, source.components, osbase.keys)
            for source in osbase.sources
        )

    def _mirror(self, osbase: Osbase, role: str) -> str:
        url = self._facts.mirrors.get(role)
        if url is None:
            raise BadInput(
                f"no mirror is known for {quote(role)}, which {osbase.name} needs",
                f"write its URL into host.yml, as  mirrors: {{{role}: URL}}",
            )
        return url


def _with_mount_point(leftovers: Leftovers) -> Leftovers:
    return Leftovers(files=(*leftovers.files, PACKAGES.strip("/")), logs=leftovers.logs)
