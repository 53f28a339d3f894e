# SPDX-License-Identifier: AGPL-3.0-or-later
"""Damaged plan bytes are a clean error of the engine, before anything is done."""

from __future__ import annotations

import random
import struct

import pytest

from ftos._native import launch
from ftos.errors import LaunchError
from ftos.plan.encode import HEADER, checksum
from ftos.runtime.container import plan_bytes
from tests.sandbox.harness import Sandbox

CHECKSUM_AT = 16
TRIALS = 3000


@pytest.fixture(scope="module")
def data(shared_sandbox: Sandbox) -> bytes:
    """A real plan."""
    shared_sandbox.image = "volumes:\n  - {name: kept, class: data, path: /srv/kept}\n"
    shared_sandbox.prepare()
    return plan_bytes(shared_sandbox.plan)


def accepted(data: bytes) -> bool:
    """Whether the engine would launch it; any error but a LaunchError fails the test."""
    try:
        launch.check(data)
    except LaunchError:
        return False
    return True


def signed(data: bytes) -> bytes:
    """With the checksum that the content has."""
    return data[:CHECKSUM_AT] + struct.pack("<Q", checksum(data)) + data[CHECKSUM_AT + 8 :]


def test_the_plan_itself_is_accepted(data: bytes) -> None:
    assert accepted(data)
    assert signed(data) == data


def test_every_truncation_is_refused(data: bytes) -> None:
    assert [size for size in range(len(data)) if accepted(data[:size])] == []


def test_every_single_bit_is_covered(data: bytes) -> None:
    damaged = bytearray(data)
    for at in range(len(data)):
        damaged[at] ^= 1 << (at % 8)
        assert not accepted(bytes(damaged)), at
        damaged[at] ^= 1 << (at % 8)


def test_whoever_can_compute_the_checksum_crashes_nothing(data: bytes) -> None:
    """Bits of the header and of the records, several at once, and whole words of extreme values."""
    choices = random.Random(20)
    size = min(2048, len(data))
    values = (0, 1, 7, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF8, len(data), len(data) - 8)
    refused = 0
    for trial in range(TRIALS):
        damaged = bytearray(data)
        if trial % 2:
            struct.pack_into("<I", damaged, choices.randrange(8, size) & ~3, choices.choice(values))
        else:
            for _ in range(choices.randint(1, 4)):
                damaged[choices.randrange(8, size)] ^= 1 << choices.randrange(8)
        refused += not accepted(signed(bytes(damaged)))
    assert refused > TRIALS // 10


SECTIONS = ("idmaps", "mounts", "landlock", "seccomp", "strings", "rlimits")


@pytest.mark.parametrize(
    ("name", "count"),
    [(name, count) for name in SECTIONS for count in (0x7FFFFFFF, 0xFFFFFFFF)] + [(name, 0) for name in SECTIONS[:-1]],
)
def test_impossible_counts_are_refused(data: bytes, name: str, count: int) -> None:
    header = HEADER.parse(data)
    at = data.index(struct.pack("<II", header[name].offset, header[name].count))
    damaged = bytearray(data)
    struct.pack_into("<I", damaged, at + 4, count)
    assert not accepted(signed(bytes(damaged)))


@pytest.mark.parametrize("junk", [b"", b"\0", b"FTOSPLAN", b"\0" * 4096, b"\xff" * 4096, b"FTOSPLAN" * 512])
def test_junk_is_refused(junk: bytes) -> None:
    assert not accepted(junk)
