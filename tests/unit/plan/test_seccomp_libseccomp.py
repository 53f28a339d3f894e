# SPDX-License-Identifier: AGPL-3.0-or-later
"""Our programs answer exactly as those which libseccomp makes of the same policy, number for number.

libseccomp can't say "this errno for this call, ENOSYS for unknown ones" in one filter when the first depends on
arguments, so there is one filter of it for the classes and one for each ruled call.
"""

from __future__ import annotations

from itertools import product

import pytest

from ftos.plan.seccomp import compile_policy
from ftos.plan.seccomp_policy import ALLOW, EPERM, LOW_WORD, POLICIES, UNKNOWN, Match, Rule, refuse
from ftos.plan.syscalls import ABIS, NEWER, X86_64, Abi, number
from tests.unit.plan.bpf_machine import decode, run
from tests.unit.plan.libseccomp import Wanted, compile_wanted, unknown

WHERE = [(architecture, abi) for architecture, pair in ABIS.items() for abi in pair]
each_abi = pytest.mark.parametrize(("architecture", "abi"), WHERE, ids=[abi.name for _, abi in WHERE])
each_policy = pytest.mark.parametrize("policy", POLICIES)

NUMBERS = [*range(1100), *range(0xEFFF0, 0xF0020), 0x3FFFFFFF, *range(0x40000000, 0x40000258), 0x7FFFFFFF, 0x80000000]
NUMBERS += [0xBFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFF]


def known_classes(policy: str) -> list[Wanted]:
    data = POLICIES[policy]
    named = dict.fromkeys(data.allowed, ALLOW) | dict.fromkeys(data.forbidden, refuse(EPERM))
    foreign = unknown(named)
    assert foreign <= NEWER.keys()
    return [(name, verdict, ()) for name, verdict in sorted(named.items()) if name not in foreign]


@each_policy
@each_abi
def test_every_number_gets_libseccomps_verdict(policy: str, architecture: str, abi: Abi) -> None:
    ours = decode(compile_policy(policy, architecture))
    theirs = decode(compile_wanted(known_classes(policy), UNKNOWN, [abi]))
    data = POLICIES[policy]
    elsewhere = {number(name, abi) for name in {*data.rules, *unknown(data.allowed | data.forbidden)}}
    compared = [nr for nr in NUMBERS if nr not in elsewhere]
    assert [nr for nr in compared if run(ours, abi.audit, nr)[0] != run(theirs, abi.audit, nr)[0]] == []
    assert abi is not X86_64 or run(theirs, abi.audit, 0x40000000)[0] == 0x80000000


def interesting(rule: Rule, argument: int) -> list[int]:
    """Values around everything that the rule compares this argument with, and beyond its 32 bits."""
    found = {0, LOW_WORD, 1 << 32, 2**64 - 1}
    for match in (match for case in rule.cases for match in case if match.argument == argument):
        bits = [1 << bit for bit in range(32) if match.mask >> bit & 1 and match.mask != LOW_WORD]
        for value in (*match.values, match.mask, ~match.mask & LOW_WORD, *bits):
            found |= {value, (value + 1) & LOW_WORD, (value - 1) & LOW_WORD, value | 0x123 << 32, value | 1 << 31}
    return sorted(found)


@each_policy
@each_abi
def test_every_ruled_call_gets_libseccomps_verdict_on_its_arguments(policy: str, architecture: str, abi: Abi) -> None:
    ours = decode(compile_policy(policy, architecture))
    for name, rule in POLICIES[policy].rules.items():
        nr = number(name, abi)
        if nr is None or unknown([name]):
            continue
        theirs = decode(compile_wanted([(name, rule.then, case) for case in rule.cases], rule.otherwise, [abi]))
        used = {match.argument for case in rule.cases for match in case}
        grid = product(*(interesting(rule, argument) if argument in used else [0] for argument in range(max(used) + 1)))
        word = LOW_WORD if abi.audit < 1 << 31 else 2**64 - 1  # a 32-bit ABI has no higher bits
        verdicts = set()
        for values in grid:
            args = [value & word for value in values]
            verdict = run(ours, abi.audit, nr, args)[0]
            assert verdict == run(theirs, abi.audit, nr, args)[0], (name, args)
            verdicts.add(verdict)
        assert verdicts == {rule.then, rule.otherwise}, name


def test_the_second_opinion_is_one() -> None:
    """Were a rule missing in ours, libseccomp's program would tell."""
    wanted: list[Wanted] = [("ioctl", refuse(EPERM), (Match(1, (0x5412,)),))]
    theirs = decode(compile_wanted(wanted, ALLOW, [X86_64]))
    assert [run(theirs, X86_64.audit, 16, [0, request])[0] for request in (0x5412, 0x5413)] == [refuse(EPERM), ALLOW]


@pytest.mark.parametrize("architecture", ABIS)
def test_our_program_is_the_shorter_one(architecture: str) -> None:
    """Length is what loading costs most (translation), steps per number come next (the kernel tries each one)."""
    data = POLICIES["app"]
    wanted = known_classes("app")
    missing = unknown(data.rules)
    for name, rule in data.rules.items():
        wanted += [(name, rule.then, case) for case in rule.cases if name not in missing]
    ours = decode(compile_policy("app", architecture))
    for optimize in (1, 2):
        theirs = decode(compile_wanted(wanted, UNKNOWN, ABIS[architecture], optimize))
        assert len(ours) * 2 < len(theirs)
        for abi in ABIS[architecture]:
            our_steps, their_steps = (sum(run(code, abi.audit, nr)[1] for nr in range(470)) for code in (ours, theirs))
            assert our_steps < their_steps
