# SPDX-License-Identifier: AGPL-3.0-or-later
"""Packages on their way: the lock (exactly which ones a build takes), and the cache of their files.

    places.cache/packages/<sha256>          a package file; root's own, its content verified against the signed index
    places.cache/locks/<digest>.json        the lock of a base tree or an image, by recipe digest
    places.cache/indexes/<digest>/          signed package indexes, the newest of each, by base recipe digest

With a lock and its files, a build needs no network. Purging an image touches none of this.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

from ftos.errors import NotFound
from ftos.host.files import read_limited, write_atomically
from ftos.host.places import Places
from ftos.host.trees import copy_verified

_LOCK_LIMIT = 16 << 20


class LockedPackage(Struct, frozen=True, kw_only=True):
    """One package file, as the signed index describes it."""

    name: str
    version: str
    architecture: str
    file: str
    """File name under which the package manager knows it."""
    size: int
    sha256: str
    url: str


class PackageLock(Struct, frozen=True, kw_only=True):
    """What one build installs."""

    base: str
    """Digest of the package list of the base tree that it was resolved against; "" for a base tree itself."""
    packages: tuple[LockedPackage, ...]
    indexes: dict[str, str]
    """Name of a signed index → SHA-256 of it."""


class PackageCache:
    """The three directories above. One build at a time writes a lock of one digest; files are written whole."""

    def __init__(self, places: Places) -> None:
        self._packages = places.cache / "packages"
        self._locks = places.cache / "locks"
        self._indexes = places.cache / "indexes"

    def prepare(self) -> None:
        for directory in (self._packages, self._locks, self._indexes):
            directory.mkdir(parents=True, exist_ok=True)

    def lock(self, digest: str, base: str) -> PackageLock | None:
        """The lock of recipe `digest`, if it fits the base tree and every file of it is here."""
        try:
            lock = msgspec.json.decode(read_limited(self._locks / f"{digest}.json", _LOCK_LIMIT), type=PackageLock)
        except (NotFound, msgspec.DecodeError):
            return None
        return lock if lock.base == base and not self.missing(lock.packages) else None

    def save_lock(self, digest: str, lock: PackageLock) -> None:
        write_atomically(self._locks / f"{digest}.json", msgspec.json.format(msgspec.json.encode(lock)) + b"\n")

    def missing(self, packages: Iterable[LockedPackage]) -> list[LockedPackage]:
        return [package for package in packages if not (self._packages / package.sha256).is_file()]

    def add(self, source: int, package: LockedPackage) -> None:
        """Take the file of `package` out of the directory fd `source`. Raises BuildError unless its hash is right."""
        copy_verified(source, package.file, self._packages / package.sha256, package.sha256)

    def lay_out(self, packages: Iterable[LockedPackage], directory: Path) -> None:
        """Give the files of `packages` their names in `directory`, without a copy where that can be."""
        for package in packages:
            source, target = self._packages / package.sha256, directory / package.file
            try:
                os.link(source, target)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                    raise
                shutil.copyfile(source, target)

    def indexes(self, digest: str) -> Path:
        """Directory of the indexes of a base recipe; made when there is none."""
        directory = self._indexes / digest
        directory.mkdir(exist_ok=True)
        return directory
