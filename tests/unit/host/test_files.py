# SPDX-License-Identifier: AGPL-3.0-or-later
"""Durable writes and careful reads."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from ftos.errors import BadInput, FtosError, NotFound
from ftos.host.files import read_limited, write_atomically


def test_a_file_gets_its_content_and_its_mode_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        write_atomically(tmp_path / "a", b"one")
        write_atomically(tmp_path / "b", b"two", 0o600)
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"one"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o600
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]


def test_an_open_file_keeps_its_old_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with path.open("rb") as reader:
        write_atomically(path, b"new")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new"


def test_a_symlink_is_replaced_and_its_target_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")
    link = tmp_path / "link"
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert not link.is_symlink()
    assert (link.read_bytes(), target.read_bytes()) == (b"new", b"old")


def test_the_longest_names_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 127 + "b")
    write_atomically(path, b"x")
    assert path.read_bytes() == b"x"


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    with pytest.raises(FtosError, match=r"can't write '.*/directory': Is a directory"):
        write_atomically(tmp_path / "directory", b"x")
    with pytest.raises(FtosError, match=r"can't write '.*/gone/a': No such file or directory"):
        write_atomically(tmp_path / "gone/a", b"x")
    assert [path.name for path in tmp_path.iterdir()] == ["directory"]


def test_an_interrupted_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")

    def interrupt(fd: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fdatasync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("step", ["write", "fchmod", "fdatasync", "replace", "fsync"])
def test_a_process_killed_at_any_step_leaves_the_old_or_the_new_content(tmp_path: Path, step: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    code = f"""
        import os, signal
        from pathlib import Path
        from ftos.host import files
        def die(*args, **keywords):
            os.kill(os.getpid(), signal.SIGKILL)
        if {step!r} == "write":
            files.os.fdopen = die
        else:
            files.os.{step} = die
        files.write_atomically(Path({str(path)!r}), b"new")
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=False)
    assert result.returncode == -signal.SIGKILL
    assert path.read_bytes() == (b"new" if step == "fsync" else b"old")


def test_a_file_is_synced_before_it_is_renamed_and_the_directory_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def watched(name: str, real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            steps.append(name)
            return real(*args)

        return call

    for name in ("fdatasync", "replace", "fsync"):
        monkeypatch.setattr(os, name, watched(name, getattr(os, name)))
    write_atomically(tmp_path / "a", b"x")
    assert steps == ["fdatasync", "replace", "fsync"]


def test_a_file_within_the_limit_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    (tmp_path / "link").symlink_to("a")
    assert read_limited(path, 5) == b"12345"
    assert read_limited(tmp_path / "link", 5) == b"12345"
    with pytest.raises(BadInput, match=r"'.*/a' is larger than 4 bytes"):
        read_limited(path, 4)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", tmp_path, Path("/dev/null")):
        with pytest.raises(BadInput, match="is not a regular file"):
            read_limited(path, 5)


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"there is no file '.*/a'"):
        read_limited(tmp_path / "a", 5)


def test_what_can_not_be_read_is_told_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match=r"can't read '.*/loop': Too many levels of symbolic links"):
        read_limited(tmp_path / "loop", 5)
    with pytest.raises(BadInput, match=r"can't read '.*/file/a': Not a directory"):
        read_limited(tmp_path / "file/a", 5)
    with pytest.raises(BadInput, match=r"can't read 'a\\x00': not a file name"):
        read_limited(Path("a\0"), 5)
