# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is damaged in the store and the package cache, and its repair.

    examine     reads all there is, changes nothing
    repair      examines, removes what is damaged, then makes again what was whole before; nobody builds meanwhile

An object that is damaged must go before the commit that is to replace it: ostree takes an object which is there for
what its name says. A tree that differs from its commit is made again from that; but not under a running app, whose
image is built anew instead, and which keeps its files. A manifest is written again from its commit.

An image whose objects are damaged is built again, of the packages of its lock. Until that has worked, its ref and its
tree stay, marked: most of it may work yet, and nobody gets less than he had. When it can't be built (there may be no
network now), it becomes what it was before its last update; if that is not whole either, it stays as it is, and the
next repair tries again. What is dropped at once: damaged base trees, so that nothing is built on them; damaged former
builds; images without a descriptor, or without a tree or manifest.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from ftos.errors import Busy, FtosError, NotFound, quote
from ftos.host.trees import OPEN_DIRECTORY, OPEN_FILE, directory
from ftos.image.engines import apk_file
from ftos.image.manifest import LockedPackage, Manifest
from ftos.image.objects import Objects
from ftos.image.packages import PackageCache
from ftos.image.store import DAMAGED, BuiltImage, Store, image_of
from ftos.spec.records import Image

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
    """Read all that refs name, and the package cache. Nothing is removed meanwhile."""
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
    with os.fdopen(os.dup(fd), "rb") as file:
        return package is None or apk_file.is_package(file, package)


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


@dataclass(slots=True)
class Repair:
    """What a repair does, or did."""

    damage: Damage
    lines: list[str]
    """The damage in words."""
    rebuilt: list[str]
    """Images that are built again."""
    dropped: list[str]
    """Refs which are removed at once."""
    doubtful: dict[str, str]
    """Refs of damaged images that stay until there is something better → commit."""
    trees: list[str]
    """Commits whose trees are made again."""
    failed: dict[str, FtosError] = field(default_factory=dict)
    """Images that could not be built again → why."""
    returned: list[str] = field(default_factory=list)
    """Those of them which are now what they were before their last updates."""


def repair(builder: ImageBuilder, *, dry_run: bool = False) -> Repair:
    """Find what is damaged and do what can be done about it. Raises Busy while an image is being built."""
    store = builder.store
    with store.nobody_building() as alone:
        if not alone:
            raise Busy("an image is being built", "repair the store when that is done")
        damage = examine(store, builder.cache)
        if dry_run:
            return _plan(builder, damage)
        with store.changing():
            with store.removing():
                plan = _plan(builder, damage)
                _mend(builder, plan)
            store.clean_up()
    for name in plan.rebuilt:
        bad = [ref for ref in (*plan.doubtful, *plan.dropped) if ref.startswith(f"image/{name}/")]
        try:
            built = _build_again(builder, builder.catalog.image(name), bad)
        except FtosError as error:
            plan.failed[name] = error
            if _return_to_former(store, bad):
                plan.returned.append(name)
        else:
            _replace(store, {ref: commit for ref, commit in plan.doubtful.items() if ref in bad}, built.commit)
    return plan


def _build_again(builder: ImageBuilder, image: Image, bad: Collection[str]) -> BuiltImage:
    """The image by its present recipe, built if that is among the refs `bad`, or not there. Raises FtosError."""
    digest = builder.recipe(image).digest
    is_bad = f"image/{image.name}/{digest}" in bad
    return builder.ensure(image, anew=is_bad or builder.holds.get(image.name).holds_other(digest))


def _plan(builder: ImageBuilder, damage: Damage) -> Repair:
    """What must be done. What an app can be launched from stays for the time being."""
    store = builder.store
    refs, running = store.refs(), {*store.in_use()}
    changed = damage.trees.keys() & running
    bad = {ref: commit for ref, commit in refs.items() if ref in damage.refs or commit in changed}
    described = builder.catalog.names("image")
    images = {ref: commit for ref, commit in bad.items() if ref.startswith("image/") and image_of(ref) in described}
    doubtful = {ref: commit for ref, commit in images.items() if store.find(*ref.split("/")) is not None}
    names = {image_of(ref) for ref in images}
    return Repair(
        damage=damage,
        lines=damage.lines(refs),
        rebuilt=[name for name in described if name in names],
        dropped=[ref for ref in bad if ref not in doubtful],
        doubtful=doubtful,
        trees=[commit for commit in damage.trees if commit in refs.values() and commit not in running],
    )


def _mend(builder: ImageBuilder, plan: Repair) -> None:
    """All but what must be built again."""
    for checksum, file in builder.cache.files().items():
        if checksum in plan.damage.packages:
            file.unlink(missing_ok=True)
    for digest in plan.damage.locks:
        builder.cache.forget(digest)
    store = builder.store
    refs = store.refs()
    for ref in (*plan.dropped, *plan.doubtful):
        _keep_lock(builder, ref, refs[ref])
    for ref in plan.dropped:
        _drop(store, ref, refs[ref])
    # What a rebuild makes can't take their places while they are there. The tree of a doubtful image has them still.
    for name, problem in plan.damage.objects.items():
        if problem == "damaged":
            Objects(store.repository).path(name).unlink(missing_ok=True)
    store.mark_damaged(plan.doubtful.values())
    for commit in plan.trees:
        _remake_tree(store, commit)
    for commit in plan.damage.manifests:
        manifest = committed_manifest(store, commit)
        if manifest is not None:
            store.write_manifest(commit, manifest)


def _replace(store: Store, doubtful: Mapping[str, str], built: str) -> None:
    """An image is the commit `built` now: let go what was doubtful of it."""
    with store.changing():
        refs = store.refs()
        for ref, commit in doubtful.items():
            if refs.get(ref) == commit != built:
                _drop(store, ref, commit)
            elif commit == built:  # a remote had the same
                with store.removing():
                    if commit not in store.in_use():
                        _remake_tree(store, commit)
        store.clean_up()


def _return_to_former(store: Store, images: Iterable[str]) -> bool:
    """Let each of the refs `images` name what it was before its last update; whether that is possible for one."""
    done = False
    with store.changing():
        for ref in images:
            _, name, digest = ref.split("/")
            former = store.find("former", name, digest)
            if former is not None and former.commit != store.refs().get(ref):
                store.ostree.set_ref(ref, former.commit)
                store.ostree.delete_ref(f"former/{name}/{digest}")
                done = True
        store.clean_up()
    return done


def _drop(store: Store, ref: str, commit: str) -> None:
    if commit == DAMAGED:  # ostree reads a ref before it deletes it
        (store.repository / "refs/heads" / ref).unlink()
    else:
        store.ostree.delete_ref(ref)


def _remake_tree(store: Store, commit: str) -> None:
    tree = store.tree(commit)
    work = Path(mkdtemp(dir=store.root / "builds"))  # nobody has a lock in it, so the clean-up removes it
    with suppress(FileNotFoundError):
        tree.rename(work / "before")
    try:
        store.check_out(commit, work)
    except BaseException:
        with suppress(FileNotFoundError):
            (work / "before").rename(tree)
        raise


def _keep_lock(builder: ImageBuilder, ref: str, commit: str) -> None:
    """Let the next build of an image take the same packages."""
    if ref.startswith("image/"):
        try:
            manifest: Manifest | None = builder.store.manifest(commit)
        except FtosError:
            manifest = committed_manifest(builder.store, commit)
        if manifest is not None:
            builder.cache.save_lock(ref.rpartition("/")[2], manifest.lock)
