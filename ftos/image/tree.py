# SPDX-License-Identifier: AGPL-3.0-or-later
"""From what a build container left on the disk to a tree that may be committed.

In: the upper directory of the build's overlay (changed here), and the merged view of it and its layers (read-only).
Out: the list of what is left out of the commit, and an additional small tree that is laid over the view. What then
always holds of a committed tree: regular files, directories and symlinks only; no setuid or setgid bit; every owner is
an id of the container; the mount points of a launch are real directories; the account `app` exists, and no account file
can be read in two ways. Extended attributes, file capabilities among them, are dropped by the commit itself.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ftos.errors import BuildError, quote
from ftos.host.trees import OPEN_FILE, directory, read_beneath, status_beneath
from ftos.image import accounts
from ftos.plan.records import APP_ID, FOREIGN_BASE, ID_COUNT
from ftos.spec.records import Link

MOUNT_POINTS = {
    "dev": (0o755, 0),
    "etc": (0o755, 0),
    "home": (0o755, 0),
    "home/app": (0o700, APP_ID),
    "proc": (0o555, 0),
    "run": (0o755, 0),
    "sys": (0o555, 0),
    "tmp": (0o1777, 0),
    "var": (0o755, 0),
    "var/tmp": (0o1777, 0),
}
"""Directories of every tree → permission bits and owner. Outer before inner."""

EMPTY = ("dev", "proc", "run", "sys", "tmp", "var/tmp")
"""Directories of which nothing below is kept."""

MACHINE = ("etc/hostname", "etc/resolv.conf", "var/lib/dbus/machine-id")
"""Files that say something about the machine of the build."""

DEEPEST = 128
ACCOUNT_FILE_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Leftovers:
    """What a package manager leaves behind, as paths relative to the root."""

    files: tuple[str, ...] = ()
    """Left out, with all below."""
    logs: tuple[str, ...] = ()
    """Directories below which the files are left out; the directories stay, since services want to write there."""


@dataclass(slots=True)
class Contents:
    """What `examine` found."""

    size: int = 0
    left_out: list[str] = field(default_factory=list)
    """Paths (`/a/b`), each of which exists."""


def disarm(upper: Path, note: Callable[[str], None]) -> None:
    """Take from `upper` what a commit must not have: special files are removed, setuid and setgid bits cleared.

    Overlay's whiteouts (character devices 0:0) stay; they hide what was deleted. Raises BuildError for directories
    that are nested too deep.
    """
    with directory(upper) as fd:
        _disarm(fd, "", 0, note)


def _disarm(fd: int, path: str, depth: int, note: Callable[[str], None]) -> None:
    if depth > DEEPEST:
        raise BuildError(f"the image's directories are nested more than {DEEPEST} levels deep")
    _drop_bits(fd, os.fstat(fd))
    for name in os.listdir(fd):
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        inside = f"{path}/{name}"
        if stat.S_ISDIR(status.st_mode):
            with directory(name, fd) as below:
                _disarm(below, inside, depth + 1, note)
        elif stat.S_ISREG(status.st_mode):
            if status.st_mode & 0o6000:
                file = os.open(name, OPEN_FILE, dir_fd=fd)
                try:
                    _drop_bits(file, status)
                finally:
                    os.close(file)
        elif not stat.S_ISLNK(status.st_mode) and not _is_whiteout(status):
            os.unlink(name, dir_fd=fd)
            note(f"{quote(inside)} is a {_kind(status)} and was left out")


def _drop_bits(fd: int, status: os.stat_result) -> None:
    if status.st_mode & 0o6000:
        os.fchmod(fd, stat.S_IMODE(status.st_mode) & ~0o6000)


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _kind(status: os.stat_result) -> str:
    kinds = {stat.S_IFIFO: "fifo", stat.S_IFSOCK: "socket", stat.S_IFCHR: "device", stat.S_IFBLK: "device"}
    return kinds.get(stat.S_IFMT(status.st_mode), "directory" if stat.S_ISDIR(status.st_mode) else "file")


def examine(view: int, post_clean: Collection[str], leftovers: Leftovers) -> Contents:
    """Walk the merged view (a directory's fd), check what must hold, and find what is to be left out.

    post_clean: absolute paths, not by way of a symlink (a merged /lib). Raises BuildError.
    """
    for path in post_clean:
        for above in reversed(Path(path.strip("/")).parents[:-1]):
            _check_directory(view, str(above))
    out = {path.strip("/") for path in post_clean} | {*MACHINE, *leftovers.files}
    contents = Contents()
    _examine(view, "", False, out, leftovers.logs, contents)
    return contents


def _examine(fd: int, path: str, in_logs: bool, out: Collection[str], logs: Sequence[str], contents: Contents) -> None:
    _check_owner(path, os.fstat(fd))
    for name in sorted(os.listdir(fd)):
        inside = f"{path}/{name}".lstrip("/")
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        is_directory = stat.S_ISDIR(status.st_mode)
        try:
            name.encode()
        except UnicodeEncodeError:
            raise BuildError(f"the file name {quote('/' + inside)} in the image is not UTF-8") from None
        if inside in out or path in EMPTY or (in_logs and not is_directory):
            if "\n" in inside:
                raise BuildError(f"the file name {quote('/' + inside)} in the image has a line break")
            contents.left_out.append("/" + inside)
        elif is_directory:
            with directory(name, fd) as below:
                _examine(below, inside, in_logs or inside in logs, out, logs, contents)
        else:
            _check_owner(inside, status)
            if not (stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)) or status.st_mode & 0o6000:
                raise BuildError(f"{quote('/' + inside)} must not be in an image: {stat.filemode(status.st_mode)}")
            contents.size += status.st_size


def _check_owner(path: str, status: os.stat_result) -> None:
    for owner in (status.st_uid, status.st_gid):
        if not FOREIGN_BASE <= owner < FOREIGN_BASE + ID_COUNT:
            raise BuildError(f"{quote('/' + path)} in the image belongs to an account of the host, {owner}")


def assemble(view: int, upper: Path, lower: Path, target: Path) -> None:
    """Make the new directory `target` what `view` shows, which is `upper` laid over `lower`, and was examined.

    Files are hardlinks of those in the layers, so the store knows by their inodes which of them it has already.
    """
    target.mkdir()
    with directory(upper) as above, directory(lower) as below, directory(target) as made:
        _assemble(view, above, below, made)


def _assemble(view: int, upper: int | None, lower: int | None, target: int) -> None:
    status = os.fstat(view)
    os.fchown(target, status.st_uid, status.st_gid)
    os.fchmod(target, stat.S_IMODE(status.st_mode))
    for name in os.listdir(view):
        if stat.S_ISDIR(os.stat(name, dir_fd=view, follow_symlinks=False).st_mode):
            os.mkdir(name, dir_fd=target)
            with ExitStack() as opened:
                shown, made = (opened.enter_context(directory(name, fd)) for fd in (view, target))
                above, below = (_enter(opened, name, layer) for layer in (upper, lower))
                _assemble(shown, above, below, made)
        elif not any(_link(name, layer, target) for layer in (upper, lower) if layer is not None):
            raise BuildError(f"{quote(name)} is not where the image shows it")


def _enter(opened: ExitStack, name: str, layer: int | None) -> int | None:
    """The directory `name` of a layer; None where the layer has something else, or nothing."""
    if layer is None:
        return None
    try:
        return opened.enter_context(directory(name, layer))
    except (FileNotFoundError, NotADirectoryError):
        return None


def _link(name: str, source: int, target: int) -> bool:
    """Whether there is such a file in `source`."""
    try:
        os.link(name, name, src_dir_fd=source, dst_dir_fd=target, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


# --- the additional tree --------------------------------------------------------------------------------------------


def make_additions(view: int, target: Path, links: Sequence[Link]) -> None:
    """Fill the new directory `target` with what every image has beyond its packages, and the image's own links.

    Raises BuildError where the view has something else than a directory at a mount point or above a link, and for
    account files that can't be trusted.
    """
    target.mkdir()
    _own(target, 0o755, 0, 0)
    for path, (mode, owner) in MOUNT_POINTS.items():
        _check_directory(view, path)
        (target / path).mkdir()
        _own(target / path, mode, owner, owner)
    for path in accounts.PATHS:
        _add_account_file(view, target, path)
    (target / "etc/machine-id").touch()
    _own(target / "etc/machine-id", 0o644, 0, 0)
    for link in links:
        _add_link(view, target, link)


def _add_account_file(view: int, target: Path, path: str) -> None:
    data = read_beneath(view, path, ACCOUNT_FILE_LIMIT)
    status = status_beneath(view, path)
    if data is None or status is None:
        if path in accounts.REQUIRED:
            raise BuildError(f"the image has no /{path}")
        return
    try:
        text = accounts.complete(path, data.decode())
    except UnicodeDecodeError:
        raise BuildError(f"the image's /{path} is not UTF-8") from None
    (target / path).write_bytes(text.encode())
    _own(target / path, stat.S_IMODE(status.st_mode), status.st_uid - FOREIGN_BASE, status.st_gid - FOREIGN_BASE)


def _add_link(view: int, target: Path, link: Link) -> None:
    parts = [part for part in link.path.split("/") if part]
    for depth in range(1, len(parts)):
        path = "/".join(parts[:depth])
        status = _check_directory(view, path)
        if not (target / path).exists():
            (target / path).mkdir()
            mode, owner, group = (
                (stat.S_IMODE(status.st_mode), status.st_uid - FOREIGN_BASE, status.st_gid - FOREIGN_BASE)
                if status is not None
                else (0o755, 0, 0)
            )
            _own(target / path, mode, owner, group)
    place = target.joinpath(*parts)
    status = status_beneath(view, "/".join(parts))
    if (status is not None and stat.S_ISDIR(status.st_mode)) or os.path.lexists(place):
        raise BuildError(f"the link {quote(link.path)} would replace what the image needs there")
    place.symlink_to(link.target)
    os.chown(place, FOREIGN_BASE, FOREIGN_BASE, follow_symlinks=False)


def _check_directory(view: int, path: str) -> os.stat_result | None:
    """The status of the directory `path` of the view; None when nothing is there."""
    status = status_beneath(view, path)
    if status is None or stat.S_ISDIR(status.st_mode):
        return status
    what = "symlink" if stat.S_ISLNK(status.st_mode) else _kind(status)
    raise BuildError(
        f"{quote('/' + path)} is a {what} in the image where a directory must be",
        "name the directory that a symlink leads to" if what == "symlink" else "",
    )


def _own(path: Path, mode: int, uid: int, gid: int) -> None:
    os.chown(path, FOREIGN_BASE + uid, FOREIGN_BASE + gid)
    path.chmod(mode)
