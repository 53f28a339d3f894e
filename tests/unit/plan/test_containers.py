# SPDX-License-Identifier: AGPL-3.0-or-later
"""The containers in which images are made: which programs they have."""

from __future__ import annotations

from pathlib import Path

from ftos.plan.containers import host_bind, tools_container
from ftos.plan.invariants import check
from ftos.plan.records import LaunchPlan, MountKind

ID_BASE = 0x70000000


def plan(tree: Path | None) -> LaunchPlan:
    binds = [host_bind(Path("/srv/own"), "/ftos/own")]
    made = tools_container(
        name="x", id_base=ID_BASE, command=["x"], environment={}, binds=binds, network=False, tree=tree
    )
    check(made)
    return made


def test_programs_of_the_host_are_found_by_their_own_names_whether_or_not_usr_is_merged() -> None:
    sources = {mount.target: mount.source for mount in plan(None).mounts if mount.kind is MountKind.BIND}
    assert {name: sources[name] for name in ("/usr", "/bin", "/sbin", "/lib")} == {
        "/usr": "/usr",
        "/bin": "/bin",
        "/sbin": "/sbin",
        "/lib": "/lib",
    }


def test_beside_a_tree_there_is_nothing_of_the_host_but_what_is_lent() -> None:
    mounts = plan(Path("/srv/tree")).mounts
    assert [mount.source for mount in mounts if mount.kind is MountKind.BIND] == ["/srv/own"]
    assert [mount.source for mount in mounts if mount.kind is MountKind.LAYER] == ["/srv/tree"]
    assert [mount.source for mount in mounts if mount.kind is MountKind.ROOT] == ["tmpfs"]
