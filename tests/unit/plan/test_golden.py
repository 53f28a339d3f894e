# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plans and configuration layers of representative deployments, as they were found right by a person.

    tests/golden/<case>/image.yml, deployment.yml   what goes in; with osbase.yml and services/ for all cases
    tests/golden/<case>/plan.json, layer.json       what comes out

After a change that is meant: `FTOS_UPDATE_GOLDEN=1 make test T=tests/unit/plan/test_golden.py`, and read the diff.
"""

from __future__ import annotations

import json
import os

import msgspec
import pytest

from ftos._native import launch
from ftos.plan.invariants import check
from ftos.plan.listing import as_builtins
from tests.unit.plan.golden import CASES, GOLDEN, encoded, load


def compare(case: str, name: str, value: object) -> None:
    path = GOLDEN / case / name
    text = json.dumps(value, indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("FTOS_UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def test_there_are_cases() -> None:
    assert {"minimal", "volumes", "network"} <= set(CASES)


@pytest.mark.parametrize("case", CASES)
def test_the_plan_is_as_it_was(case: str) -> None:
    compare(case, "plan.json", as_builtins(load(case).plan))


@pytest.mark.parametrize("case", CASES)
def test_the_layer_is_as_it_was(case: str) -> None:
    compare(case, "layer.json", msgspec.to_builtins(load(case).layer))


@pytest.mark.parametrize("case", CASES)
def test_the_engine_accepts_the_plan(case: str) -> None:
    check(load(case).plan)
    launch.check(encoded(load(case).plan))
