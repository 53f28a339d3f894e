# SPDX-License-Identifier: AGPL-3.0-or-later
"""Leaf cgroups in the real hierarchy, where cgroup v2 is mounted; what can't be limited is said."""

from __future__ import annotations

import os
import secrets
import select
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ftos.plan.records import CgroupLimits
from ftos.runtime import cgroups
from ftos.runtime.cgroups import Leaf, hierarchy

EVERYTHING = CgroupLimits(memory=1 << 30, pids=100, cpu_weight=50)
ALL_LIMITS = ["memory", "pids", "cpu_weight"]


def writable() -> bool:
    top = hierarchy()
    return os.geteuid() == 0 and top is not None and os.access(top, os.W_OK)


real = pytest.mark.skipif(not writable(), reason="no cgroup v2 hierarchy is mounted here that may be written")


@pytest.fixture
def group() -> str:
    return f"test-{secrets.token_hex(4)}"


@pytest.fixture
def leaf(group: str) -> Iterator[Leaf]:
    made = Leaf(group, "instance")
    yield made
    made.remove()
    assert made.path is None or not made.path.parent.exists()


def into(leaf: Leaf) -> subprocess.Popen[bytes]:
    """A process in the leaf."""
    assert leaf.path
    child = subprocess.Popen(["sleep", "100"])
    (leaf.path / "cgroup.procs").write_text(str(child.pid))
    return child


@real
def test_a_leaf_holds_processes_and_kills_them_all(leaf: Leaf) -> None:
    leaf.make(CgroupLimits())
    children = [into(leaf) for _ in range(3)]
    assert leaf.path
    assert {int(line) for line in (leaf.path / "cgroup.procs").read_text().split()} == {c.pid for c in children}
    leaf.kill()
    assert [child.wait(10) for child in children] == [-9] * 3


@real
def test_its_descriptor_names_it(leaf: Leaf) -> None:
    leaf.make(CgroupLimits())
    assert leaf.path
    fd = leaf.open()
    assert os.fstat(fd).st_ino == leaf.path.stat().st_ino
    assert not os.get_inheritable(fd)
    os.close(fd)


@real
def test_removing_waits_for_the_dying_and_takes_the_empty_group_along(leaf: Leaf) -> None:
    leaf.make(CgroupLimits())
    child = into(leaf)
    assert leaf.path
    leaf.kill()
    pidfd = os.pidfd_open(child.pid)
    assert select.select([pidfd], [], [], 10)[0]
    leaf.remove()
    assert not leaf.path.parent.exists()
    os.close(pidfd)
    child.wait()


@real
def test_a_group_with_another_instance_stays(group: str) -> None:
    one, other = Leaf(group, "one"), Leaf(group, "other")
    one.make(CgroupLimits())
    other.make(CgroupLimits())
    one.remove()
    assert other.path
    assert other.path.is_dir()
    other.remove()
    assert not other.path.parent.exists()


@real
def test_removing_twice_or_what_never_was_is_done(group: str) -> None:
    never = Leaf(group, "never")
    never.remove()
    never.kill()
    never.make(CgroupLimits())
    never.remove()
    never.remove()


@real
def test_each_limit_is_kept_or_named(leaf: Leaf) -> None:
    missing = leaf.make(EVERYTHING)
    assert leaf.path
    files = {"memory": ("memory.max", "1073741824"), "pids": ("pids.max", "100"), "cpu_weight": ("cpu.weight", "50")}
    for name, (file, value) in files.items():
        text = ""
        with suppress(FileNotFoundError):
            text = (leaf.path / file).read_text().strip()
        assert (text == value) == (name not in missing)


@real
def test_without_limits_nothing_is_missing(leaf: Leaf) -> None:
    assert leaf.make(CgroupLimits()) == []


def test_without_a_hierarchy_every_limit_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroups, "hierarchy", lambda: None)
    leaf = Leaf("group", "instance")
    assert leaf.make(EVERYTHING) == ALL_LIMITS
    assert leaf.make(CgroupLimits(pids=1)) == ["pids"]
    assert leaf.open() == -1
    leaf.kill()
    leaf.remove()


def test_the_hierarchy_is_where_the_kernel_says() -> None:
    mounted = [
        line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines() if line.split()[2] == "cgroup2"
    ]
    assert str(hierarchy() or "") == (mounted[0] if mounted else "")
