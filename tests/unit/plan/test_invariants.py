# SPDX-License-Identifier: AGPL-3.0-or-later
"""What no plan may break: each rule with a plan that breaks it and nothing else."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from ftos.errors import LaunchError
from ftos.plan import invariants
from ftos.plan.containers import build_container, host_bind, tools_container
from ftos.plan.invariants import check
from ftos.plan.records import FOREIGN_BASE, IdMap, LaunchPlan, Mount, MountFlag, MountKind, Namespace
from tests.unit.plan.golden import CASES, ID_BASE, load

MINIMAL = load("minimal").plan
BUILD = build_container(
    name="build",
    id_base=ID_BASE,
    layers=[Path("/store/base")],
    upper=Path("/store/upper"),
    command=["/bin/sh"],
    environment={},
    binds=[],
)


def container_map(**values: int) -> LaunchPlan:
    return replace(MINIMAL, idmaps=(replace(MINIMAL.idmaps[0], **values), *MINIMAL.idmaps[1:]))


def another_map(outside: int, count: int) -> LaunchPlan:
    return replace(MINIMAL, idmaps=(*MINIMAL.idmaps, IdMap(uid=5, gid=5, outside=outside, count=count)))


def changed(plan: LaunchPlan, kind: MountKind, change: Callable[[Mount], Mount]) -> LaunchPlan:
    return replace(plan, mounts=tuple(change(m) if m.kind is kind else m for m in plan.mounts))


def without(kind: MountKind) -> LaunchPlan:
    return replace(MINIMAL, mounts=tuple(m for m in MINIMAL.mounts if m.kind is not kind))


def doubled(kind: MountKind) -> LaunchPlan:
    return replace(MINIMAL, mounts=(*MINIMAL.mounts, next(m for m in MINIMAL.mounts if m.kind is kind)))


def bound(source: str, idmap: int = 1, beneath: str = "") -> LaunchPlan:
    mount = Mount(kind=MountKind.BIND, source=source, beneath=beneath, target="/media/x", idmap=idmap)
    return replace(MINIMAL, mounts=(*MINIMAL.mounts, mount))


BROKEN: dict[str, list[LaunchPlan]] = {
    "the user namespace does not map 65536 ids from 0": [
        container_map(uid=1),
        container_map(gid=1),
        replace(MINIMAL, idmaps=(replace(MINIMAL.idmaps[0], count=65535),)),
    ],
    "the container's ids lie where ids of the host may be": [
        replace(MINIMAL, idmaps=(replace(MINIMAL.idmaps[0], outside=outside),))
        for outside in (0, 1000, 65535, FOREIGN_BASE - 65535, FOREIGN_BASE)
    ],
    "an id map leads to ids of others": [
        another_map(0, 1),
        another_map(1000, 1),
        another_map(ID_BASE - 1, 1),
        another_map(ID_BASE + 65535, 2),
        another_map(ID_BASE + 65536, 1),
    ],
    "an app has capabilities": [replace(MINIMAL, capabilities=1)],
    "an app does not run as its own user": [replace(MINIMAL, uid=0), replace(MINIMAL, gid=0)],
    "a capability is kept that no build needs": [
        replace(BUILD, capabilities=1 << 21),
        replace(BUILD, capabilities=1 << 27),
    ],
    "the system call policy is unknown": [replace(MINIMAL, seccomp="none"), replace(MINIMAL, seccomp="")],
    "landlock has no rules": [replace(MINIMAL, landlock=())],
    "a namespace is shared with the host which never may be": [
        replace(MINIMAL, namespaces=MINIMAL.namespaces & ~shared) for shared in Namespace if shared != Namespace.NET
    ],
    "the host's abstract sockets are in reach": [
        replace(MINIMAL, namespaces=MINIMAL.namespaces & ~Namespace.NET, landlock_scopes=False)
    ],
    "there is not exactly one root mount": [without(MountKind.ROOT), doubled(MountKind.ROOT)],
    "there is not exactly one proc mount": [without(MountKind.PROC), doubled(MountKind.PROC)],
    "there is not exactly one dev mount": [without(MountKind.DEV), doubled(MountKind.DEV)],
    "/srv/x is shown without an id map": [bound("/srv/x", -1)],
    "/store/base is shown without an id map": [changed(BUILD, MountKind.LAYER, lambda m: replace(m, idmap=-1))],
    "/store/upper is shown without an id map": [changed(BUILD, MountKind.ROOT, lambda m: replace(m, idmap=-1))],
    **{
        f"{source} of the host is shown": [bound(source)]
        for source in ("/", "/proc", "/sys", "/dev", "/run", "/boot", "/etc", "/root", "/home", "/var", "/var/lib")
    },
    **{
        f"{source} of the host is shown": [bound(source)]
        for source in ("//", "/etc/", "//etc", "/var//lib", "/./home/.")
    },
    "/srv/x of the host's own system is writable": [bound("/srv/x", 0)],
    "/proc is writable": [changed(MINIMAL, MountKind.PROC, lambda m: replace(m, flags=MountFlag(0)))],
    "an app's root is writable and kept": [
        changed(MINIMAL, MountKind.ROOT, lambda m: replace(m, source="/srv/x", idmap=1))
    ],
    "a file system in memory has no limit": [
        changed(MINIMAL, MountKind.DEV, lambda m: replace(m, size=0)),
        changed(load("volumes").plan, MountKind.DISCARD, lambda m: replace(m, size=0)),
        changed(load("writable-root").plan, MountKind.ROOT, lambda m: replace(m, size=0)),
        replace(MINIMAL, mounts=(*MINIMAL.mounts, Mount(kind=MountKind.TMPFS, target="/x"))),
    ],
}


@pytest.mark.parametrize(
    ("rule", "plan"), [(rule, plan) for rule, plans in BROKEN.items() for plan in plans], ids=lambda v: str(v)[:50]
)
def test_a_plan_that_breaks_one_rule_is_refused_for_that_alone(rule: str, plan: LaunchPlan) -> None:
    with pytest.raises(LaunchError) as caught:
        check(plan)
    assert caught.value.message == f"{plan.name}: this plan is not safe and was not launched: {rule}"


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(LaunchError, match="an app has capabilities; landlock has no rules; /proc is writable"):
        check(replace(BROKEN["/proc is writable"][0], capabilities=1, landlock=()))


def test_every_rule_is_tried_here() -> None:
    rules = re.findall(r'yield f?"(.+)"', inspect.getsource(invariants))
    assert len(rules) >= 17
    untried = [rule for rule in rules if not any(re.fullmatch(_pattern(rule), tried) for tried in BROKEN)]
    assert untried == []


def _pattern(rule: str) -> str:
    """The text of an f-string as a pattern."""
    return ".+".join(re.escape(part) for part in re.split(r"{.*?}", rule))


@pytest.mark.parametrize("case", CASES)
def test_what_the_compiler_makes_breaks_none(case: str) -> None:
    check(load(case).plan)


@pytest.mark.parametrize("network", [True, False])
def test_containers_of_builds_break_none(network: bool) -> None:
    check(BUILD)
    binds = [host_bind(Path("/srv/x"), "/x")]
    check(tools_container(name="x", id_base=ID_BASE, command=["x"], environment={}, binds=binds, network=network))


def test_what_lies_below_a_directory_of_the_system_may_be_shown() -> None:
    check(bound("/home/alex"))
    check(bound("/home", beneath="alex"))
