# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store: every image of this device, one copy of every distinct file.

    places.store/                       mode 0700: files below have ids of containers, only root comes near them
      lock                              flock: held by who changes refs or removes anything
      repo/                             ostree repository, mode bare; ids on disk are foreign (2147352576 + id inside)
        refs/heads/image/<name>/<recipe digest>
        refs/heads/osbase/<distro>/<release>/<recipe digest>
      manifests/<commit>.json           what is in it: packages, indexes, size, time
      trees/<commit>/                   its files, hardlinked to those of repo/: what launches mount, read-only
      builds/<random>/                  work of a running build, which holds an flock on builds/<random>/lock
      builds/<name>.lock                flock: one build of one image or osbase at a time

A build is published in this order: objects of the commit, manifest, tree (under a temporary name, then renamed), ref.
The ref is what makes it exist, so that after a crash at any moment there is the old state or the new one, and
leftovers, which the next build removes. Refs are read as the plain files they are, since every launch looks for one;
all else about the repository is done by the ostree command.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from ftos.errors import FtosError, NotFound, quote
from ftos.host.files import read_limited, write_atomically
from ftos.host.places import Places
from ftos.host.trees import directory, remove_tree
from ftos.image.ostree import Ostree

_MANIFEST_LIMIT = 16 << 20
InUse = Callable[[], Collection[str]]
"""Commits whose trees are mounted in running containers."""


class InstalledPackage(Struct, frozen=True, kw_only=True):
    name: str
    version: str
    architecture: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What is known of one commit."""

    name: str
    """Of the image or osbase."""
    digest: str
    """Of the recipe."""
    base: str
    """Commit of the base tree; "" for a base tree."""
    packages: tuple[InstalledPackage, ...]
    """All that is installed, those of the base tree included; by name."""
    indexes: dict[str, str]
    """Name of a signed package index → SHA-256 of it."""
    size: int
    """Bytes of all files, each counted once. Trees share equal files, so the disk may hold less."""
    built_at: str
    """UTC, as 2026-01-31T12:00:00Z."""


class BuiltImage(Struct, frozen=True, kw_only=True):
    """An image in the store."""

    name: str
    digest: str
    commit: str
    tree: Path
    packages: tuple[InstalledPackage, ...]
    size: int
    built_at: str


class Store:
    """See the module. Raises FtosError when a file of the store can't be read."""

    def __init__(self, places: Places, in_use: InUse) -> None:
        self._root = places.store
        self._in_use = in_use
        self._repository = self._root / "repo"
        self._ostree = Ostree(self._repository)

    # --- reading ---

    def find(self, kind: str, name: str, digest: str) -> BuiltImage | None:
        """The newest commit of a recipe, or None. `kind` is `image` or `osbase`."""
        commit = self._read_ref(f"{kind}/{name}/{digest}")
        return self._built(commit) if commit is not None and (self._root / "trees" / commit).is_dir() else None

    def images(self) -> list[BuiltImage]:
        """All images, by name; of one name, the newest first."""
        found = [self._built(commit) for ref, commit in self._refs().items() if ref.startswith("image/")]
        found.sort(key=lambda image: image.built_at, reverse=True)
        return sorted(found, key=lambda image: image.name)

    def tree(self, commit: str) -> Path:
        """Directory of the files of `commit`. Raises NotFound when the store has no such commit any more."""
        path = self._root / "trees" / commit
        if not path.is_dir():
            raise NotFound(f"the store has no tree {quote(commit)}", "the image was purged or never built")
        return path

    def manifest(self, commit: str) -> Manifest:
        path = self._root / "manifests" / f"{commit}.json"
        try:
            return msgspec.json.decode(read_limited(path, _MANIFEST_LIMIT), type=Manifest)
        except msgspec.DecodeError as error:
            raise FtosError(f"{quote(path)} is damaged: {error}", "purge the image; it is built again") from error

    def check(self) -> None:
        """Raises FtosError when an object of the repository is damaged or missing."""
        self._ostree.check()

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While it holds, the store does not change: for a launch, until its record names its tree."""
        self._prepare()
        fd = os.open(self._root / "lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    # --- changing ---

    @contextmanager
    def build_lock(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Only one at a time has the lock of `name`; `waiting` is called when somebody else has it."""
        builds = self._prepare()
        with _flock(builds / f"{name.replace('/', '_')}.lock", waiting):
            yield

    @contextmanager
    def build_directory(self) -> Iterator[Path]:
        """A new empty directory for one build, removed at the end; leftovers of dead ones are removed first."""
        builds = self._prepare()
        path = builds / secrets.token_hex(8)
        with self._locked():
            self._clean_up()
            path.mkdir(mode=0o700)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            _remove(path)
            os.close(lock)

    def publish(
        self, kind: str, manifest: Manifest, trees: Sequence[str], skip: Path, keep_fds: Sequence[int], work: Path
    ) -> BuiltImage:
        """Make the union of `trees` the newest commit of the branch of `manifest`'s recipe.

        trees, skip, keep_fds: as `Ostree.commit` has them. work: the directory of the build.
        """
        ref = f"{kind}/{manifest.name}/{manifest.digest}"
        with self._locked():
            commit = self._ostree.commit(trees, skip, f"{manifest.name} {manifest.built_at}", keep_fds)
            write_atomically(self._root / "manifests" / f"{commit}.json", msgspec.json.encode(manifest), 0o600)
            tree = self._root / "trees" / commit
            if not tree.exists():
                self._ostree.check_out(commit, work / "tree")
                (work / "tree").rename(tree)
                _sync(tree.parent)
            self._ostree.set_ref(ref, commit)
            return self._built(commit)

    def purge(self, name: str) -> list[str]:
        """Remove all of image `name` from the store; the commits that were removed, [] when there was none.

        The tree of a running container stays until a later clean-up. Base trees, package cache and data are not
        touched.
        """
        self._prepare()
        with self._locked():
            gone = {ref: commit for ref, commit in self._refs().items() if ref.startswith(f"image/{name}/")}
            for ref in gone:
                self._ostree.delete_ref(ref)
            if gone:
                self._clean_up()
        return list(gone.values())

    # --- inside ---

    def _prepare(self) -> Path:
        """Make the store if there is none; its directory of builds."""
        builds = self._root / "builds"
        if not (self._repository / "refs").is_dir() or not builds.is_dir():
            self._root.mkdir(parents=True, exist_ok=True)
            self._root.chmod(0o700)
            for name in ("manifests", "trees", "builds"):
                (self._root / name).mkdir(exist_ok=True)
            with self._locked():
                self._ostree.initialise()
        return builds

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with _flock(self._root / "lock") as lock:
            self._ostree.lock = lock
            try:
                yield
            finally:
                self._ostree.lock = None

    def _clean_up(self) -> None:
        """Remove what dead builds and removed refs left. The lock is held."""
        for build in (self._root / "builds").iterdir():
            if build.is_dir() and not _is_alive(build):
                _remove(build)
        kept = {*self._refs().values(), *self._in_use()}
        for tree in (self._root / "trees").iterdir():
            if tree.name not in kept:
                _remove(tree)
        for manifest in (self._root / "manifests").iterdir():
            if manifest.stem not in kept:
                manifest.unlink()
        self._ostree.prune()

    def _refs(self) -> dict[str, str]:
        """All branches → commit."""
        heads = self._repository / "refs/heads"
        names = (str(file.relative_to(heads)) for file in heads.rglob("*") if file.is_file())
        found = {name: self._read_ref(name) for name in sorted(names)}
        return {name: commit for name, commit in found.items() if commit is not None}

    def _read_ref(self, ref: str) -> str | None:
        try:
            return read_limited(self._repository / "refs/heads" / ref, 65).decode("ascii").strip()
        except NotFound:
            return None

    def _built(self, commit: str) -> BuiltImage:
        manifest = self.manifest(commit)
        return BuiltImage(
            name=manifest.name,
            digest=manifest.digest,
            commit=commit,
            tree=self._root / "trees" / commit,
            packages=manifest.packages,
            size=manifest.size,
            built_at=manifest.built_at,
        )


def now() -> str:
    """This moment as `Manifest.built_at` has it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@contextmanager
def _flock(path: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield fd
    finally:
        os.close(fd)


def _is_alive(build: Path) -> bool:
    try:
        fd = os.open(build / "lock", os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _remove(path: Path) -> None:
    with directory(path.parent) as parent:
        remove_tree(parent, path.name)


def _sync(path: Path) -> None:
    with directory(path) as fd:
        os.fsync(fd)
