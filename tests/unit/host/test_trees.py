# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a container left is handled without being led astray by it."""

from __future__ import annotations

import hashlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.host.trees import copy_verified, directory, directory_beneath, read_beneath, remove_tree, status_beneath


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that nothing here may touch or read."""
    secret = tmp_path / "outside/secret"
    secret.parent.mkdir()
    secret.write_text("secret")
    return secret


@pytest.fixture
def left(tmp_path: Path) -> Path:
    path = tmp_path / "left"
    path.mkdir()
    return path


@pytest.fixture
def fd(left: Path) -> Iterator[int]:
    with directory(left) as opened:
        yield opened


def test_removal_takes_all_and_follows_no_symlink(left: Path, fd: int, outside: Path) -> None:
    (left / "tree/a").mkdir(parents=True)
    (left / "tree/to-directory").symlink_to(outside.parent)
    (left / "tree/a/to-file").symlink_to(outside)
    os.mkfifo(left / "tree/fifo")
    (left / "link").symlink_to(outside.parent)
    for name in ("tree", "link", "missing"):
        remove_tree(fd, name)
    assert list(left.iterdir()) == []
    assert outside.read_text() == "secret"


def test_removal_copes_with_any_depth(left: Path, fd: int) -> None:
    below = os.dup(fd)
    for _ in range(3000):
        os.mkdir("d", dir_fd=below)
        deeper = os.open("d", os.O_RDONLY, dir_fd=below)
        os.close(below)
        below = deeper
    os.close(below)
    remove_tree(fd, "d")
    assert list(left.iterdir()) == []


def test_reading_stays_beneath(left: Path, fd: int, outside: Path) -> None:
    (left / "etc").mkdir()
    (left / "etc/passwd").symlink_to(outside)
    (left / "up").symlink_to("../outside")
    (left / "passwd").write_text("root")
    assert read_beneath(fd, "passwd", 10) == b"root"
    assert read_beneath(fd, "etc/group", 10) is None
    for path in ("etc/passwd", "up/secret"):
        with pytest.raises(BuildError, match="is not a regular file"):
            read_beneath(fd, path, 100)
    assert status_beneath(fd, "up/secret") is None
    with pytest.raises(ValueError, match=r"'\.\.'"), directory_beneath(fd, "etc/../.."):
        pass


def test_reading_never_hangs_and_never_takes_too_much(left: Path, fd: int) -> None:
    os.mkfifo(left / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{fd}/socket")
        for name in ("fifo", "socket", "."):
            with pytest.raises(BuildError, match="not a regular file"):
                read_beneath(fd, name, 10)
    (left / "big").write_bytes(b"x" * 11)
    with pytest.raises(BuildError, match="larger than 10 bytes"):
        read_beneath(fd, "big", 10)


def test_a_copy_appears_only_with_the_promised_content(left: Path, fd: int, tmp_path: Path) -> None:
    (left / "package").write_bytes(b"content")
    digest = hashlib.sha256(b"content").hexdigest()
    target = tmp_path / "copy"
    with pytest.raises(BuildError, match="has not the content which the signed index promises"):
        copy_verified(fd, "package", target, "0" * 64)
    assert not target.exists()
    assert copy_verified(fd, "package", target, digest) == digest
    assert target.read_bytes() == b"content"


@pytest.mark.parametrize("kind", ["symlink", "fifo", "directory", "missing"])
def test_what_is_no_file_is_not_copied(left: Path, fd: int, outside: Path, tmp_path: Path, kind: str) -> None:
    match kind:
        case "symlink":
            (left / "package").symlink_to(outside)
        case "fifo":
            os.mkfifo(left / "package")
        case "directory":
            (left / "package").mkdir()
    with pytest.raises(BuildError, match="'package'"):
        copy_verified(fd, "package", tmp_path / "copy")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["left", "outside"]
