# SPDX-License-Identifier: AGPL-3.0-or-later
"""A plan laid open: no operation and no field is left out."""

from __future__ import annotations

import json

import pytest

from ftos.plan.listing import as_builtins, hex_lines, operations
from tests.unit.plan.golden import CASES, load


@pytest.mark.parametrize("case", CASES)
def test_every_operation_has_its_line_in_order(case: str) -> None:
    plan = load(case).plan
    lines = list(operations(plan))
    mounts = [line for line in lines if line.startswith("mount ")]
    assert len(mounts) == len(plan.mounts)
    for line, mount in zip(mounts, plan.mounts, strict=True):
        assert line.split()[1] == mount.kind.name.lower()
        assert mount.target in line
        assert mount.source in line
    assert sum(line.startswith("landlock ") for line in lines) == len(plan.landlock)
    assert sum(line.startswith("idmap ") for line in lines) == len(plan.idmaps)
    assert sum(line.startswith("rlimit ") for line in lines) == len(plan.rlimits)


def test_lines_are_for_reading() -> None:
    lines = list(operations(load("documents-read").plan))
    assert "mount bind /home/alex/Documents at /home/app/Documents idmap 2 read_only no_exec create_target" in lines
    assert "idmap 2: uid 1001, gid 1002 → 1879049192, 1 ids" in lines
    assert "user 1000, group 1000, capabilities 0x0, umask 022" in lines
    assert "new namespaces: mount, cgroup, uts, ipc, pid" in list(operations(load("network").plan))


@pytest.mark.parametrize("case", CASES)
def test_plain_types_hold_every_field(case: str) -> None:
    plan = load(case).plan
    plain = as_builtins(plan)
    assert set(plain) == set(plan.__struct_fields__)
    assert json.loads(json.dumps(plain)) == plain


def test_enumerations_are_named() -> None:
    mounts = as_builtins(load("documents-read").plan)["mounts"]
    assert isinstance(mounts, list)
    assert mounts[0]["kind"] == "layer"
    assert {"read_only", "no_exec", "create_target"} in [set(mount["flags"]) for mount in mounts]


def test_bytes_are_shown_sixteen_a_line() -> None:
    assert list(hex_lines(b"FTOSPLAN\x01\x00\x00\x00\x7f\xffab!")) == [
        "00000000: 4654 4f53 504c 414e 0100 0000 7fff 6162   FTOSPLAN......ab",
        "00000010: 21                                        !",
    ]
    assert list(hex_lines(b"")) == []
