# SPDX-License-Identifier: AGPL-3.0-or-later
"""The assembler against the machine, with jumps farther than one instruction can reach."""

from __future__ import annotations

import pytest

from ftos.plan.bpf import Assembler, Label, Op
from tests.unit.plan.bpf_machine import decode, run, simulate

ARCH = 0xC000003E


def chain(length: int) -> bytes:
    """Number n answers 1000 + n for n < length, all others 1: every comparison jumps over all that follow."""
    code = Assembler()
    found = [Label() for _ in range(length)]
    code.load(0)
    for n, label in enumerate(found):
        code.branch(Op.IF_EQUAL, n, label)
    code.leave(1)
    for n, label in enumerate(found):
        code.place(label)
        code.leave(1000 + n)
    return code.assemble()


@pytest.mark.parametrize("length", [1, 100, 127, 128, 129, 255, 256, 257, 700])
def test_jumps_reach_their_label_at_any_distance(length: int) -> None:
    code = decode(chain(length))
    assert [run(code, ARCH, n)[0] for n in range(length + 1)] == [1000 + n for n in range(length)] + [1]


def test_no_bridge_is_built_where_the_jump_reaches() -> None:
    assert len(decode(chain(100))) == 1 + 100 + 1 + 100


def test_both_sides_of_a_comparison_may_be_far() -> None:
    code = Assembler()
    yes, no = Label(), Label()
    code.load(0)
    code.branch(Op.IF_AT_LEAST, 5, yes, no)
    for _ in range(300):
        code.leave(9)
    code.place(yes)
    code.leave(1)
    code.place(no)
    code.leave(2)
    program = code.assemble()
    assert [simulate(program, ARCH, n) for n in (4, 5, 6)] == [2, 1, 1]


def test_a_program_longer_than_the_kernel_takes_is_refused() -> None:
    code = Assembler()
    for _ in range(4097):
        code.leave(0)
    with pytest.raises(ValueError, match="4097 instructions"):
        code.assemble()


@pytest.mark.parametrize(
    "program",
    [
        b"",
        b"\x06\0\0\0\0\0\0",  # half an instruction
        bytes.fromhex("2000000000000000"),  # runs off the end
        bytes.fromhex("05000000010000000600000000000000"),  # jumps past the end
        bytes.fromhex("20000000400000000600000000000000"),  # loads beyond struct seccomp_data
    ],
)
def test_the_machine_refuses_what_the_kernel_refuses(program: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        decode(program)
