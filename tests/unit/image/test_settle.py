# SPDX-License-Identifier: AGPL-3.0-or-later
"""Caches stay valid in a tree whose times are lost, and nothing that looks like a cache leads out of the tree."""

from __future__ import annotations

import os
import py_compile
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ftos.host.trees import directory, remove_tree
from ftos.image.settle import date_module_lists, settle_files

TIMESTAMP = py_compile.PycInvalidationMode.TIMESTAMP
CHECKED = py_compile.PycInvalidationMode.CHECKED_HASH
UNCHECKED = py_compile.PycInvalidationMode.UNCHECKED_HASH
PACKAGES = "usr/lib/python3/dist-packages"
SOURCE = "value = 'as it was'\n"
LIST = "libone.so: gio-vfs\nlibtwo.so: gio-tls-backend,gio-proxy-resolver\n"


@pytest.fixture
def upper(tmp_path: Path) -> Path:
    path = tmp_path / "upper"
    (path / PACKAGES).mkdir(parents=True)
    return path


def module(
    upper: Path,
    name: str = "plain",
    text: str = SOURCE,
    mode: py_compile.PycInvalidationMode = TIMESTAMP,
    optimize: int = 0,
) -> tuple[Path, Path]:
    """A source, and its bytecode as this Python makes it."""
    source = upper / PACKAGES / f"{name}.py"
    source.write_text(text)
    compiled = py_compile.compile(str(source), doraise=True, invalidation_mode=mode, optimize=optimize)
    assert compiled is not None
    return source, Path(compiled)


def settled(upper: Path) -> None:
    with directory(upper) as fd:
        settle_files(fd)


def loses_its_times(upper: Path) -> None:
    for path in (upper, *upper.rglob("*")):
        os.utime(path, (0, 0), follow_symlinks=False)


def imported(upper: Path, name: str = "plain", *options: str) -> str:
    """What Python says when it imports module `name`."""
    command = [sys.executable, "-S", "-E", "-v", *options, "-c"]
    program = f"import sys; sys.path[:] = [{str(upper / PACKAGES)!r}]; import {name}; print({name}.value)"
    return subprocess.run([*command, program], capture_output=True, text=True, check=True).stderr


def is_used(said: str, name: str = "plain") -> bool:
    """Whether the module came from its bytecode. Otherwise Python compiles the source."""
    return re.search(rf"code object from '[^']*/{name}\.[^'/]+\.pyc'", said) is not None


def unchecked_header(upper: Path, name: str = "plain") -> bytes:
    """The first bytes of the bytecode that this Python itself makes of the unchecked kind."""
    source = upper / PACKAGES / f"{name}.py"
    other = upper.parent / "other.pyc"
    py_compile.compile(str(source), cfile=str(other), doraise=True, invalidation_mode=UNCHECKED)
    return other.read_bytes()[:16]


# --- bytecode ---


def test_bytecode_is_used_without_times(upper: Path) -> None:
    _, compiled = module(upper)
    content = compiled.read_bytes()
    settled(upper)
    loses_its_times(upper)
    assert is_used(imported(upper))
    assert compiled.read_bytes()[16:] == content[16:]
    assert compiled.stat().st_mtime == 0


def test_without_it_python_compiles_anew(upper: Path) -> None:
    """The control of the test above."""
    module(upper)
    loses_its_times(upper)
    said = imported(upper)
    assert "bytecode is stale for 'plain'" in said
    assert not is_used(said)


@pytest.mark.parametrize("mode", [TIMESTAMP, CHECKED])
def test_the_header_is_the_one_that_python_makes(upper: Path, mode: py_compile.PycInvalidationMode) -> None:
    _, compiled = module(upper, mode=mode)
    settled(upper)
    assert compiled.read_bytes()[:16] == unchecked_header(upper)
    assert is_used(imported(upper, "plain", "--check-hash-based-pycs", "always"))


def test_empty_sources_and_optimised_bytecode_are_settled_too(upper: Path) -> None:
    """ostree makes empty files anew at each checkout, with the time of it."""
    source, compiled = module(upper, text="")
    _, optimised = module(upper, text="", optimize=1)
    assert optimised.name.endswith(".opt-1.pyc")
    settled(upper)
    os.utime(source, (1234567890, 1234567890))
    assert compiled.read_bytes()[:16] == unchecked_header(upper)
    assert optimised.read_bytes()[:16] == unchecked_header(upper)


@pytest.mark.parametrize("mode", [TIMESTAMP, CHECKED])
@pytest.mark.parametrize("change", ["value = 'as it is!'\n", "value = 'longer than before'\n"])
def test_stale_bytecode_stays_stale(upper: Path, mode: py_compile.PycInvalidationMode, change: str) -> None:
    source, compiled = module(upper, mode=mode)
    former = source.stat()
    source.write_text(change)
    os.utime(source, (former.st_mtime, former.st_mtime + (len(change) == len(SOURCE))))
    content = compiled.read_bytes()
    settled(upper)
    assert compiled.read_bytes() == content
    assert not is_used(imported(upper))


def test_bytecode_without_a_source_here_is_left_alone(upper: Path) -> None:
    source, compiled = module(upper)
    source.unlink()
    content = compiled.read_bytes()
    settled(upper)
    assert compiled.read_bytes() == content


@pytest.mark.parametrize("target", ["/etc/python3/plain.py", "../../../../etc/python3/plain.py"])
def test_a_source_that_is_a_symlink_within_the_tree_counts(upper: Path, target: str) -> None:
    source, compiled = module(upper)
    (upper / "etc/python3").mkdir(parents=True)
    source.rename(upper / "etc/python3/plain.py")
    source.symlink_to(target)
    settled(upper)
    assert compiled.read_bytes()[4:8] == b"\1\0\0\0"


@pytest.mark.parametrize("climbing", [False, True])
def test_a_source_outside_the_tree_is_not_found(upper: Path, climbing: bool) -> None:
    source, compiled = module(upper)
    content = compiled.read_bytes()
    outside = upper.parent / "plain.py"
    source.rename(outside)
    source.symlink_to("../" * 20 + str(outside)[1:] if climbing else outside)
    assert source.read_text() == SOURCE
    settled(upper)
    assert compiled.read_bytes() == content


def test_a_loop_and_a_chain_of_symlinks_end(upper: Path) -> None:
    source, compiled = module(upper)
    content = compiled.read_bytes()
    source.unlink()
    source.symlink_to("plain.py")
    settled(upper)
    source.unlink()
    (upper / PACKAGES / "loop").symlink_to("loop")
    source.symlink_to("loop/x.py")
    settled(upper)
    assert compiled.read_bytes() == content


def test_symlinks_that_look_like_bytecode_or_its_directory_are_not_followed(upper: Path) -> None:
    _, compiled = module(upper)
    outside = upper.parent / "outside"
    (outside / "__pycache__").mkdir(parents=True)
    (outside / "plain.py").symlink_to(upper / PACKAGES / "plain.py")
    compiled = compiled.rename(outside / "__pycache__" / compiled.name)
    content = compiled.read_bytes()
    (upper / PACKAGES / "__pycache__" / compiled.name).symlink_to(compiled)
    (upper / PACKAGES / "below").symlink_to(outside)
    (upper / "etc").mkdir()
    (upper / "etc/plain.py").write_bytes((upper / PACKAGES / "plain.py").read_bytes())
    (upper / "etc/__pycache__").symlink_to(outside / "__pycache__")
    settled(upper)
    assert compiled.read_bytes() == content


def test_bytecode_with_two_names_is_settled_once(upper: Path) -> None:
    _, compiled = module(upper)
    other = compiled.with_name(compiled.name.replace(".pyc", ".opt-2.pyc"))
    other.hardlink_to(compiled)
    settled(upper)
    assert other.read_bytes() == compiled.read_bytes()
    assert compiled.read_bytes()[:16] == unchecked_header(upper)


def test_what_only_has_the_name_of_bytecode_is_left_alone(upper: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, compiled = module(upper)
    cache = compiled.parent
    content = compiled.read_bytes()
    names = {"empty": b"", "short": content[:15], "text": b"x" * 100, "flags": content[:4] + b"\2" + content[5:]}
    for name, data in names.items():
        (cache / f"{name}.cpython-313.pyc").write_bytes(data)
        (cache.parent / f"{name}.py").write_bytes((cache.parent / "plain.py").read_bytes())
    os.mkfifo(cache / "plain.fifo.pyc")
    (cache / "plain.directory.pyc").mkdir()
    (cache / ".pyc").write_bytes(content)
    Path(os.fsdecode(bytes(cache) + b"/\xff\n.pyc")).write_bytes(content)
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(cache)  # the address of a socket is short
        listener.bind("plain.sock.pyc")
        os.mkfifo(cache.parent / "waiting.py")
        (cache / "waiting.cpython-313.pyc").write_bytes(content)
        settled(upper)
    for name, data in names.items():
        assert (cache / f"{name}.cpython-313.pyc").read_bytes() == data
    assert (cache / "waiting.cpython-313.pyc").read_bytes() == content
    assert compiled.read_bytes() != content


def test_directories_lose_their_times_and_files_and_what_symlinks_lead_to_keep_them(upper: Path) -> None:
    """fc-cache compares those of directories."""
    outside = upper.parent / "outside"
    outside.mkdir()
    (upper / "link").symlink_to(outside)
    (upper / "file").touch()
    settled(upper)
    assert [path for path in (upper, *upper.rglob("*/")) if path != upper / "link" and path.stat().st_mtime != 0] == []
    assert min(outside.stat().st_mtime, (upper / "file").stat().st_mtime) > 0


def test_a_tree_of_any_depth_ends(upper: Path) -> None:
    fd = os.open(upper, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("x", dir_fd=fd)
        below = os.open("x", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    settled(upper)
    with directory(upper.parent) as parent:
        remove_tree(parent, upper.name)


# --- GIO's list of modules ---


def lists(tree: Path, directory: str, content: str = LIST) -> Path:
    path = tree / directory / "gio/modules/giomodule.cache"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    os.utime(path, (0, 0))
    return path


@pytest.mark.parametrize("directory", ["usr/lib", "usr/lib/x86_64-linux-gnu"])
def test_a_list_of_modules_is_never_older_than_its_modules(tmp_path: Path, directory: str) -> None:
    made = lists(tmp_path, directory)
    date_module_lists(tmp_path)
    assert made.stat().st_mtime > time.time() + 365 * 86400
    assert made.read_text() == LIST


@pytest.mark.parametrize("content", ["", "import os\n", LIST + "anything else\n", LIST * 2000])
def test_other_files_with_the_name_of_a_list_keep_their_time(tmp_path: Path, content: str) -> None:
    """Their inodes may be those of another image's files."""
    made = lists(tmp_path, "usr/lib", content)
    date_module_lists(tmp_path)
    assert made.stat().st_mtime == 0


def test_a_list_outside_the_tree_is_not_found(tmp_path: Path) -> None:
    outside = lists(tmp_path / "outside", "here")
    (tmp_path / "tree/usr/lib/gio/modules").mkdir(parents=True)
    (tmp_path / "tree/usr/lib/gio/modules/giomodule.cache").symlink_to(outside)
    (tmp_path / "tree/usr/lib/other").symlink_to(tmp_path / "outside/here")
    date_module_lists(tmp_path / "tree")
    assert outside.stat().st_mtime == 0


@pytest.mark.parametrize("path", ["usr", "usr/lib"])
def test_a_tree_without_libraries_is_no_matter(tmp_path: Path, path: str) -> None:
    date_module_lists(tmp_path)
    target = tmp_path / path
    target.parent.mkdir(exist_ok=True)
    target.symlink_to("/")
    date_module_lists(tmp_path)
