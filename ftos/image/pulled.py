# SPDX-License-Identifier: AGPL-3.0-or-later
"""What was pulled is held to the rules of every image (`ftos.image.tree`) before anything of it is in the store.

In: the repository with what came (mode bare-user: owner and mode of a file are in an attribute, symlinks are files),
and the store, which has what did not come. Each object is compared with its checksum before anything is made of it;
after `examine_commit` that holds for all that a checkout needs. The same directory may be in many places at little
cost to the sender, so the walk counts what it passes, and stops.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from ftos.errors import BuildError, FtosError, quote
from ftos.host.files import read_limited
from ftos.host.trees import OPEN_FILE
from ftos.image import accounts
from ftos.image.objects import DirectoryListing, Objects, content_checksum, header
from ftos.image.tree import ACCOUNT_FILE_LIMIT, DEEPEST, EMPTY, MACHINE, MOUNT_POINTS
from ftos.plan.records import FOREIGN_BASE, ID_COUNT

MOST_ENTRIES = 1 << 19
"""Files and directories of an image that is pulled."""
SLACK = 64 << 20
"""Bytes that the files may have beyond the manifest's size: it does not count what every image gets."""
_META = "user.ostreemeta"
_TARGET_LIMIT = 4096


@dataclass(frozen=True, slots=True)
class _File:
    uid: int
    gid: int
    mode: int
    size: int


def examine_commit(taken: Path, store: Path, commit: str, size: int) -> None:
    """Raises BuildError unless `commit` may be launched as an image.

    taken: the repository with what came; store: that with the rest. size: bytes of all files, as the manifest has it.
    """
    _Walk(_Objects(taken, store), size + SLACK).walk(commit)


class _Objects(Objects):
    """Of the repository `taken`; those that it lacks are the store's, which were compared when they came there."""

    def __init__(self, taken: Path, store: Path) -> None:
        super().__init__(taken)
        self._store = Objects(store)
        self._found: dict[str, _File] = {}

    def path(self, name: str) -> Path:
        path = super().path(name)
        return path if path.exists() else self._store.path(name)

    def described(self, checksum: str, limit: int) -> _File:
        """Of a file object, which may have `limit` bytes. Raises BuildError when it is not right."""
        if checksum not in self._found:
            try:
                self._found[checksum] = self._describe(checksum, limit)
            except OSError as error:
                raise BuildError(f"the object {checksum}.file can't be read: {error.strerror}") from error
        return self._found[checksum]

    def _describe(self, checksum: str, limit: int) -> _File:
        path = super().path(f"{checksum}.file")
        try:
            fd = os.open(path, OPEN_FILE)
        except FileNotFoundError:
            status = os.lstat(self._store.path(f"{checksum}.file"))
            return _File(status.st_uid, status.st_gid, status.st_mode, status.st_size)
        try:
            meta = os.getxattr(fd, _META)
            if len(meta) != 12:
                raise BuildError(f"the object {checksum}.file has extended attributes, which must not be in an image")
            uid, gid, mode = (int.from_bytes(meta[at : at + 4], "big") for at in (0, 4, 8))
            file = _File(uid, gid, mode, os.fstat(fd).st_size)
            _check_size(file.size, limit)
            if stat.S_ISLNK(mode):
                target = os.read(fd, _TARGET_LIMIT).removesuffix(b"\0")
                actual = hashlib.sha256(header(uid, gid, mode, target)).hexdigest()
            else:
                actual = content_checksum(fd, header(uid, gid, mode, b""))
        finally:
            os.close(fd)
        if actual != checksum:
            raise BuildError(f"the object {checksum}.file is damaged")
        return file


class _Walk:
    def __init__(self, objects: _Objects, limit: int) -> None:
        """limit: bytes of all files."""
        self._objects = objects
        self._limit = limit
        self._entries = 0
        self._size = 0
        self._missing = {*MOUNT_POINTS, *accounts.REQUIRED}

    def walk(self, commit: str) -> None:
        root = self._objects.root(commit)
        if root is None:
            raise self._damaged()
        self._directory("", *root, 0)
        if self._missing:
            raise BuildError(f"{quote('/' + min(self._missing))}, which must be there, is missing in the image")

    def _directory(self, path: str, dirtree: str, dirmeta: str, depth: int) -> None:
        if depth > DEEPEST:
            raise BuildError(f"the image's directories are nested more than {DEEPEST} levels deep")
        owner_and_mode, listing = self._objects.owner_and_mode(dirmeta), self._objects.listing(dirtree)
        if owner_and_mode is None or listing is None:
            raise self._damaged()
        uid, gid, mode = owner_and_mode
        _check(path, uid, gid, mode, (stat.S_IFDIR,))
        if path in MOUNT_POINTS:
            permissions, owner = MOUNT_POINTS[path]
            if (uid, gid, stat.S_IMODE(mode)) != (FOREIGN_BASE + owner, FOREIGN_BASE + owner, permissions):
                raise BuildError(f"{quote('/' + path)} in the image has not the owner and mode that it must have")
            self._missing.discard(path)
        if path in accounts.PATHS:
            raise BuildError(f"the image's {quote('/' + path)} is no file that can be read")
        self._count(path, listing)
        for name, checksum in listing.files.items():
            self._file(f"{path}/{name}".lstrip("/"), checksum)
        for name, below in listing.directories.items():
            self._directory(f"{path}/{name}".lstrip("/"), *below, depth + 1)

    def _count(self, path: str, listing: DirectoryListing) -> None:
        self._entries += len(listing.files) + len(listing.directories)
        if self._entries > MOST_ENTRIES:
            raise BuildError(f"the image has more than {MOST_ENTRIES} files and directories")
        inside = [f"{path}/{name}".lstrip("/") for name in (*listing.files, *listing.directories)]
        wrong = [place for place in inside if path in EMPTY or place in MACHINE]
        if wrong:
            raise BuildError(f"{quote('/' + wrong[0])} must not be in an image")

    def _file(self, path: str, checksum: str) -> None:
        file = self._objects.described(checksum, self._limit)
        _check(path, file.uid, file.gid, file.mode, (stat.S_IFREG, stat.S_IFLNK))
        if path in MOUNT_POINTS:
            raise BuildError(f"{quote('/' + path)} in the image is not the directory that must be there")
        self._size += file.size
        _check_size(self._size, self._limit)
        if path in accounts.PATHS:
            self._account_file(path, checksum, file)
            self._missing.discard(path)

    def _account_file(self, path: str, checksum: str, file: _File) -> None:
        if not stat.S_ISREG(file.mode) or file.size > ACCOUNT_FILE_LIMIT:
            raise BuildError(f"the image's {quote('/' + path)} is no file that can be read")
        try:
            text = read_limited(self._objects.path(f"{checksum}.file"), ACCOUNT_FILE_LIMIT).decode()
        except UnicodeDecodeError:
            raise BuildError(f"the image's /{path} is not UTF-8") from None
        if accounts.complete(path, text) != text:
            raise BuildError(f"the account {accounts.APP_NAME} is missing in the image's /{path}")

    def _damaged(self) -> FtosError:
        name, problem = next(iter(self._objects.damage.items()))
        return BuildError(f"the object {name} is {problem}")


def _check(path: str, uid: int, gid: int, mode: int, kinds: tuple[int, ...]) -> None:
    """The rules for owners and modes."""
    if stat.S_IFMT(mode) not in kinds or mode & 0o6000 or mode >> 16:
        raise BuildError(f"{quote('/' + path)} must not be in an image: {stat.filemode(mode)}")
    for owner in (uid, gid):
        if not FOREIGN_BASE <= owner < FOREIGN_BASE + ID_COUNT:
            raise BuildError(f"{quote('/' + path)} in the image belongs to an account of the host, {owner}")


def _check_size(size: int, limit: int) -> None:
    if size > limit:
        raise BuildError(f"the files of the image have more bytes than the {limit} which it says that it has")
