# SPDX-License-Identifier: AGPL-3.0-or-later
"""Plan bytes: written and read again they are the same plan; what is no whole plan is refused with one clear error."""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from ftos._native import launch
from ftos.errors import LaunchError
from ftos.plan.encode import HEADER, decode, encode
from ftos.plan.records import CgroupLimits, LaunchPlan, ResourceLimit
from ftos.plan.seccomp import compile_policy
from tests.native.plan_bytes import PlanBytes
from tests.unit.plan.golden import CASES, build, encoded, load

PROGRAM = compile_policy("app", "x86_64")
MINIMAL = load("minimal").plan


def without_words(plan: LaunchPlan) -> LaunchPlan:
    """What bytes do not hold is left out."""
    return replace(plan, seccomp="", mounts=tuple(replace(mount, purpose="") for mount in plan.mounts))


@pytest.mark.parametrize("case", CASES)
def test_decoding_gives_back_what_was_encoded(case: str) -> None:
    plan = load(case).plan
    assert decode(encoded(plan)) == (without_words(plan), PROGRAM)


def test_every_field_survives() -> None:
    plan = replace(
        MINIMAL,
        capabilities=1 << 40 | 1,
        landlock_scopes=False,
        umask=0o077,
        oom_score_adj=-1000,
        rlimits=(ResourceLimit(resource=0, soft=-1, hard=-1),),
        environment=(("EMPTY", ""), ("EQUALS", "a=b=c"), ("NAME", "zwei\nZeilen, ü, \udcff")),
        command=("/bin/ü", "", "", '":,\\'),
        limits=CgroupLimits(memory=1 << 40, pids=7, cpu_weight=10000),
    )
    assert decode(encode(plan, PROGRAM)) == (without_words(plan), PROGRAM)
    launch.check(encode(plan, PROGRAM))


def test_no_environment_is_no_environment() -> None:
    plan = replace(MINIMAL, environment=())
    assert decode(encode(plan, PROGRAM))[0].environment == ()


@pytest.mark.parametrize("case", CASES)
def test_equal_plans_give_equal_bytes(case: str) -> None:
    plan = load(case).plan
    assert encoded(plan) == encoded(build(load(case).image, load(case).deployment).plan)


def test_words_for_people_are_not_in_the_bytes() -> None:
    assert encode(without_words(MINIMAL), PROGRAM) == encode(MINIMAL, PROGRAM)


def test_a_number_that_does_not_fit_is_an_error_and_no_traceback() -> None:
    plan = replace(MINIMAL, limits=CgroupLimits(memory=1 << 64))
    with pytest.raises(LaunchError, match=r"^probe-one: a value of this plan is out of range: "):
        encode(plan, PROGRAM)


@pytest.mark.parametrize("length", [0, 7, 151, 152, len(encoded(MINIMAL)) - 1])
def test_a_cut_plan_is_refused(length: int) -> None:
    with pytest.raises(LaunchError, match=r"^the launch plan can't be read: "):
        decode(encoded(MINIMAL)[:length])


@pytest.mark.parametrize(
    "change",
    [
        {"magic": 0},
        {"version": 2},
        {"mounts_count": 0xFFFFFFFF},
        {"mounts_offset": 0xFFFFFFF8},
        {"idmaps_offset": 1 << 31, "idmaps_count": 1},
    ],
)
def test_a_wrong_header_is_refused(change: dict[str, int]) -> None:
    data = PlanBytes(encoded(MINIMAL)).header(**change).sealed()
    with pytest.raises(LaunchError, match=r"^the launch plan can't be read: "):
        decode(data)


def test_an_unknown_kind_of_mount_is_refused() -> None:
    with pytest.raises(LaunchError, match="99 is not a valid MountKind"):
        decode(PlanBytes(encoded(MINIMAL)).record("mounts", 0, kind=99).sealed())


def test_a_size_that_is_no_multiple_of_eight_is_refused() -> None:
    data = bytearray(encoded(MINIMAL)[:-3])
    data[12:16] = len(data).to_bytes(4, "little")
    with pytest.raises(LaunchError, match=r"^the launch plan can't be read: "):
        decode(bytes(data))


def test_damage_is_an_error_and_nothing_else() -> None:
    """Whatever is changed, with the checksum made right: `decode` gives a plan or its one error."""
    generator = random.Random(1)
    data = encoded(MINIMAL)
    outcomes = set()
    for _ in range(150):
        plan = PlanBytes(data)
        for _ in range(3):
            plan.data[generator.randrange(16, HEADER.sizeof() + 600)] = generator.randrange(256)
        try:
            decode(plan.sealed())
            outcomes.add("plan")
        except LaunchError:
            outcomes.add("error")
    assert outcomes == {"plan", "error"}
