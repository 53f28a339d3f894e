# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images from another store (`remotes:` in host.yml), instead of a build.

A remote is asked for exactly the recipe which this host has computed. What is made for other hosts, with another GPU or
locale, has another recipe, so it is never taken. Who has the remote's key may decide what is in the image, as a
distributor of packages may; he gets no more than a package would get: what the key has signed is held to the rules of
every image (`ftos.image.tree`) before anything of it is in the store.

A remote that can't be reached, lies, or has nothing is told of in a note, and the next one is asked. None of it is an
error: the image can be built here. One that can't be asked is not asked again by the same process.

An old commit stays signed for ever. So it is remembered how new a build was that was taken, also when that is purged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import msgspec
from msgspec.structs import replace

from ftos.errors import BuildError, FtosError, quote
from ftos.host.files import read_limited
from ftos.image.holds import Holds
from ftos.image.manifest import LockedPackage, Manifest
from ftos.image.ostree import Ostree
from ftos.image.packages import PackageCache
from ftos.image.progress import Progress
from ftos.image.pull import Pull
from ftos.image.pulled import examine_commit
from ftos.image.store import MANIFEST_LIMIT, BuiltImage, Store
from ftos.image.workshop import Workshop
from ftos.spec.catalog import Catalog
from ftos.spec.records import Image, Remote

_KEY_LIMIT = 1 << 20
_TIME = re.compile(r"2[0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z")
_COMMIT = re.compile(r"([0-9a-f]{64})?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9%+.:_~-]{0,254}")
_URL = re.compile(r"(https?|file)://[!-~]{1,4096}")
_HAS_NOT = "No such branch"
"""What ostree says when the server's list has not the ref."""
_SHOWN = 300
"""Characters of what a container has said that go into a note."""


class Remotes:
    """Those of host.yml, in its order; it is read when asked. workshop: as `ImageBuilder.workshop`."""

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        cache: PackageCache,
        holds: Holds,
        progress: Progress,
        workshop: Callable[[str, str], AbstractContextManager[Workshop]],
    ) -> None:
        self._catalog = catalog
        self._store = store
        self._cache = cache
        self._holds = holds
        self._progress = progress
        self._workshop = workshop
        self._failed: set[str] = set()
        """Names of those which could not be asked."""

    def served(self, image: Image, digest: str) -> Manifest | None:
        """What the first remote that has `image`, by the recipe `digest`, has of it; None when none has.

        What is older than what was taken before is left out, unless it is what is here, or older than that.
        """
        for name, remote in self._remotes():
            with self._noting(name, image), self._workshop("pull", image.name) as workshop:
                manifest = self._look(workshop, name, remote, image, digest, None)[2]
                self._refuse_older(manifest, self._store.find("image", image.name, digest))
                return manifest
        return None

    def pull(self, image: Image, digest: str) -> BuiltImage | None:
        """Take `image`, by the recipe `digest`, from the first remote that has it, and publish it.

        None when no remote has it, or only what this host has already, had before, or was told not to take.
        Called by who has the lock of `image`.
        """
        for name, remote in self._remotes():
            with self._noting(name, image), self._workshop("pull", image.name) as workshop:
                return self._pull(workshop, name, remote, image, digest)
        return None

    # --- inside ---

    def _remotes(self) -> Iterator[tuple[str, Remote]]:
        for name, remote in self._catalog.host().remotes.items():
            if name not in self._failed:
                yield name, remote

    def _pull(self, workshop: Workshop, name: str, remote: Remote, image: Image, digest: str) -> BuiltImage:
        before = self._store.find("image", image.name, digest)
        if before is not None and self._store.is_damaged(before.commit):
            before = None
        like = before or self._like(image)
        pull, commit, manifest = self._look(workshop, name, remote, image, digest, like)
        self._refuse_unwanted(manifest, before)
        workshop.stage(f"pull from {name}")
        pull.fetch(manifest.size, before is not None)
        workshop.stage("examine the files")
        examine_commit(pull.taken, self._store.repository, commit, manifest.size)
        hold = self._holds.get(image.name)
        self._holds.put(image.name, replace(hold, newest={**hold.newest, digest: manifest.built_at}))
        workshop.stage("take it into the store")
        built = self._store.receive(pull.taken, commit, manifest, workshop.directory)
        self._cache.save_lock(digest, manifest.lock)
        return built

    def _look(
        self, workshop: Workshop, name: str, remote: Remote, image: Image, digest: str, like: BuiltImage | None
    ) -> tuple[Pull, str, Manifest]:
        """Raises FtosError unless the remote has the image, signed by its key."""
        workshop.stage(f"look at {name}")
        key = read_limited(self._catalog.places.etc / remote.key, _KEY_LIMIT)
        ref = f"image/{image.name}/{digest}"
        here = like.commit if like is not None else None
        pull = Pull(workshop, remote.url, key, ref, self._store.repository, here)
        try:
            commit = pull.look()
        except FtosError as error:
            if _HAS_NOT not in error.message:
                self._failed.add(name)
            raise
        return pull, commit, read_manifest(Ostree(pull.taken, "what was pulled").body(commit), image, digest)

    def _like(self, image: Image) -> BuiltImage | None:
        """Of the images in the store, the one that has most in common with `image`."""
        whole = [built for built in self._store.images() if not self._store.is_damaged(built.commit)]
        same = [built for built in whole if built.manifest.osbase == image.osbase]
        return max(same, key=lambda built: (built.name == image.name, built.built_at), default=None)

    def _refuse_unwanted(self, manifest: Manifest, before: BuiltImage | None) -> None:
        """Raises BuildError for what was rolled back, for other packages when pinned, and for what is not newer."""
        hold = self._holds.get(manifest.name)
        if manifest.lock.digest in hold.rejected:
            raise BuildError(f"what it has of {manifest.name} was rolled back here")
        known = self._cache.lock(manifest.digest)
        if hold.pinned and known is not None and known.digest != manifest.lock.digest:
            raise BuildError(f"{manifest.name} is pinned to other packages than it has")
        if before is not None and manifest.built_at <= before.built_at:
            raise BuildError(f"what it has of {manifest.name}, of {manifest.built_at}, is not newer than what is here")
        self._refuse_older(manifest, before)

    def _refuse_older(self, manifest: Manifest, before: BuiltImage | None) -> None:
        """Raises BuildError for what is newer than what is here, but older than what was taken from a remote once."""
        newest = self._holds.get(manifest.name).newest.get(manifest.digest, "")
        if (before.built_at if before is not None else "") < manifest.built_at < newest:
            raise BuildError(f"what it has of {manifest.name} is older than what was taken before, of {newest}")

    @contextmanager
    def _noting(self, name: str, image: Image) -> Iterator[None]:
        """An FtosError becomes a note."""
        try:
            yield
        except FtosError as error:
            # Of a failed container: which it was, and then what it said.
            first, *said = error.message.splitlines()
            why = " ".join(line.strip().removeprefix("error: ") for line in said) or first
            if why.startswith(_HAS_NOT):
                self._progress.note(f"the remote {name} has no {image.name} for this host")
            else:
                self._progress.note(f"{image.name} is not taken from the remote {name}: {why[:_SHOWN]}")


def read_manifest(body: str, image: Image, digest: str) -> Manifest:
    """The manifest of a commit. Raises BuildError unless it is that of `image` and of the recipe `digest`.

    Later builds take what is in its lock, so names and versions have the form which they have in an index.
    """
    if len(body.encode()) > MANIFEST_LIMIT:
        raise BuildError(f"what is known of the commit is larger than {MANIFEST_LIMIT} bytes")
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BuildError(f"what is known of the commit is damaged: {error}") from error
    wanted = ("image", image.name, digest, image.osbase)
    if (manifest.kind, manifest.name, manifest.digest, manifest.osbase) != wanted:
        raise BuildError(f"the commit is {manifest.kind!r} {quote(manifest.name)}, or of another recipe")
    lock = (*manifest.lock.base, *manifest.lock.packages)
    commits = map(_COMMIT.fullmatch, (manifest.base, manifest.parent))
    is_right = all(map(_is_right, lock)) and len({package.file for package in lock}) == len(lock)
    if not (manifest.size >= 0 and _TIME.fullmatch(manifest.built_at) and all(commits) and is_right):
        raise BuildError("what is known of the commit has not the form that a build gives it")
    return manifest


def _is_right(package: LockedPackage) -> bool:
    words = (package.name, package.version, package.architecture)
    return all(map(_WORD.fullmatch, words)) and _URL.fullmatch(package.url) is not None
