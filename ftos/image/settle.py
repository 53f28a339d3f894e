# SPDX-License-Identifier: AGPL-3.0-or-later
"""Caches that came with the packages are valid in the committed tree, though the store keeps no times.

ostree knows no times of change: in a tree, files and directories are of time 0 (empty files and symlinks, which are
made anew, of the time of the checkout). Times of the last status change move whenever a hardlink is made or removed,
which is when another tree with the same file comes or goes. Three kinds of cache would be thrown away at every start:

* Python's bytecode, which names the time of its source, or a hash of it for which the source is read each time. It
  becomes the unchecked kind (PEP 552), unless it is stale already: Python would compile that anew, and still does.
* fontconfig's lists of fonts, which name the times of the directories. They are made anew when all these are 0. (A
  fixed SOURCE_DATE_EPOCH is no way: fc-cache then names that time, and removes its work, which no directory has.)
* GIO's list of modules, which must not have changed before the modules did. It gets a time that none reaches.

The others either take part in no comparison of times (ld.so, GSettings, MIME types, pixbuf loaders, input methods) or
compare times that are all 0 (icon themes). docs/image-caches.md has the whole list.

In: what a build container left on the disk, or a new checkout; both are hostile. Changed are the headers of bytecode,
the times of directories, the time of that one list, and what fontconfig writes, in a container.
"""

from __future__ import annotations

import _imp
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftos.errors import BuildError
from ftos.host.trees import OPEN_FILE, directory, directory_beneath, status_beneath

if TYPE_CHECKING:  # The store, which every launch reads, imports this module.
    from ftos.image.workshop import Workshop

_DEEPEST = 128
"""Levels of directories. A tree that is deeper is refused by `tree.disarm`."""
_LISTER = "usr/bin/fc-list"
_LIST_FONTS = f"rm -f /var/cache/fontconfig/*.cache-* && exec /{_LISTER} >/dev/null"
"""What fc-list finds no cache of it makes one of, as every program does. fc-cache would sleep two seconds besides."""
_FONTS = ("usr/share/fonts", "usr/local/share/fonts", "var/cache/fontconfig")
_ENVIRONMENT = {"HOME": "/root", "LC_ALL": "C.UTF-8", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
_TIMESTAMP, _UNCHECKED, _CHECKED = (flags.to_bytes(4, "little") for flags in (0, 1, 3))
_SOURCE_LIMIT = 16 << 20
_LISTS = "gio/modules/giomodule.cache"
_LIST = re.compile(rb"(?:lib[^/:\n]+\.so:[^\n]*\n)+")
_LIST_LIMIT = 1 << 16
_LATEST = (1 << 31) - 1
"""Seconds: the last time that every program of every architecture can read."""


def settle(workshop: Workshop, layers: Sequence[Path]) -> None:
    """Make the caches in the workshop's tree valid for what will be committed. Runs before `tree.disarm`.

    layers: what the tree was installed over, top first. A cache that can't be made is noted; starts are slower then.
    Raises OSError.
    """
    with directory(workshop.upper) as upper:
        settle_files(upper)
        changed = any(status_beneath(upper, path) for path in _FONTS)
    if changed and any(_has(layer, _LISTER) for layer in (workshop.upper, *layers)):
        workshop.stage("list the fonts")
        try:
            workshop.inside("list of the fonts", ["/bin/sh", "-c", _LIST_FONTS], layers, _ENVIRONMENT)
        except BuildError as error:
            workshop.progress.note(
                f"{workshop.name} will look at all fonts at each start, they can't be listed; {error.hint}"
            )


def _has(layer: Path, path: str) -> bool:
    with directory(layer) as fd:
        return status_beneath(fd, path) is not None


def settle_files(root: int) -> None:
    """Set the times of all directories below the directory `root` (an fd) to 0, and settle the bytecode in them."""
    _settle_directory(root, root, "", 0)


def _settle_directory(root: int, fd: int, path: str, depth: int) -> None:
    with os.scandir(fd) as entries:
        names = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    for name in names if depth < _DEEPEST else ():
        with directory(name, fd) as below:
            if name == "__pycache__":
                _settle_cache(root, below, path)
            _settle_directory(root, below, f"{path}/{name}", depth + 1)
    os.utime(fd, (0, 0))


def _settle_cache(root: int, fd: int, sources: str) -> None:
    """Settle the bytecode in the directory `fd`; `sources` is the path of the directory of the sources.

    Bytecode without a source here, or with one in a lower layer, stays as it is.
    """
    with os.scandir(fd) as entries:
        found = [e.name for e in entries if e.name.endswith(".pyc") and e.is_file(follow_symlinks=False)]
    for name in found:
        # The one place where a file of the tree is written. It may have several names; they all mean the same content.
        file = os.open(name, OPEN_FILE | os.O_RDWR, dir_fd=fd)
        try:
            header = os.pread(file, 16, 0)
            settled = _settled(header, root, f"{sources}/{name.partition('.')[0]}.py")
            if settled is not None:
                os.pwrite(file, settled, 0)
        finally:
            os.close(file)


def _settled(header: bytes, root: int, path: str) -> bytes | None:
    """The header that is to replace `header`; None where it is none, needs nothing, or is not that of the source.

    Layout: magic number with CR LF, flags, then time and size of the source, or its hash; little-endian, 32 bits each
    but the hash. The hash is keyed with the magic number; all releases since Python 3.11 make the same one.
    """
    magic, flags, recorded = header[:4], header[4:8], header[8:]
    if len(recorded) != 8 or magic[2:] != b"\r\n" or flags not in (_TIMESTAMP, _CHECKED):
        return None
    source = _open_source(root, path)
    if source is None:
        return None
    with os.fdopen(source, "rb") as file:
        status = os.fstat(source)
        content = file.read(_SOURCE_LIMIT + 1)
    digest = _imp.source_hash(int.from_bytes(magic, "little"), content)
    times = b"".join((int(n) & 0xFFFFFFFF).to_bytes(4, "little") for n in (status.st_mtime, status.st_size))
    valid = recorded == (digest if flags == _CHECKED else times) and len(content) <= _SOURCE_LIMIT
    return magic + _UNCHECKED + digest if valid else None


def _open_source(root: int, path: str) -> int | None:
    """The fd of the regular file `path` below `root`; None when there is none.

    One symlink in its last part is followed, within `root`: Debian's `sitecustomize.py`, which every Python imports, is
    one.
    """
    for _ in range(2):
        try:
            with directory_beneath(root, os.path.dirname(path)) as parent:
                name = os.path.basename(path)
                mode = os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode
                if stat.S_ISREG(mode):
                    return os.open(name, OPEN_FILE, dir_fd=parent)
                if not stat.S_ISLNK(mode):
                    return None
                target = os.readlink(name, dir_fd=parent)
        except (FileNotFoundError, NotADirectoryError):
            return None
        path = os.path.normpath("/" + os.path.join(os.path.dirname(path), target))
    return None


def date_module_lists(tree: Path) -> None:
    """Give GIO's lists of modules in the checkout `tree` a time of change which no module reaches.

    GIO believes a list if its time, or that of its last status change, is not before the last status change of the
    module (g_io_modules_scan_all_in_directory). The files are shared with the store and with other trees which have
    equal ones; so nothing is touched that does not look like such a list.
    """
    try:
        with directory(tree) as root, directory_beneath(root, "usr/lib") as libraries:
            for name in (".", *os.listdir(libraries)):
                _date_list(libraries, f"{name}/{_LISTS}")
    except (FileNotFoundError, NotADirectoryError):
        pass


def _date_list(libraries: int, path: str) -> None:
    file = _open_source(libraries, path)
    if file is None:
        return
    try:
        if _LIST.fullmatch(os.pread(file, _LIST_LIMIT, 0)):
            os.utime(file, (_LATEST, _LATEST))
    finally:
        os.close(file)
