# SPDX-License-Identifier: AGPL-3.0-or-later
"""Names become numbers, on each ABI, and a wrong name never vanishes."""

from __future__ import annotations

import os

import pytest

from ftos.errors import Unsupported
from ftos.plan.seccomp_policy import POLICIES
from ftos.plan.syscalls import AARCH64, ABIS, ARM, I386, NEWER, X86_64, Abi, number

ALL_ABIS = [abi for pair in ABIS.values() for abi in pair]


@pytest.mark.parametrize(
    ("abi", "name", "expected"),
    [
        (X86_64, "read", 0),
        (X86_64, "openat", 257),
        (I386, "openat", 295),
        (AARCH64, "openat", 56),
        (ARM, "openat", 322),
        (ARM, "set_tls", 0xF0005),
        (I386, "socketcall", 102),
        (I386, "socket", 359),
        (I386, "recvmmsg", 337),
        (I386, "accept4", 364),
        (I386, "shmget", 395),
        (ARM, "shmget", 307),
        (I386, "clock_gettime64", 403),
    ],
)
def test_a_name_has_the_number_of_its_abi(abi: Abi, name: str, expected: int) -> None:
    assert number(name, abi) == expected


@pytest.mark.parametrize(
    ("abi", "name"),
    [
        (X86_64, "socketcall"),
        (X86_64, "set_tls"),
        (I386, "accept"),
        (I386, "semop"),
        (AARCH64, "open"),
        (AARCH64, "fork"),
    ],
)
def test_a_call_that_an_abi_lacks_has_no_number(abi: Abi, name: str) -> None:
    assert number(name, abi) is None


@pytest.mark.parametrize("abi", ALL_ABIS, ids=lambda abi: abi.name)
def test_a_typo_is_an_error(abi: Abi) -> None:
    with pytest.raises(Unsupported, match="does not know the system call 'opennat'") as caught:
        number("opennat", abi)
    assert "libseccomp" in caught.value.hint


@pytest.mark.parametrize("name", NEWER)
def test_calls_newer_than_libseccomp_have_their_one_number_everywhere(name: str) -> None:
    # memory for shadow stacks is a matter of 64 bits: a libseccomp that knows the call may know it to be absent
    assert {number(name, abi) for abi in ALL_ABIS} <= {NEWER[name], None}
    assert number(name, X86_64) == NEWER[name]


@pytest.mark.parametrize("policy", POLICIES.values(), ids=POLICIES)
def test_every_name_in_a_policy_exists_on_some_abi(policy: object) -> None:
    names = [name for group in ("allowed", "rules", "forbidden", "absent") for name in getattr(policy, group)]
    assert [name for name in names if all(number(name, abi) is None for abi in ALL_ABIS)] == []


def test_the_names_of_this_kernel_headers_agree() -> None:
    """Against numbers that the C library's callers use, by doing two of the calls for real."""
    import ctypes

    native, _ = ABIS[os.uname().machine]
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.syscall(number("getpid", native)) == os.getpid()
    assert libc.syscall(number("getppid", native)) == os.getppid()
