# SPDX-License-Identifier: AGPL-3.0-or-later
"""Running containers as other processes find them, and what a killed launcher left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from ftos.host.places import Places
from ftos.runtime.instances import (
    InstanceDirectory,
    InstanceRecord,
    control_path,
    in_use,
    is_alive,
    process_start_time,
    running,
    stage,
)

RECORD = InstanceRecord(
    deployment="notes",
    id="d-0000000a",
    image="notes",
    commit="abc",
    layer="/layers/1",
    environment=(("A", "b"),),
    working_directory="/",
    started_at="2026-01-01T00:00:00.000+00:00",
)


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


@contextmanager
def process() -> Iterator[int]:
    """A process that stands for an init; reaped at the end."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        yield child.pid
    finally:
        child.kill()
        child.communicate()


def alive(directory: InstanceDirectory, pid: int, record: InstanceRecord = RECORD) -> InstanceRecord:
    """Write the record of an instance whose init is `pid`."""
    full = replace(record, instance=directory.name, pid=pid, start_time=process_start_time(pid) or 0)
    directory.write(full)
    return full


def names(places: Places) -> list[str]:
    return sorted(path.name for path in (places.run / "instances").iterdir())


def test_what_runs_is_listed_oldest_first(places: Places) -> None:
    with process() as pid:
        younger, older = (InstanceDirectory.make(places, "notes") for _ in range(2))
        second = alive(younger, pid, replace(RECORD, started_at="2026-01-02"))
        first = alive(older, pid)
        assert running(places) == [first, second]
        assert control_path(places, first) == older.path / "control"
        for directory in (older, younger):
            directory.remove()
    assert running(places) == []
    assert names(places) == []


def test_instances_of_one_deployment_can_be_asked_for(places: Places) -> None:
    with process() as pid:
        one, other = InstanceDirectory.make(places, "a"), InstanceDirectory.make(places, "b")
        first = alive(one, pid)
        alive(other, pid, replace(RECORD, id="d-0000000b"))
        assert running(places, RECORD.id) == [first]
        assert running(places, "d-0000000c") == []
        one.remove()
        other.remove()


def test_a_launch_under_way_does_not_run_yet_but_needs_its_commit_and_layer(places: Places) -> None:
    directory = InstanceDirectory.make(places, "notes")
    directory.write(replace(RECORD, instance=directory.name))
    assert running(places) == []
    commits, layers = in_use(places)
    assert "abc" in commits
    assert "/layers/1" in layers
    assert names(places) == [directory.name]
    directory.remove()


def test_only_root_enters(places: Places) -> None:
    directory = InstanceDirectory.make(places, "notes")
    for path in (directory.path, directory.path.parent, stage(places)):
        assert path.stat().st_mode & 0o777 == 0o700
    directory.remove()


def test_what_a_killed_launcher_left_is_removed_when_its_init_is_gone(places: Places) -> None:
    directory = InstanceDirectory.make(places, "notes")
    with process() as pid:
        record = alive(directory, pid)
        os.close(directory._lock)  # as the kernel does when the launcher is killed
        assert running(places) == [record]  # its init has not ended yet
    assert running(places) == []
    assert names(places) == []


@pytest.mark.parametrize("content", [None, b"", b"{", b'{"instance": 1}', b"\xff"])
def test_a_directory_without_a_whole_record_is_a_leftover(places: Places, content: bytes | None) -> None:
    directory = InstanceDirectory.make(places, "build")
    if content is not None:
        (directory.path / "instance.json").write_bytes(content)
    assert running(places) == []
    assert names(places) == [directory.name]  # its launcher holds the lock
    os.close(directory._lock)
    assert running(places) == []
    assert names(places) == []


def test_a_directory_without_a_lock_is_a_leftover(places: Places) -> None:
    (places.run / "instances/notes-000000").mkdir(parents=True)
    (places.run / "instances/stray").write_text("")
    assert running(places) == []
    assert names(places) == ["stray"]  # nothing of ours


def test_a_new_instance_removes_leftovers_and_has_a_name_of_its_own(places: Places) -> None:
    left = InstanceDirectory.make(places, "notes")
    os.close(left._lock)
    made = [InstanceDirectory.make(places, "notes") for _ in range(5)]
    assert names(places) == sorted(directory.name for directory in made)
    assert all(directory.name.startswith("notes-") for directory in made)
    for directory in made:
        directory.remove()


def test_a_reused_pid_is_not_the_same_process(places: Places) -> None:
    with process() as pid:
        start = process_start_time(pid)
        assert start
        record = replace(RECORD, pid=pid, start_time=start)
        assert is_alive(record)
        assert not is_alive(replace(record, start_time=start - 1))
    assert not is_alive(record)


def test_remains_of_a_process_are_no_process() -> None:
    child = subprocess.Popen(["true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert Path(f"/proc/{child.pid}").exists()
    assert process_start_time(child.pid) is None
    child.wait()


def test_a_record_survives_being_written_and_read(places: Places) -> None:
    with process() as pid:
        directory = InstanceDirectory.make(places, "notes")
        record = alive(directory, pid, replace(RECORD, environment=(("Ü", 'a"\n'),)))
        assert running(places) == [record]
        directory.remove()
