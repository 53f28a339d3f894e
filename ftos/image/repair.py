# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is damaged in the store and the package cache, and its repair.

    examine     reads all there is, changes nothing
    repair      removes exactly what is damaged, then makes again what was whole before

An object that is damaged must go before the commit that is to replace it: ostree takes an object which is there for
what its name says. A tree that differs from its commit is made again from that; but not under a running app, whose
image is built anew instead, and which keeps its files. An image whose objects are damaged is built from its lock. A
former build is not: what an update has replaced is dropped. A manifest is written again from its commit.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from ftos.errors import FtosError, NotFound, quote
from ftos.host.trees import OPEN_DIRECTORY, OPEN_FILE, directory
from ftos.image.engines import apk_file
from ftos.image.manifest import LockedPackage, Manifest
from ftos.image.objects import Objects
from ftos.image.packages import PackageCache
from ftos.image.store import DAMAGED, Store, image_of

if TYPE_CHECKING:
    from ftos.image.build import ImageBuilder

_TOLD = 10
"""Differences that are told of one tree."""
_DEEPEST = 256
"""Levels of directories; a build makes no more than half of it."""


@dataclass(slots=True)
class Damage:
    """What `examine` found."""

    refs: dict[str, str] = field(default_factory=dict)
    """Ref which names no readable commit, or one that lacks an object → why. Such an image must be built again."""
    objects: dict[str, str] = field(default_factory=dict)
    """CHECKSUM.TYPE → `missing` or `damaged`."""
    trees: dict[str, list[str]] = field(default_factory=dict)
    """Commit, sound by itself → how its tree differs from it."""
    manifests: dict[str, str] = field(default_factory=dict)
    """Commit, sound by itself → what is wrong with its manifest; it can be made from the commit."""
    packages: list[str] = field(default_factory=list)
    """Checksums of package files in the cache which have not the content that they should have."""
    locks: list[str] = field(default_factory=list)
    """Digests of recipes whose locks can't be read."""

    def __bool__(self) -> bool:
        return bool(self.refs or self.trees or self.manifests or self.packages or self.locks)

    def lines(self, refs: Mapping[str, str]) -> list[str]:
        """In words, a line each. refs: those of the store."""
        names: dict[str, str] = {commit: ref for ref, commit in refs.items()}
        lines = [f"{ref}: {problem}" for ref, problem in self.refs.items()]
        lines += [f"object {name} is {problem}" for name, problem in self.objects.items()]
        for commit, differences in self.trees.items():
            lines += [f"tree of {names.get(commit, commit)}: {difference}" for difference in differences]
        lines += [f"manifest of {names.get(commit, commit)} {problem}" for commit, problem in self.manifests.items()]
        lines += [f"package file {checksum} in the cache is damaged" for checksum in self.packages]
        return lines + [f"lock {digest} in the cache can't be read" for digest in self.locks]


def examine(store: Store, cache: PackageCache) -> Damage:
    """Read all that refs name, and the package cache. The store does not change meanwhile."""
    damage = Damage()
    with store.reading():
        refs = store.refs()
        objects = Objects(store.repository)
        for commit in sorted({*refs.values()}):
            problem = _examine_commit(store, objects, commit, damage)
            if problem is not None:
                damage.refs.update({ref: problem for ref, named in refs.items() if named == commit})
        damage.objects = objects.damage
    _examine_cache(store, cache, damage)
    return damage


def _examine_commit(store: Store, objects: Objects, commit: str, damage: Damage) -> str | None:
    """Why the commit must be made again, if so; lesser damage goes to `damage`."""
    if commit == DAMAGED:
        return "it names no commit"
    root = objects.root(commit)
    if root is None:
        return f"its commit is {objects.damage[f'{commit}.commit']}"
    comparison = _Comparison(objects)
    try:
        with directory(store.tree(commit)) as tree:
            comparison.compare(tree, *root)
    except (FileNotFoundError, NotADirectoryError):
        comparison.compare(None, *root)
        comparison.differ("", "is missing")
    if comparison.lacking:
        return f"it has {len(comparison.lacking)} objects that are damaged or missing"
    manifest = committed_manifest(store, commit)
    if manifest is None:
        return "its commit has no manifest of this version"
    problem = _manifest_problem(store, commit, manifest)
    if problem is not None:
        damage.manifests[commit] = problem
    if comparison.differences:
        damage.trees[commit] = comparison.differences
    return None


def committed_manifest(store: Store, commit: str) -> Manifest | None:
    """The manifest that is in the commit itself; None when it can't be read."""
    try:
        return msgspec.json.decode(store.ostree.body(commit), type=Manifest)
    except (FtosError, msgspec.DecodeError):
        return None


def _manifest_problem(store: Store, commit: str, committed: Manifest) -> str | None:
    try:
        manifest = store.manifest(commit)
    except NotFound:
        return "is missing"
    except FtosError:
        return "can't be read"
    # What it was before is another commit in every store.
    return None if replace(manifest, parent="") == replace(committed, parent="") else "is not that of the commit"


def _examine_cache(store: Store, cache: PackageCache, damage: Damage) -> None:
    locks = cache.locks()
    damage.locks = [digest for digest, lock in locks.items() if lock is None]
    known: dict[str, LockedPackage] = {}
    for lock in (*locks.values(), *(image.manifest.lock for image in store.images())):
        if lock is not None:
            known |= {package.checksum: package for package in (*lock.base, *lock.packages)}
    for checksum, path in cache.files().items():
        try:
            fd = os.open(path, OPEN_FILE)
        except FileNotFoundError:
            continue
        try:
            if not _is_right(fd, checksum, known.get(checksum)):
                damage.packages.append(checksum)
        finally:
            os.close(fd)


def _is_right(fd: int, checksum: str, package: LockedPackage | None) -> bool:
    """Whether the package file has the content that its name promises. What no lock knows may be beyond telling."""
    scheme, _, value = checksum.partition(":")
    if scheme == "sha256":
        with os.fdopen(os.dup(fd), "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == value
    return package is None or apk_file.is_package(fd, package)


class _Comparison:
    """Of a commit with its tree."""

    def __init__(self, objects: Objects) -> None:
        self.lacking: set[str] = set()
        """Objects, as CHECKSUM.TYPE."""
        self.differences: list[str] = []
        self._objects = objects

    def compare(self, tree: int | None, dirtree: str, dirmeta: str, path: str = "", depth: int = 0) -> None:
        """One directory and all below. tree: its fd; None where it is not there, and only the objects are read."""
        owner = self._objects.owner_and_mode(dirmeta)
        listing = self._objects.listing(dirtree) if depth <= _DEEPEST else None
        if owner is None:
            self.lacking.add(f"{dirmeta}.dirmeta")
        elif tree is not None and _owner_and_mode(os.fstat(tree)) != owner:
            self.differ(path, "has another owner or other permissions")
        if listing is None:
            self.lacking.add(f"{dirtree}.dirtree")
            return
        if tree is not None:
            if any(name != "security.selinux" for name in os.listxattr(tree)):
                self.differ(path, "has extended attributes")
            for name in sorted({*os.listdir(tree)} - listing.files.keys() - listing.directories.keys()):
                self.differ(f"{path}/{name}", "does not belong there")
        for name, checksum in listing.files.items():
            expected = self._objects.file(checksum)
            if expected is None:
                self.lacking.add(f"{checksum}.file")
            elif tree is not None:
                self._compare_file(tree, name, expected, self._objects.path(f"{checksum}.file"), path)
        for name, below in listing.directories.items():
            try:
                fd = os.open(name, OPEN_DIRECTORY, dir_fd=tree) if tree is not None else None
            except OSError:
                self.differ(f"{path}/{name}", "is missing, or no directory")
                fd = None
            try:
                self.compare(fd, *below, f"{path}/{name}", depth + 1)
            finally:
                if fd is not None:
                    os.close(fd)

    def differ(self, path: str, how: str) -> None:
        if len(self.differences) < _TOLD:
            self.differences.append(f"{quote(path or '/')} {how}")

    def _compare_file(self, tree: int, name: str, expected: os.stat_result, source: Path, path: str) -> None:
        try:
            found = os.stat(name, dir_fd=tree, follow_symlinks=False)
        except FileNotFoundError:
            self.differ(f"{path}/{name}", "is missing")
            return
        if (found.st_ino, found.st_dev) == (expected.st_ino, expected.st_dev):
            return
        # A checkout makes symlinks and empty files anew.
        equal = _owner_and_mode(found) == _owner_and_mode(expected) and found.st_size == expected.st_size
        if stat.S_ISLNK(expected.st_mode):
            equal = equal and os.readlink(name, dir_fd=tree) == os.readlink(source)
        elif expected.st_size:
            equal = False
        if not equal:
            self.differ(f"{path}/{name}", "is another file")


def _owner_and_mode(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_uid, status.st_gid, status.st_mode


# --- repair ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Repair:
    """What a repair does."""

    rebuilt: tuple[str, ...]
    """Images that are built again."""
    dropped: tuple[str, ...]
    """Refs which are removed; those of images that are built again are among them."""
    trees: tuple[str, ...]
    """Commits whose trees are made again."""
    damage: Damage


def plan_repair(builder: ImageBuilder, damage: Damage) -> Repair:
    """What must be done about `damage`."""
    store = builder.store
    running = set(store.in_use())
    dropped = {*damage.refs, *(ref for ref, commit in store.refs().items() if commit in damage.trees.keys() & running)}
    described = builder.catalog.names("image")
    broken = {image_of(ref) for ref in dropped if ref.startswith("image/")}
    return Repair(
        rebuilt=tuple(name for name in described if name in broken),
        dropped=tuple(sorted(dropped)),
        trees=tuple(commit for commit in damage.trees if commit not in running),
        damage=damage,
    )


def repair(builder: ImageBuilder, plan: Repair) -> dict[str, FtosError]:
    """Do it; images that could not be built again, and why. A later build may succeed."""
    for checksum, file in builder.cache.files().items():
        if checksum in plan.damage.packages:
            file.unlink(missing_ok=True)
    for digest in plan.damage.locks:
        builder.cache.forget(digest)
    store = builder.store
    with store.changing():
        refs = store.refs()
        for ref in plan.dropped:
            if ref in refs:
                _keep_lock(builder, ref, refs[ref])
                if refs[ref] == DAMAGED:  # ostree reads a ref before it deletes it
                    (store.repository / "refs/heads" / ref).unlink()
                else:
                    store.ostree.delete_ref(ref)
        for name, problem in plan.damage.objects.items():
            if problem == "damaged":
                Objects(store.repository).path(name).unlink(missing_ok=True)
        work = Path(mkdtemp(dir=store.root / "builds"))  # nobody has a lock in it, so the clean-up removes it
        for commit in plan.trees:
            with suppress(FileNotFoundError):
                store.tree(commit).rename(work / commit)
            store.check_out(commit, work)
        for commit in plan.damage.manifests:
            manifest = committed_manifest(store, commit)
            if manifest is not None:
                store.write_manifest(commit, manifest)
        for mark in (store.repository / "state").glob("*.commitpartial"):
            mark.unlink()  # of `ostree fsck`, which would never look at these commits again
        store.clean_up()
    return _rebuild(builder, plan.rebuilt)


def _keep_lock(builder: ImageBuilder, ref: str, commit: str) -> None:
    """Let the next build of an image take the same packages."""
    if ref.startswith("image/"):
        try:
            manifest: Manifest | None = builder.store.manifest(commit)
        except FtosError:
            manifest = committed_manifest(builder.store, commit)
        if manifest is not None:
            builder.cache.save_lock(ref.rpartition("/")[2], manifest.lock)


def _rebuild(builder: ImageBuilder, names: Iterable[str]) -> dict[str, FtosError]:
    failed = {}
    for name in names:
        try:
            builder.ensure(builder.catalog.image(name))
        except FtosError as error:
            failed[name] = error
    return failed
