# SPDX-License-Identifier: AGPL-3.0-or-later
"""A machine for seccomp's classic BPF, independent of the assembler, as strict as the kernel's checker.

In: a program's bytes and one system call (AUDIT_ARCH_*, number, arguments). Out: the verdict and how many instructions
it took. What seccomp_check_filter (kernel/seccomp.c) would refuse, as a jump out of the program, is a ValueError.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import cache

Instruction = tuple[int, int, int, int]


@cache
def decode(program: bytes) -> tuple[Instruction, ...]:
    """struct sock_filter[] → (code, jt, jf, k); checks lengths, jumps and the last instruction as the kernel does."""
    if len(program) % 8 or not 0 < len(program) // 8 <= 4096:
        raise ValueError("not an array of at most 4096 struct sock_filter")
    code = tuple(struct.iter_unpack("<HBBI", program))
    for at, (op, yes, no, k) in enumerate(code):
        farthest = {0x05: k}.get(op, max(yes, no) if op & 7 == 5 else 0)
        if at + 1 + farthest >= len(code) + (op == 0x06):
            raise ValueError(f"instruction {at} leads out of the program")
        if op == 0x20 and (k % 4 or k >= 64):
            raise ValueError(f"instruction {at} loads from outside struct seccomp_data")
    return code


def run(code: Sequence[Instruction], arch: int, nr: int, args: Sequence[int] = ()) -> tuple[int, int]:
    """(verdict, instructions executed) for one call; missing arguments are 0."""
    data = struct.pack("<IIQ6Q", nr, arch, 0, *args, *[0] * (6 - len(args)))
    accumulator = at = steps = 0
    while True:
        op, yes, no, k = code[at]
        at += 1
        steps += 1
        match op:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x15:
                at += yes if accumulator == k else no
            case 0x25:
                at += yes if accumulator > k else no
            case 0x35:
                at += yes if accumulator >= k else no
            case 0x45:
                at += yes if accumulator & k else no
            case 0x06:
                return k, steps
            case _:
                raise ValueError(f"instruction {op:#x} at {at - 1}")


def simulate(program: bytes, arch: int, nr: int, args: Sequence[int] = ()) -> int:
    """The verdict (SECCOMP_RET_*) of `program` on one call."""
    return run(decode(program), arch, nr, args)[0]
