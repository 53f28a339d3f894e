# SPDX-License-Identifier: AGPL-3.0-or-later
"""Compiles a system call policy into the BPF program that the kernel runs before every system call.

In: the name of a policy (`ftos.plan.seccomp_policy`) and an architecture. Out: an array of struct sock_filter for the
native and the compat ABI. What always holds: another ABI and x32 kill the process, what the policy does not name
answers ENOSYS, and equal input gives equal bytes.

How it gets fast: at load the kernel runs the program once for each number of each ABI (seccomp_cache_prepare in
kernel/seccomp.c) to learn what is always allowed, and translates every instruction. So the program is a search tree
over *ranges* of numbers with one answer, weighted by how many numbers a range has, with shared verdicts and argument
checks at its end. The accumulator holds the number all the way down.

    architecture?  other → kill
      native: number → tree → argument checks → verdicts
      compat: number → tree → argument checks → verdicts
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

from ftos.errors import BadInput, Unsupported, quote
from ftos.plan.bpf import Assembler, Label, Op
from ftos.plan.seccomp_policy import ALLOW, EPERM, KILL, LOW_WORD, POLICIES, UNKNOWN, Match, Policy, Rule, refuse
from ftos.plan.syscalls import ABIS, X86_64, Abi, number

Answer = int | Rule
"""What a number leads to: a verdict (SECCOMP_RET_*, with an errno) or checks of the arguments."""

_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data (linux/seccomp.h)
_X32_FIRST, _SKIP = 0x40000000, 0xFFFFFFFF  # -1 is no call at all: the kernel itself answers ENOSYS
_NUMBERS = 512  # more than any ABI has; numbers above are tried at run time only
_MAX_EXCEPTIONS = 2


@cache
def compile_policy(policy: str, architecture: str) -> bytes:
    """The filter for the policy `app` or `build` on `x86_64` or `aarch64`: struct sock_filter[], little endian.

    Raises BadInput for another policy, Unsupported for another architecture or without libseccomp.
    """
    if policy not in POLICIES:
        raise BadInput(f"there is no system call policy {quote(policy)}", f"known are {', '.join(POLICIES)}")
    if architecture not in ABIS:
        raise Unsupported(f"no system calls are known for {quote(architecture)}", f"known are {', '.join(ABIS)}")
    native, compat = ABIS[architecture]
    code = Assembler()
    of_native, of_compat, not_native = Label(), Label(), Label()
    code.load(_ARCHITECTURE)
    code.branch(Op.IF_EQUAL, native.audit, of_native, not_native)
    code.place(not_native)
    code.branch(Op.IF_EQUAL, compat.audit, of_compat)
    code.leave(KILL)
    for abi, start in ((native, of_native), (compat, of_compat)):
        code.place(start)
        _emit_abi(code, answers(POLICIES[policy], abi), abi)
    return code.assemble()


def answers(policy: Policy, abi: Abi) -> dict[int, Answer]:
    """What `policy` says to each number that it names on `abi`; to all others it says UNKNOWN."""
    named: list[tuple[str, Answer]] = [(name, ALLOW) for name in policy.allowed]
    named += [(name, refuse(EPERM)) for name in policy.forbidden]
    named += policy.rules.items()
    found = ((number(name, abi), answer) for name, answer in named)
    return {at: answer for at, answer in found if at is not None}


@dataclass(frozen=True, slots=True)
class _Segment:
    """Numbers from `first` up to the next segment: all have one answer but for a few exceptions."""

    first: int
    weight: int
    answer: Answer
    exceptions: tuple[tuple[int, Answer], ...]


def _emit_abi(code: Assembler, named: Mapping[int, Answer], abi: Abi) -> None:
    edges: dict[int, Answer] = {0: UNKNOWN}
    for at in sorted(named):
        edges[at] = named[at]
        edges.setdefault(at + 1, UNKNOWN)
    if abi is X86_64:
        edges |= {_X32_FIRST: KILL, _SKIP: UNKNOWN}
    starts = {answer: Label() for answer in edges.values()}
    verdicts = {answer: start for answer, start in starts.items() if isinstance(answer, int)}
    rules = [answer for answer in starts if isinstance(answer, Rule)]
    for rule in rules:
        for verdict in (rule.then, rule.otherwise):
            verdicts.setdefault(verdict, Label())
    code.load(_NUMBER)
    _emit_search(code, _segments(edges), starts)
    for rule in rules:
        code.place(starts[rule])
        _emit_rule(code, rule, verdicts)
    for verdict, start in verdicts.items():
        code.place(start)
        code.leave(verdict)


def _segments(edges: Mapping[int, Answer]) -> list[_Segment]:
    """Cut the numbers so that the fewest instructions decide: one for each exception, one for each cut.

    Shortest path over the places where the answer changes; a single number with another answer than both its
    neighbours costs one comparison so, where two cuts would be two.
    """
    starts = sorted(edges)
    starts = [at for i, at in enumerate(starts) if i == 0 or edges[at] != edges[starts[i - 1]]]
    ends = [*starts[1:], _SKIP + 1]
    cost, came_from = [0], [0]
    for end in range(1, len(starts) + 1):
        best: tuple[int, int] | None = None
        widths: Counter[Answer] = Counter()
        for begin in range(end - 1, -1, -1):
            widths[edges[starts[begin]]] += ends[begin] - starts[begin]
            exceptions = widths.total() - max(widths.values())
            if exceptions > _MAX_EXCEPTIONS:
                break
            found = (cost[begin] + 1 + exceptions, begin)
            best = found if best is None else min(best, found)
        assert best is not None  # a single run has no exceptions
        cost.append(best[0])
        came_from.append(best[1])
    segments = []
    end = len(starts)
    while end:
        begin = came_from[end]
        runs = [(starts[i], ends[i], edges[starts[i]]) for i in range(begin, end)]
        main = max(runs, key=lambda run: sum(last - first for first, last, answer in runs if answer == run[2]))[2]
        others = tuple((at, answer) for first, last, answer in runs if answer != main for at in range(first, last))
        weight = max(1, min(ends[end - 1], _NUMBERS) - starts[begin])
        segments.append(_Segment(starts[begin], weight, main, others))
        end = begin
    return segments[::-1]


def _emit_search(code: Assembler, segments: Sequence[_Segment], starts: Mapping[Answer, Label]) -> None:
    """Find the segment that the accumulator is in, halving the weight with every comparison."""
    if len(segments) == 1:
        *others, last = segments[0].exceptions
        for at, answer in others:
            code.branch(Op.IF_EQUAL, at, starts[answer])
        code.branch(Op.IF_EQUAL, last[0], starts[last[1]], starts[segments[0].answer])
        return
    middle = _middle([segment.weight for segment in segments])
    halves = [(_entry(half, starts), half) for half in (segments[:middle], segments[middle:])]
    code.branch(Op.IF_AT_LEAST, segments[middle].first, halves[1][0], halves[0][0])
    for start, half in halves:
        if len(half) > 1 or half[0].exceptions:
            code.place(start)
            _emit_search(code, half, starts)


def _entry(segments: Sequence[_Segment], starts: Mapping[Answer, Label]) -> Label:
    """Where the search among `segments` begins: at the answer itself when there is nothing left to compare."""
    return starts[segments[0].answer] if len(segments) == 1 and not segments[0].exceptions else Label()


def _middle(weights: Sequence[int]) -> int:
    """The index, neither first nor past the end, that cuts `weights` most evenly."""
    below = list(accumulate(weights))
    return min(range(1, len(weights)), key=lambda i: abs(below[-1] - 2 * below[i - 1]))


def _emit_rule(code: Assembler, rule: Rule, verdicts: Mapping[int, Label]) -> None:
    """Cases one after another; within a case, match after match."""
    for case in rule.cases[:-1]:
        next_case = Label()
        _emit_case(code, case, verdicts[rule.then], next_case)
        code.place(next_case)
    _emit_case(code, rule.cases[-1], verdicts[rule.then], verdicts[rule.otherwise])


def _emit_case(code: Assembler, case: Sequence[Match], yes: Label, no: Label) -> None:
    for match in case[:-1]:
        holds = Label()
        _emit_match(code, match, holds, no)
        code.place(holds)
    _emit_match(code, case[-1], yes, no)


def _emit_match(code: Assembler, match: Match, yes: Label, no: Label) -> None:
    code.load(_ARGUMENTS + 8 * match.argument)  # the low word: all ABIs here are little endian
    if match.values == (0,):
        code.branch(Op.IF_ANY_BIT, match.mask, no, yes)
        return
    if match.mask != LOW_WORD:
        code.mask(match.mask)
    for value in match.values[:-1]:
        code.branch(Op.IF_EQUAL, value, yes)
    code.branch(Op.IF_EQUAL, match.values[-1], yes, no)
