# SPDX-License-Identifier: AGPL-3.0-or-later
"""The store: every image of this device, one copy of every distinct file.

    places.store/                       mode 0700: files below have ids of containers, only root comes near them
      changes                           flock: held by who changes anything but builds/, one at a time
      lock                              flock: shared by who reads, launches above all; also held by who removes
      building                          flock: shared by builds; alone by who removes base trees or packages
      repo/                             ostree repository, mode bare; ids on disk are foreign (2147352576 + id inside)
        refs/heads/image/<name>/<recipe digest>     the image as it is launched
        refs/heads/former/<name>/<recipe digest>    what it was before the last update or rollback
        refs/heads/osbase/<distro>/<release>/<key>  a base tree; never another one under the same key
      manifests/<commit>.json           what is in it: packages, lock, size, time; kept of former commits too
      trees/<commit>/                   its files, hardlinked to those of repo/: what launches mount, read-only
      builds/<random>/                  work of a running build, which holds an flock on builds/<random>/lock
      builds/<name>.lock                flock: one build of one image or osbase at a time

A build is published in this order: objects of the commit, manifest, tree (under a temporary name, then renamed), ref.
The ref is what makes it exist, so that after a crash at any moment there is the old state or the new one, and
leftovers, which the next build removes. Refs are read as the plain files they are, since every launch looks for one;
all else about the repository is done by the ostree command. The manifest is also the body of the commit, so that it
goes with the image to another store.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from ftos.errors import BuildError, FtosError, NotFound, quote
from ftos.host.files import read_limited, write_atomically
from ftos.host.places import Places
from ftos.host.trees import directory, remove_tree
from ftos.image.manifest import InstalledPackage, Manifest
from ftos.image.ostree import Ostree
from ftos.image.settle import date_module_lists

MANIFEST_LIMIT = 16 << 20
HISTORY = 20
"""Manifests that are kept of one image."""
DAMAGED = "damaged"
"""What is read of a ref in which there is no commit. There is no tree and no manifest of this name."""
_COMMIT = re.compile(r"[0-9a-f]{64}")
InUse = Callable[[], Collection[str]]
"""Commits whose trees are mounted in running containers."""


class BuiltImage(Struct, frozen=True, kw_only=True):
    """An image, or a base tree, in the store."""

    commit: str
    tree: Path
    manifest: Manifest

    @property
    def name(self) -> str:
        return self.manifest.name

    @property
    def digest(self) -> str:
        return self.manifest.digest

    @property
    def packages(self) -> tuple[InstalledPackage, ...]:
        return self.manifest.packages

    @property
    def size(self) -> int:
        return self.manifest.size

    @property
    def built_at(self) -> str:
        return self.manifest.built_at


class Store:
    """See the module. Raises FtosError when a file of the store can't be read."""

    def __init__(self, places: Places, in_use: InUse) -> None:
        self.root = places.store
        self.in_use = in_use
        self.repository = self.root / "repo"
        self.ostree = Ostree(self.repository)

    # --- reading ---

    def find(self, kind: str, name: str, digest: str) -> BuiltImage | None:
        """The commit that a ref names; None when there is none, or when it is not whole and must be built again.

        `kind` is `image`, `former` or `osbase`.
        """
        commit = self._read_ref(f"{kind}/{name}/{digest}")
        if commit is None or not self.tree(commit).is_dir():
            return None
        try:
            return self.built(commit)
        except FtosError:
            return None

    def newest(self, name: str) -> BuiltImage | None:
        """The newest whole build of image `name` by whatever recipe; None when there is none."""
        builds = (self.find(*ref.split("/")) for ref in self.refs() if ref.startswith(f"image/{name}/"))
        return max(filter(None, builds), key=lambda image: image.built_at, default=None)

    def images(self) -> list[BuiltImage]:
        """All images as they are launched, by name; of one name, the newest first. What can't be read is left out."""
        found = []
        for ref, commit in self.refs().items():
            if ref.startswith("image/"):
                with suppress(FtosError):
                    found.append(self.built(commit))
        found.sort(key=lambda image: image.built_at, reverse=True)
        return sorted(found, key=lambda image: image.name)

    def refs(self) -> dict[str, str]:
        """All refs → commit, or `DAMAGED`."""
        heads = self.repository / "refs/heads"
        names = sorted(str(file.relative_to(heads)) for file in self._ref_files() if _COMMIT.fullmatch(file.name))
        found = {name: self._read_ref(name) for name in names}
        return {name: commit for name, commit in found.items() if commit is not None}

    def built(self, commit: str) -> BuiltImage:
        """Raises NotFound when nothing is known of `commit`."""
        return BuiltImage(commit=commit, tree=self.tree(commit), manifest=self.manifest(commit))

    def tree(self, commit: str) -> Path:
        """Directory of the files of `commit`."""
        return self.root / "trees" / commit

    def manifest(self, commit: str) -> Manifest:
        """Raises NotFound when there is none, FtosError when it can't be read."""
        path = self._manifest_path(commit)
        try:
            return msgspec.json.decode(read_limited(path, MANIFEST_LIMIT), type=Manifest)
        except msgspec.DecodeError as error:
            raise FtosError(f"{quote(path)} is damaged: {error}", "`ftos image repair` makes it again") from error

    def history(self, name: str) -> list[tuple[str, Manifest]]:
        """Commits of image `name` with their manifests, newest first; their files may be gone."""
        tips = (tip for ref, tip in self.refs().items() if ref.startswith((f"image/{name}/", f"former/{name}/")))
        found: dict[str, Manifest] = {}
        for line in sorted(map(self._line, tips), key=len, reverse=True):
            found.update({commit: manifest for commit, manifest in line.items() if commit not in found})
        return sorted(found.items(), key=lambda item: item[1].built_at, reverse=True)

    @contextmanager
    def reading(self) -> Iterator[None]:
        """While it holds, nothing is removed: for a launch, until its record names its tree. Others may add."""
        self._prepare()
        fd = os.open(self.root / "lock", os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            yield
        finally:
            os.close(fd)

    # --- changing ---

    @contextmanager
    def nobody_building(self) -> Iterator[bool]:
        """Whether nobody has a `build_lock`; if so, nobody gets one while it holds."""
        self._prepare()
        fd = os.open(self.root / "building", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True
        finally:
            os.close(fd)

    @contextmanager
    def build_lock(self, name: str, waiting: Callable[[], None]) -> Iterator[None]:
        """Only one at a time has the lock of `name`; `waiting` is called when somebody else has it.

        While anybody has such a lock, base trees and cached packages stay, whether anything names them yet or not.
        """
        builds = self._prepare()
        fd = os.open(self.root / "building", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_SH)
            with _flock(builds / f"{name.replace('/', '_')}.lock", waiting):
                yield
        finally:
            os.close(fd)

    @contextmanager
    def build_directory(self) -> Iterator[Path]:
        """A new empty directory for one build, removed at the end; leftovers of dead ones are removed first."""
        builds = self._prepare()
        path = builds / secrets.token_hex(8)
        with self.changing():
            if self._remove_dead_builds():
                self.clean_up()
            path.mkdir(mode=0o700)
            lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield path
        finally:
            # The lock goes last: a directory without one is a dead build's, which anybody removes.
            with directory(path) as build:
                for name in set(os.listdir(build)) - {"lock"}:
                    remove_tree(build, name)
            with self.changing():
                _remove(path)
            os.close(lock)

    def publish(self, manifest: Manifest, trees: Sequence[Path], skip: Path, work: Path) -> BuiltImage:
        """Commit the union of `trees`, and let the ref of `manifest` name it; `ref_of` says which that is.

        trees, skip: as `Ostree.commit` has them. work: the directory of the build.
        """
        body = work / "manifest"
        body.write_bytes(_encoded(manifest))
        with self._adding():
            subject = f"{manifest.name} {manifest.built_at}"
            return self.enter(self.ostree.commit(trees, skip, subject, body), manifest, work)

    def receive(self, source: Path, commit: str, manifest: Manifest, work: Path) -> BuiltImage:
        """As `publish`, for `commit` of the repository `source`. Damaged objects are refused."""
        with self._adding():
            self.ostree.pull_local(source, commit)
            return self.enter(commit, manifest, work)

    @contextmanager
    def _adding(self) -> Iterator[None]:
        """`changing`; when it fails, nothing is left behind."""
        with self.changing():
            try:
                yield
            except BaseException:
                with suppress(FtosError, OSError):
                    self.clean_up()
                raise

    def enter(self, commit: str, manifest: Manifest, work: Path) -> BuiltImage:
        """Let the ref of `manifest` name `commit`, whose objects are here. Called while `changing`."""
        ref = ref_of(manifest)
        self.write_manifest(commit, manifest)
        if not self.tree(commit).exists():
            self.check_out(commit, work)
        before = self._read_ref(ref)
        if manifest.kind == "image" and before not in (None, commit, DAMAGED) and not self.is_damaged(str(before)):
            self.ostree.set_ref("former/" + ref.removeprefix("image/"), str(before))
        self.ostree.set_ref(ref, commit)
        return BuiltImage(commit=commit, tree=self.tree(commit), manifest=manifest)

    def check_out(self, commit: str, work: Path) -> None:
        """Make the tree of `commit`, which is not there, by way of the directory `work`. Called while `changing`."""
        self.ostree.check_out(commit, work / "tree")
        date_module_lists(work / "tree")
        (work / "tree").rename(self.tree(commit))
        _sync(self.root / "trees")

    def write_manifest(self, commit: str, manifest: Manifest) -> None:
        """Called while `changing`. Raises BuildError when it could not be read again."""
        write_atomically(self._manifest_path(commit), _encoded(manifest), 0o600)

    def is_damaged(self, commit: str) -> bool:
        """Whether a repair has left it as it was, for want of a better one. It never becomes a former build.

        It is ostree's own mark of a commit that lacks objects.
        """
        return self._mark(commit).exists()

    def mark_damaged(self, commits: Collection[str]) -> None:
        """These and no others. Called while `changing`."""
        for mark in (self.repository / "state").glob("*.commitpartial"):
            mark.unlink()
        for commit in commits:
            self._mark(commit).touch()

    def swap(self, name: str, digest: str) -> BuiltImage:
        """Let an image be what it was before, and the other way round. Raises NotFound when it was nothing before."""
        ref = f"{name}/{digest}"
        with self.changing():
            now, before = self._read_ref(f"image/{ref}"), self.find("former", name, digest)
            if before is None or now is None:
                raise NotFound(f"there is no former build of {name}")
            # In this order: a crash between the two loses the newer one, which is no state that somebody asked for.
            self.ostree.set_ref(f"image/{ref}", before.commit)
            self.ostree.set_ref(f"former/{ref}", now)
        return before

    def remove(self, refs: Iterable[str]) -> None:
        """Remove `refs`, and what nothing names then.

        The tree of a running container stays until a later clean-up. Package cache and data are not touched.
        """
        self._prepare()
        with self.changing():
            known = self.refs()
            for ref in refs:
                if ref in known:
                    self.ostree.delete_ref(ref)
            self.clean_up()

    def purge(self, *names: str) -> list[BuiltImage]:
        """Remove all builds of the images `names`; what was launched of them so far, [] when there was none."""
        images = [image for image in self.images() if image.name in names]
        gone = [ref for ref in self.refs() if image_of(ref) in names]
        if gone:
            self.remove(gone)
        return images

    @contextmanager
    def changing(self) -> Iterator[None]:
        """The lock of who changes the store. The ostree commands of this process keep it too, should we be killed."""
        self._prepare()
        with self._keeping("changes"):
            yield

    @contextmanager
    def removing(self) -> Iterator[None]:
        """While it holds, nobody is `reading`; what runs is in use already. Called while `changing`."""
        with self._keeping("lock"):
            yield

    @contextmanager
    def _keeping(self, name: str) -> Iterator[None]:
        with _flock(self.root / name) as lock:
            self.ostree.locks.append(lock)
            try:
                yield
            finally:
                self.ostree.locks.remove(lock)

    def clean_up(self) -> None:
        """Remove what no ref names and nothing runs on: trees, manifests, objects. Called while `changing`."""
        with self.removing():
            self._clean_up()

    def _clean_up(self) -> None:
        self._remove_dead_builds()
        refs = self.refs()
        kept = {*refs.values(), *self.in_use()}
        for tree in (self.root / "trees").iterdir():
            if tree.name not in kept:
                _remove(tree)
        for ref, commit in refs.items():
            if not ref.startswith("osbase/"):
                kept.update(self._line(commit))
        for manifest in (self.root / "manifests").iterdir():
            if manifest.stem not in kept:
                manifest.unlink()
        # A killed ostree leaves what it has written of a commit, and of a ref, which would be taken for one.
        for leftover in (self.repository / "tmp").iterdir():
            if leftover.name != "cache":
                _remove(leftover)
        for file in self._ref_files():
            if not _COMMIT.fullmatch(file.name):
                file.unlink()
        # Commits first: ostree removes objects in no order, and `fsck` minds a commit without what it names.
        if DAMAGED not in refs.values():
            for file in self.repository.glob("objects/*/*.commit"):
                if file.parent.name + file.stem not in refs.values():
                    file.unlink()
        self.ostree.prune()

    # --- inside ---

    def _prepare(self) -> Path:
        """Make the store if there is none; its directory of builds."""
        builds = self.root / "builds"
        if not (self.repository / "refs").is_dir() or not builds.is_dir():
            self.root.mkdir(parents=True, exist_ok=True)
            self.root.chmod(0o700)
            for name in ("manifests", "trees", "builds"):
                (self.root / name).mkdir(exist_ok=True)
            with _flock(self.root / "lock"):
                self.ostree.initialise()
        return builds

    def _remove_dead_builds(self) -> bool:
        """Whether there were some."""
        dead = [build for build in (self.root / "builds").iterdir() if build.is_dir() and not _is_alive(build)]
        for build in dead:
            _remove(build)
        return bool(dead)

    def _line(self, commit: str) -> dict[str, Manifest]:
        """The manifests of `commit` and those before it, as far as they are here."""
        found: dict[str, Manifest] = {}
        while commit and commit not in found and len(found) < HISTORY:
            try:
                found[commit] = self.manifest(commit)
            except FtosError:
                break
            commit = found[commit].parent
        return found

    def _ref_files(self) -> list[Path]:
        return [file for file in (self.repository / "refs/heads").rglob("*") if file.is_file()]

    def _read_ref(self, ref: str) -> str | None:
        try:
            commit = read_limited(self.repository / "refs/heads" / ref, 65).decode("ascii", "replace").strip()
        except NotFound:
            return None
        except FtosError:
            return DAMAGED
        return commit if _COMMIT.fullmatch(commit) else DAMAGED

    def _mark(self, commit: str) -> Path:
        return self.repository / f"state/{commit}.commitpartial"

    def _manifest_path(self, commit: str) -> Path:
        return self.root / "manifests" / f"{commit}.json"


def _encoded(manifest: Manifest) -> bytes:
    """As JSON. Raises BuildError when it is larger than what is read of one."""
    data = msgspec.json.encode(manifest)
    if len(data) > MANIFEST_LIMIT:
        raise BuildError(f"what is known of {manifest.name} is larger than {MANIFEST_LIMIT} bytes")
    return data


def ref_of(manifest: Manifest) -> str:
    """The ref of an image or of a base tree."""
    if manifest.kind == "image":
        return f"image/{manifest.name}/{manifest.digest}"
    return f"osbase/{manifest.name}/{base_key(manifest.digest, manifest.lock.digest)}"


def image_of(ref: str) -> str | None:
    """The name of the image which a ref belongs to, as it is or as it was; None for a base tree."""
    kind, name, *_ = ref.split("/")
    return name if kind in ("image", "former") else None


def base_key(recipe: str, lock: str) -> str:
    """What decides a base tree: 64 hex digits, made of the digests of recipe and lock."""
    return hashlib.sha256(f"{recipe} {lock}".encode()).hexdigest()


def now() -> str:
    """This moment as `Manifest.built_at` has it."""
    return timestamp(time.time())


def timestamp(seconds: float) -> str:
    """Seconds since 1970 → as `Manifest.built_at` has them."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


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
