# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images from another store (`remotes:` in host.yml), instead of a build.

A remote is asked for exactly the recipe which this host has computed. What is made for other hosts, with another GPU or
locale, has another recipe, so it is never taken. Who has the remote's key may decide what is in the image, as a
distributor of packages may; he gets no more than a package would get: what the key has signed is held to the rules of
every image (`ftos.image.tree`) before anything of it is in the store.

A remote that can't be reached, lies, or has nothing is told of in a note, and the next one is asked. None of it is an
error: the image can be built here.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import msgspec

from ftos.errors import BuildError, FtosError, quote
from ftos.host.files import read_limited
from ftos.image import accounts
from ftos.image.holds import Holds
from ftos.image.manifest import LockedPackage, Manifest
from ftos.image.ostree import Ostree
from ftos.image.packages import PackageCache
from ftos.image.progress import Progress
from ftos.image.pull import Pull
from ftos.image.store import MANIFEST_LIMIT, BuiltImage, Store
from ftos.image.tree import EMPTY, MACHINE, MOUNT_POINTS
from ftos.image.workshop import Workshop
from ftos.plan.records import FOREIGN_BASE, ID_COUNT
from ftos.spec.catalog import Catalog
from ftos.spec.records import Image, Remote

_KEY_LIMIT = 1 << 20
_ACCOUNT_FILE_LIMIT = 1 << 20
_ENTRY = re.compile(r"([dl-])0([0-7]{4}) ([0-9]{1,10}) ([0-9]{1,10}) +([0-9]{1,19}) \{ @a\(ayay\) \[\] \} (/.*)")
_TIME = re.compile(r"2[0-9]{3}-[01][0-9]-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9]Z")
_COMMIT = re.compile(r"([0-9a-f]{64})?")
_WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9%+.:_~-]{0,254}")
_URL = re.compile(r"(https?|file)://[!-~]{1,4096}")
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

    def served(self, image: Image, digest: str) -> Manifest | None:
        """What the first remote that has `image`, by the recipe `digest`, has of it; None when none has."""
        for name, remote in self._catalog.host().remotes.items():
            with self._noting(name, image), self._workshop("pull", image.name) as workshop:
                return self._look(workshop, name, remote, image, digest, None)[2]
        return None

    def pull(self, image: Image, digest: str) -> BuiltImage | None:
        """Take `image`, by the recipe `digest`, from the first remote that has it, and publish it.

        None when no remote has it, or only what this host has already, had before, or was told not to take.
        Called by who has the lock of `image`.
        """
        for name, remote in self._catalog.host().remotes.items():
            with self._noting(name, image), self._workshop("pull", image.name) as workshop:
                return self._pull(workshop, name, remote, image, digest)
        return None

    # --- inside ---

    def _pull(self, workshop: Workshop, name: str, remote: Remote, image: Image, digest: str) -> BuiltImage:
        before = self._store.find("image", image.name, digest)
        like = before or self._like(image)
        pull, commit, manifest = self._look(workshop, name, remote, image, digest, like)
        self._refuse_unwanted(manifest, before)
        workshop.stage(f"pull from {name}")
        pull.fetch(manifest.size, before is not None)
        workshop.stage("examine the files")
        taken = Ostree(pull.taken, "what was pulled")
        examine_entries(taken.entries(commit), lambda path: taken.text(commit, path))
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
        commit = pull.look()
        return pull, commit, read_manifest(Ostree(pull.taken, "what was pulled").body(commit), image, digest)

    def _like(self, image: Image) -> BuiltImage | None:
        """Of the images in the store, the one that has most in common with `image`."""
        same = [built for built in self._store.images() if built.manifest.osbase == image.osbase]
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

    @contextmanager
    def _noting(self, name: str, image: Image) -> Iterator[None]:
        """An FtosError becomes a note."""
        try:
            yield
        except FtosError as error:
            # Of a failed container: which it was, and then what it said.
            first, *said = error.message.splitlines()
            why = " ".join(line.strip().removeprefix("error: ") for line in said) or first
            if why.startswith("No such branch"):
                self._progress.note(f"the remote {name} has no {image.name} for this host")
            else:
                self._progress.note(f"{image.name} is not taken from the remote {name}: {why[:_SHOWN]}")


def read_manifest(body: str, image: Image, digest: str) -> Manifest:
    """The manifest of a commit. Raises BuildError unless it is that of `image` and of the recipe `digest`.

    Later builds take what is in its lock, so names and versions have the form which they have in an index.
    """
    if len(body) > MANIFEST_LIMIT:
        raise BuildError(f"what is known of the commit is larger than {MANIFEST_LIMIT} bytes")
    try:
        manifest = msgspec.json.decode(body, type=Manifest)
    except msgspec.DecodeError as error:
        raise BuildError(f"what is known of the commit is damaged: {error}") from error
    wanted = ("image", image.name, digest, image.osbase)
    if (manifest.kind, manifest.name, manifest.digest, manifest.osbase) != wanted:
        raise BuildError(f"the commit is {manifest.kind!r} {quote(manifest.name)}, or of another recipe")
    commits = map(_COMMIT.fullmatch, (manifest.base, manifest.parent))
    packages = map(_is_right, (*manifest.lock.base, *manifest.lock.packages))
    if not (manifest.size >= 0 and _TIME.fullmatch(manifest.built_at) and all(commits) and all(packages)):
        raise BuildError("what is known of the commit has not the form that a build gives it")
    return manifest


def _is_right(package: LockedPackage) -> bool:
    words = (package.name, package.version, package.architecture)
    return all(map(_WORD.fullmatch, words)) and _URL.fullmatch(package.url) is not None


def examine_entries(entries: Sequence[str], content: Callable[[str], str]) -> None:
    """Hold a commit to what `ftos.image.tree` makes sure of. Raises BuildError.

    entries: as `Ostree.entries` has them. content: text of a file at an absolute path.
    """
    found: dict[str, tuple[int, int, int, int]] = {}
    for entry in entries:
        match = _ENTRY.fullmatch(entry)
        if match is None:
            raise BuildError(f"this must not be in an image: {quote(entry)}")
        kind, mode, uid, gid, size, path = match.groups()
        permissions, owner, group = int(mode, 8), int(uid) - FOREIGN_BASE, int(gid) - FOREIGN_BASE
        # Of files and symlinks; programs in a setgid directory get nothing, but no builder leaves one.
        if permissions & 0o6000:
            raise BuildError(f"this must not be in an image: {quote(entry)}")
        if not (0 <= owner < ID_COUNT and 0 <= group < ID_COUNT):
            raise BuildError(f"{quote(path)} in the image belongs to an account of the host")
        type_bits = {"d": stat.S_IFDIR, "l": stat.S_IFLNK, "-": stat.S_IFREG}[kind]
        found[path.partition(" -> ")[0] if kind == "l" else path] = type_bits | permissions, owner, group, int(size)
    for place, (permissions, owner) in MOUNT_POINTS.items():
        if found.get("/" + place, ())[:3] != (stat.S_IFDIR | permissions, owner, owner):
            raise BuildError(f"'/{place}' in the image is not the directory that must be there")
    wrong = [path for path in found if path.rpartition("/")[0][1:] in EMPTY or path[1:] in MACHINE]
    if wrong:
        raise BuildError(f"{quote(wrong[0])} must not be in an image")
    for place in accounts.PATHS:
        file = found.get("/" + place)
        if file is None and place not in accounts.REQUIRED:
            continue
        if file is None or not stat.S_ISREG(file[0]) or file[3] > _ACCOUNT_FILE_LIMIT:
            raise BuildError(f"the image has no /{place} that can be read")
        text = content("/" + place)
        if accounts.complete(place, text) != text:
            raise BuildError(f"the account {accounts.APP_NAME} is missing in the image's /{place}")
