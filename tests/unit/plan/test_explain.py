# SPDX-License-Identifier: AGPL-3.0-or-later
"""What people are told about a plan. It is taken from the plan, so what changes there changes here."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ftos.plan.explain import explain
from ftos.plan.records import Access, LandlockRule, LaunchPlan, Mount, MountFlag, MountKind, Namespace
from tests.unit.plan.golden import CASES, load


def words(plan: LaunchPlan) -> str:
    return "\n".join(line for _, lines in explain(plan) for line in lines)


def section(plan: LaunchPlan, heading: str) -> list[str]:
    return dict(explain(plan))[heading]


@pytest.mark.parametrize("case", CASES)
def test_every_place_of_the_host_that_is_shown_is_named(case: str) -> None:
    plan = load(case).plan
    told = [*section(plan, "Files that stay"), *section(plan, "Files of this device")]
    shown = [mount for mount in plan.mounts if mount.kind is MountKind.BIND]
    for mount in shown:
        source = f"{mount.source}/{mount.beneath}" if mount.beneath else mount.source
        assert any(line.startswith(f"{mount.target}: ") and source in line for line in told)
    assert len([line for line in told if line != "none"]) == len(shown)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("flags", [MountFlag(0), MountFlag.READ_ONLY])
def test_a_place_that_is_added_to_a_plan_appears(case: str, flags: MountFlag) -> None:
    """Also one that no descriptor knows: the plan is the only source."""
    plan = load(case).plan
    added = Mount(kind=MountKind.BIND, source="/srv/secret", target="/mnt/x", idmap=1, flags=flags)
    assert "/srv/secret" not in words(plan)
    (line,) = [line for line in words(replace(plan, mounts=(*plan.mounts, added))).split("\n") if "/srv/secret" in line]
    assert ("WRITABLE" in line) == (not flags)
    assert ("read-only" in line) == bool(flags)


@pytest.mark.parametrize("case", CASES)
def test_a_shared_network_is_said_loudly_and_only_then(case: str) -> None:
    plan = load(case).plan
    shared = replace(plan, namespaces=plan.namespaces & ~Namespace.NET)
    assert "SHARED WITH THIS DEVICE" in section(shared, "Network")[0]
    assert "namespaces shared with this device: net" in section(shared, "What remains")
    own = replace(plan, namespaces=plan.namespaces | Namespace.NET)
    assert section(own, "Network") == ["none: only its own loopback interface"]
    assert "SHARED" not in words(own)


def test_a_writable_directory_of_the_owner_is_said_loudly_with_what_remains() -> None:
    plan = load("documents-write").plan
    (line,) = section(plan, "Files of this device")
    assert line.startswith("/home/app/Documents: /home/alex/Documents, WRITABLE, ")
    assert any("change modes, times and attributes" in line for line in section(plan, "What remains"))
    reading = load("documents-read").plan
    assert "WRITABLE" not in words(reading)
    assert not any("change modes" in line for line in section(reading, "What remains"))


def test_rights_are_named() -> None:
    (line,) = section(load("documents-partial").plan, "Files of this device")
    assert "documents: list, read, write, create (instance documents)" in line


def test_creating_without_writing_is_explained() -> None:
    plan = load("minimal").plan
    rule = LandlockRule(path="/media/a", access=Access.MAKE_REG)
    told = section(replace(plan, landlock=(*plan.landlock, rule)), "What remains")
    assert "/media/a: files that are made there stay empty: creating is granted, writing is not" in told


def test_who_the_app_is_comes_from_the_maps() -> None:
    plan = load("minimal").plan
    assert section(plan, "Is")[0].startswith(f"user 1000 inside, {0x70000000 + 1000} on this device")
    assert section(plan, "Is")[1] == "without any capability"
    assert section(replace(plan, capabilities=3), "Is")[1] == "with capabilities 0x3"


def test_limits_are_said_where_there_are_some() -> None:
    told = section(load("limits").plan, "Limits")
    assert told[:3] == ["700 MiB of memory", "200 processes", "CPU weight 50 of 10000"]
    assert section(load("minimal").plan, "Limits") == [
        "4096 processes for each time it runs (RLIMIT_NPROC), no core dumps"
    ]


def test_a_writable_root_is_said() -> None:
    assert "read-only" in section(load("minimal").plan, "Runs")[1]
    assert "writable, changes are gone at exit" in section(load("writable-root").plan, "Runs")[1]


@pytest.mark.parametrize("case", CASES)
def test_it_is_never_claimed_that_nothing_remains(case: str) -> None:
    assert "the kernel itself: all apps and the system share one" in section(load(case).plan, "What remains")
