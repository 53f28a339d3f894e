# SPDX-License-Identifier: AGPL-3.0-or-later
"""Packages on their way: the newest lock of each recipe, and the cache of package files.

    places.cache/packages/<scheme>-<hex>    a package file; root's own, named by the checksum that it was verified with
    places.cache/locks/<digest>.json        what the next build takes: of a base tree or an image, by recipe digest
    places.cache/indexes/<digest>/          signed package indexes, the newest of each, by base recipe digest

With a lock and its files, a build needs no network. Purging an image touches none of this.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import BinaryIO

import msgspec

from ftos.errors import FtosError
from ftos.host.files import read_limited, write_atomically
from ftos.host.places import Places
from ftos.host.trees import copy_verified
from ftos.image.manifest import LockedPackage, PackageLock

_LOCK_LIMIT = 16 << 20


class PackageCache:
    """The three directories above. One build at a time writes a lock of one digest; files are written whole."""

    def __init__(self, places: Places) -> None:
        self._packages = places.cache / "packages"
        self._locks = places.cache / "locks"
        self._indexes = places.cache / "indexes"

    def prepare(self) -> None:
        for directory in (self._packages, self._locks, self._indexes):
            directory.mkdir(parents=True, exist_ok=True)

    def lock(self, digest: str) -> PackageLock | None:
        """The newest lock of recipe `digest`; None when there is none that can be read."""
        try:
            return msgspec.json.decode(read_limited(self._locks / f"{digest}.json", _LOCK_LIMIT), type=PackageLock)
        except (FtosError, msgspec.DecodeError):
            return None

    def save_lock(self, digest: str, lock: PackageLock) -> None:
        self.prepare()
        write_atomically(self._locks / f"{digest}.json", msgspec.json.format(msgspec.json.encode(lock)) + b"\n")

    def missing(self, packages: Iterable[LockedPackage]) -> list[LockedPackage]:
        return [package for package in packages if not self._path(package).is_file()]

    def add(
        self, source: int, package: LockedPackage, read: Callable[[BinaryIO], Iterable[bytes]] | None = None
    ) -> None:
        """Take the file of `package` out of the directory fd `source`.

        Raises BuildError unless its SHA-256 is right. With another checksum, `read` decides, as in `copy_verified`.
        """
        copy_verified(source, package.file, self._path(package), read or package.checksum.removeprefix("sha256:"))

    def lay_out(self, packages: Iterable[LockedPackage], directory: Path) -> None:
        """Give the files of `packages` their names in `directory`, without a copy where that can be."""
        for package in packages:
            source, target = self._path(package), directory / package.file
            try:
                os.link(source, target)
            except OSError as error:
                if error.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
                    raise
                shutil.copyfile(source, target)

    def indexes(self, digest: str) -> Path:
        """Directory of the indexes of a base recipe; made when there is none."""
        directory = self._indexes / digest
        directory.mkdir(parents=True, exist_ok=True)
        return directory

    def locks(self) -> dict[str, PackageLock | None]:
        """Digest of a recipe → its lock; None where that can't be read."""
        return {file.stem: self.lock(file.stem) for file in sorted(self._locks.glob("*.json"))}

    def files(self) -> dict[str, Path]:
        """Checksum of each package in the cache → its file."""
        names = (path.name for path in sorted(self._packages.glob("*-*")) if not path.name.startswith("."))
        return {name.replace("-", ":", 1): self._packages / name for name in names}

    def forget(self, digest: str) -> None:
        """Remove the lock of a recipe, if there is one."""
        (self._locks / f"{digest}.json").unlink(missing_ok=True)

    def surplus(self, digests: Collection[str], packages: Iterable[LockedPackage]) -> list[Path]:
        """Locks and indexes of other recipes, and files of other packages. They may go while nobody builds."""
        kept = {self._path(package).name for package in packages}
        of_locks = {f"{digest}.json" for digest in digests}
        below = (self._locks, of_locks), (self._packages, kept), (self._indexes, digests)
        return [path for directory, names in below for path in sorted(directory.glob("*")) if path.name not in names]

    def _path(self, package: LockedPackage) -> Path:
        return self._packages / package.checksum.replace(":", "-")
