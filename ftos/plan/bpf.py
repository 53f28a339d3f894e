# SPDX-License-Identifier: AGPL-3.0-or-later
"""A small assembler for the classic BPF that seccomp(2) takes.

In: loads, jumps to labels, returns. Out: an array of struct sock_filter (linux/filter.h), 8 bytes each, little endian.
Conditional jumps reach 255 instructions and forward only; where a label is farther, a plain jump behind the
conditional one carries on, so callers need not care for distances.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_NEAR = 255


class Op(IntEnum):
    """The instructions in use, by their code in struct sock_filter."""

    LOAD = 0x20  # A = 32-bit word at offset k of struct seccomp_data
    AND = 0x54  # A &= k
    GOTO = 0x05
    IF_EQUAL = 0x15
    IF_AT_LEAST = 0x35
    IF_ANY_BIT = 0x45
    RETURN = 0x06


@dataclass(eq=False, slots=True)
class Label:
    """A place in the program, known once it was given to `Assembler.place`."""


@dataclass(eq=False, slots=True)
class _Plain:
    op: Op
    k: int


@dataclass(eq=False, slots=True)
class _Goto:
    target: Label


@dataclass(eq=False, slots=True)
class _If:
    op: Op
    k: int
    yes: Label
    no: Label


class Assembler:
    """Collects one program in order; every label that is jumped to must be placed later than the jump."""

    def __init__(self) -> None:
        self._items: list[_Plain | _Goto | _If | Label] = []

    def place(self, label: Label) -> None:
        self._items.append(label)

    def load(self, offset: int) -> None:
        self._items.append(_Plain(Op.LOAD, offset))

    def mask(self, bits: int) -> None:
        self._items.append(_Plain(Op.AND, bits))

    def leave(self, verdict: int) -> None:
        self._items.append(_Plain(Op.RETURN, verdict))

    def goto(self, target: Label) -> None:
        self._items.append(_Goto(target))

    def branch(self, op: Op, k: int, yes: Label, no: Label | None = None) -> None:
        """Jump to `yes` when A compares so with k, else to `no`, by default the next instruction."""
        following = Label()
        self._items.append(_If(op, k, yes, no or following))
        if no is None:
            self.place(following)

    def assemble(self) -> bytes:
        """The program's bytes. Raises ValueError when it is longer than the kernel takes."""
        while True:
            positions, length = self._positions()
            if not self._bridge_far_jump(positions):
                break
        if length > MAX_INSTRUCTIONS:
            raise ValueError(f"a BPF program of {length} instructions; the kernel takes {MAX_INSTRUCTIONS}")
        program = bytearray()
        here = 0
        for item in self._items:
            if isinstance(item, Label):
                continue
            here += 1
            match item:
                case _Plain(op, k):
                    program += struct.pack("<HBBI", op, 0, 0, k)
                case _Goto(target):
                    program += struct.pack("<HBBI", Op.GOTO, 0, 0, positions[target] - here)
                case _If(op, k, yes, no):
                    program += struct.pack("<HBBI", op, positions[yes] - here, positions[no] - here, k)
        return bytes(program)

    def _positions(self) -> tuple[dict[Label, int], int]:
        positions: dict[Label, int] = {}
        here = 0
        for item in self._items:
            if isinstance(item, Label):
                positions[item] = here
            else:
                here += 1
        return positions, here

    def _bridge_far_jump(self, positions: dict[Label, int]) -> bool:
        """Put a plain jump behind the first conditional one that can't reach its target; False when there is none."""
        here = 0
        for index, item in enumerate(self._items):
            if isinstance(item, Label):
                continue
            here += 1
            if not isinstance(item, _If):
                continue
            for side in ("yes", "no"):
                target: Label = getattr(item, side)
                if positions[target] - here > _NEAR:
                    bridge = Label()
                    setattr(item, side, bridge)
                    self._items[index + 1 : index + 1] = [bridge, _Goto(target)]
                    return True
        return False
