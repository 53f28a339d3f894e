# SPDX-License-Identifier: AGPL-3.0-or-later
"""Configuration layers on the disk: state/layers/<deployment id>/<digest>/, ids foreign, only root enters.

A layer is written once, complete or not at all, and never changed: a running app keeps the one it was started with.

Paths go through the image's own symlinks, as the container will resolve them (`/bin/x` of a merged-/usr system lands
in `/usr/bin/x`), never beyond its root. What is in the way and no directory is covered by one. The mount points of the
container itself (`/dev`, `/proc`, ...) are always directories of the layer, whatever the image has there.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from ftos.errors import FtosError, quote
from ftos.host.places import Places
from ftos.plan.layer import layer_digest
from ftos.plan.records import FOREIGN_BASE, LayerEntry

_MAX_LINKS = 40
_OWN_MOUNT_POINTS = frozenset({"dev", "proc", "sys", "tmp"})


def layer_path(places: Places, deployment_id: str, tree: Path, entries: Sequence[LayerEntry]) -> Path:
    """Where the layer of these entries over `tree` is, or will be."""
    return places.state / "layers" / deployment_id / f"{layer_digest(entries)[:32]}-{tree.name[:16]}"


@contextmanager
def materialised(
    path: Path, tree: Path, entries: Sequence[LayerEntry], in_use: Callable[[], Collection[str]]
) -> Iterator[None]:
    """The layer at `path`, written unless it is there; the deployment's older ones but those `in_use` are removed.

    No other launch of the deployment removes it meanwhile: hold it until a record says that it is in use.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(path.parent / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.is_dir():
            _materialise(path, tree, entries, in_use())
        yield


def _materialise(path: Path, tree: Path, entries: Sequence[LayerEntry], in_use: Collection[str]) -> None:
    for older in path.parent.iterdir():
        if older.is_dir() and str(older) not in in_use:
            shutil.rmtree(older)
    temporary = Path(tempfile.mkdtemp(prefix=".new-", dir=path.parent))
    os.chmod(temporary, 0o755)
    os.chown(temporary, FOREIGN_BASE, FOREIGN_BASE)
    tree_fd = os.open(tree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry in entries:
            _write(temporary, _resolve(tree_fd, entry.path), entry)
    finally:
        os.close(tree_fd)
    for *_, directory in os.fwalk(temporary):
        os.fsync(directory)
    temporary.rename(path)


def forget(places: Places, deployment_id: str) -> None:
    """Remove all layers of a deployment that is no more."""
    shutil.rmtree(places.state / "layers" / deployment_id, ignore_errors=True)


def _resolve(tree: int, path: str) -> list[str]:
    """The components of `path` after the symlinks that the tree has on the way to its last one."""
    done: list[str] = []
    todo = [part for part in path.split("/") if part]
    links = 0
    while len(todo) > 1:
        part = todo.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        if part == ".":
            continue
        if (done or [part])[0] in _OWN_MOUNT_POINTS:  # a directory of the layer: nothing of the tree is below it
            done.append(part)
            continue
        try:
            target = os.readlink("/".join([*done, part]), dir_fd=tree)
        except OSError:  # no link, or nothing there
            done.append(part)
            continue
        links += 1
        if links > _MAX_LINKS:
            raise FtosError(f"the image has too many symlinks on the way to {quote(path)}", "mend the image")
        if target.startswith("/"):
            done = []
        todo = [step for step in target.split("/") if step] + todo
    return [*done, *todo]


def _write(top: Path, parts: list[str], entry: LayerEntry) -> None:
    """Write one entry into the new layer, in which nothing is but what was written here."""
    at = top
    for part in parts[:-1] if entry.kind != "directory" else parts:
        at = at / part
        if not _is_directory(at):
            at.unlink(missing_ok=True)
            at.mkdir()
            at.chmod(0o755)  # whatever the umask
            os.chown(at, FOREIGN_BASE, FOREIGN_BASE)
    if entry.kind == "directory":
        return
    target = at / parts[-1]
    if _is_directory(target):
        raise FtosError(f"{quote(entry.path)} is a file of the image, and a directory is needed there", "move it")
    with open(target, "x", encoding="utf-8") as file:
        file.write(entry.content)
        file.flush()
        os.fchown(file.fileno(), FOREIGN_BASE, FOREIGN_BASE)
        os.fchmod(file.fileno(), entry.mode)
        os.fsync(file.fileno())


def _is_directory(path: Path) -> bool:
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False
