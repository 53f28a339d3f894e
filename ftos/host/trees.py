# SPDX-License-Identifier: AGPL-3.0-or-later
"""Files which a container has written, handled from outside by root.

All of it is hostile: names, depths, symlinks, types. So nothing is resolved as a path below such a directory: every
step is one name, relative to a directory's fd, without following a symlink. The container is gone when these run, so
nobody moves things meanwhile.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from ftos.errors import BuildError, quote

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
UNFINISHED = ".tmp"
"""How the name of a copy ends, which begins with a dot, until it is whole; one that is left is of a killed process."""
_FLAT = 100
"""Depth from which `remove_tree` moves directories up, so that it never holds more than this many fds."""


@contextmanager
def directory(path: Path | str, beneath: int | None = None) -> Iterator[int]:
    """The fd of the directory `path`; its last part is no symlink. With `beneath`, `path` is one name in that fd."""
    fd = os.open(path, OPEN_DIRECTORY, dir_fd=beneath)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def directory_beneath(root: int, path: str) -> Iterator[int]:
    """The fd of the directory `path` (relative, `a/b/c`, or "") below the directory `root`; no part is a symlink.

    Raises OSError: NotADirectoryError where a part is a symlink or a file, FileNotFoundError.
    """
    fd = os.dup(root)
    try:
        for name in _parts(path):
            below = os.open(name, OPEN_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        yield fd
    finally:
        os.close(fd)


def status_beneath(root: int, path: str) -> os.stat_result | None:
    """What is at `path` (relative) below `root`, without following symlinks anywhere; None for nothing or a symlink
    on the way."""
    try:
        with directory_beneath(root, os.path.dirname(path)) as fd:
            return os.stat(os.path.basename(path) or ".", dir_fd=fd, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def read_beneath(root: int, path: str, limit: int) -> bytes | None:
    """The content of the regular file `path` (relative) below `root`; None when nothing is there.

    Raises BuildError when it is something else, or larger than `limit` bytes.
    """
    try:
        with directory_beneath(root, os.path.dirname(path)) as fd:
            file = _open_regular(os.path.basename(path), fd)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        file = None
    if file is None:
        raise BuildError(f"{quote('/' + path)} in the image is not a regular file in a real directory")
    with file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise BuildError(f"{quote('/' + path)} in the image is larger than {limit} bytes")
    return data


def copy_verified(
    source: int, name: str, target: Path, right: str | Callable[[BinaryIO], Iterable[bytes]] | None = None
) -> str:
    """Copy the regular file `name` of the directory fd `source` to `target`, which appears whole and durable, or not.

    The time of the last change is kept: package managers ask mirrors for what is newer.

    right: the SHA-256 that it must have, in hex; or who reads it and gives what shall be in the copy, and raises
    ValueError (at the end at the latest) when that is not right.

    Returns the SHA-256 of the copy, in hex. Raises BuildError when the file is missing, is no regular file, or is not
    right; then there is no new `target`.
    """
    try:
        reading = _open_regular(name, source)
    except OSError as error:
        raise BuildError(f"the file {quote(name)} was not delivered: {error.strerror}") from error
    if reading is None:
        raise BuildError(f"{quote(name)} is not a regular file")
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}{UNFINISHED}")
    try:
        with reading, temporary.open("wb") as writing:
            digest = hashlib.sha256()
            for block in right(reading) if callable(right) else iter(partial(reading.read, 1 << 20), b""):
                digest.update(block)
                writing.write(block)
            if isinstance(right, str) and right != digest.hexdigest():
                raise ValueError
            writing.flush()
            modified = os.fstat(reading.fileno()).st_mtime_ns
            os.utime(writing.fileno(), ns=(modified, modified))
            os.fdatasync(writing.fileno())
        temporary.replace(target)
    except ValueError as error:
        message = f"the file {quote(name)} has not the content which the signed index promises"
        raise BuildError(message) from error
    finally:
        temporary.unlink(missing_ok=True)
    return digest.hexdigest()


def _open_regular(name: str, beneath: int) -> BinaryIO | None:
    """The regular file `name` of a directory; None when it is something else. Raises OSError."""
    try:
        fd = os.open(name or ".", OPEN_FILE, dir_fd=beneath)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):  # a symlink; a socket
            return None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return None
    return os.fdopen(fd, "rb")


def remove_tree(parent: int, name: str) -> None:
    """Remove `name` in the directory fd `parent`, with all below; nothing happens when there is none.

    Symlinks are removed, never followed. However deep the tree is, few fds and little stack are used: deep directories
    are moved up first.
    """
    try:
        top = os.open(name, OPEN_DIRECTORY, dir_fd=parent)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(name, dir_fd=parent)
        return
    try:
        while _empty(top, top, 0):
            pass
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=parent)


def _empty(fd: int, top: int, depth: int) -> bool:
    """Remove what is in `fd`; directories below `_FLAT` levels go to `top` instead. Whether there were such."""
    moved = False
    for entry in os.listdir(fd):
        try:
            os.unlink(entry, dir_fd=fd)
            continue
        except IsADirectoryError:
            pass
        if depth == _FLAT:
            os.rename(entry, f".moved-{secrets.token_hex(16)}", src_dir_fd=fd, dst_dir_fd=top)
            moved = True
            continue
        with directory(entry, fd) as below:
            moved |= _empty(below, top, depth + 1)
        os.rmdir(entry, dir_fd=fd)
    return moved


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ValueError(f"'..' in {path!r}")
    return parts
