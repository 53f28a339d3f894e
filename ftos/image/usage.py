# SPDX-License-Identifier: AGPL-3.0-or-later
"""How much of the disk images take: each by itself, each beyond what others share with it, and all together.

Bytes are those which the file system has allocated, directories included. A file of the store is one inode with a link
in `repo/` and one in each tree that has it, so its link count tells whether anybody else has it: no list of what is
where is needed, and the numbers are true whatever else lies in the store. Empty files have an inode in each tree, and
no blocks.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from ftos.host.trees import directory
from ftos.image.store import Store, image_of

_BLOCK = 512
"""Of st_blocks, whatever the file system has; stat(2)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of some trees of the store."""

    size: int
    """Bytes that they would take without the store, each tree with files of its own."""
    unique: int
    """Bytes that are freed when they, and nothing else, are removed."""


@dataclass(slots=True)
class _File:
    size: int
    links: int
    """How many it has."""
    seen: int = 0
    """How many of them are in the trees that are looked at."""


def usage(store: Store, commits: Collection[str]) -> Usage:
    """Of the trees of `commits` taken together. A tree that is not there, or goes meanwhile, takes nothing."""
    size = unique = 0
    files: dict[int, _File] = {}
    for commit in commits:
        own: dict[int, int] = {}
        for status, is_directory in _walk(store.tree(commit)):
            taken = status.st_blocks * _BLOCK
            if is_directory:
                size += taken
                unique += taken
            elif taken:
                own[status.st_ino] = taken
                file = files.setdefault(status.st_ino, _File(taken, status.st_nlink))
                file.seen += 1
        size += sum(own.values())
    # One more link is that of the repository.
    return Usage(size, unique + sum(file.size for file in files.values() if file.links <= file.seen + 1))


def image_commits(store: Store) -> dict[str, list[str]]:
    """Name of each image in the store → its commits, former ones included."""
    found: dict[str, dict[str, None]] = defaultdict(dict)
    for ref, commit in store.refs().items():
        name = image_of(ref)
        if name is not None:
            found[name][commit] = None
    return {name: list(commits) for name, commits in sorted(found.items())}


def image_usage(store: Store) -> dict[str, Usage]:
    """Of each image in the store, its former builds included, by name."""
    return {name: usage(store, commits) for name, commits in image_commits(store).items()}


def disk_usage(path: Path) -> int:
    """Bytes that all below `path` takes, each inode counted once; 0 where nothing is."""
    return sum({status.st_ino: status.st_blocks * _BLOCK for status, _ in _walk(path)}.values())


def free_space(path: Path) -> int:
    """Bytes that are free in the file system of `path`, or of what will hold it."""
    while not path.exists():
        path = path.parent
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


def _walk(top: Path) -> list[tuple[os.stat_result, bool]]:
    """Status of `top` and all below, and whether it is a directory."""
    found: list[tuple[os.stat_result, bool]] = []
    try:
        with directory(top) as fd:
            found.append((os.fstat(fd), True))
            _walk_directory(fd, found)
    except NotADirectoryError:
        found.append((os.lstat(top), False))
    except FileNotFoundError:
        pass  # there is none, or it is being removed
    return found


def _walk_directory(fd: int, found: list[tuple[os.stat_result, bool]]) -> None:
    below = []
    with os.scandir(fd) as entries:
        for entry in entries:
            is_directory = entry.is_dir(follow_symlinks=False)
            found.append((entry.stat(follow_symlinks=False), is_directory))
            if is_directory:
                below.append(entry.name)
    for name in below:
        with directory(name, fd) as inner:
            _walk_directory(inner, found)
