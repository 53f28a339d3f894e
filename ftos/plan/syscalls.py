# SPDX-License-Identifier: AGPL-3.0-or-later
"""System call numbers by name, for the native and the compat interface of an architecture.

In: a name as in syscalls(2), and an ABI. Out: its number there, or None where that ABI has no such call. libseccomp
knows the numbers; what is newer than the libseccomp of a distro is in `NEWER`. A name that neither knows is an error,
never silently left out of a policy.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache

from ftos.errors import Unsupported, quote


@dataclass(frozen=True, slots=True)
class Abi:
    """One system call interface. `audit` is its AUDIT_ARCH_* (linux/audit.h), which is libseccomp's token too."""

    name: str
    audit: int


X86_64 = Abi("x86_64", 0xC000003E)
I386 = Abi("i386", 0x40000003)
AARCH64 = Abi("aarch64", 0xC00000B7)
ARM = Abi("arm", 0x40000028)

ABIS: dict[str, tuple[Abi, Abi]] = {"x86_64": (X86_64, I386), "aarch64": (AARCH64, ARM)}
"""Architecture (as `uname -m` has it) → native ABI, compat ABI."""

NEWER: dict[str, int] = {
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
}
"""Calls that libseccomp 2.5.4 (Debian 12) may not know. Since 424 a new call has one number on all architectures."""

_UNKNOWN_NAME = -1  # __NR_SCMP_ERROR; other negative numbers mean "known, but not on this ABI", or see _by_number
_LAST_NUMBER = 1023  # well above any that a kernel has assigned in the main range


@cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError:
        hint = "install the package libseccomp2 (Alpine: libseccomp)"
        raise Unsupported("libseccomp is not installed", hint) from None
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    library.seccomp_syscall_resolve_name_arch.restype = ctypes.c_int
    library.seccomp_syscall_resolve_num_arch.argtypes = [ctypes.c_uint32, ctypes.c_int]
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    return library


@cache
def _by_number(abi: Abi) -> dict[str, int]:
    """Name → number, asked the other way round.

    For i386 libseccomp resolves `socket`, `shmget` and their like to pseudo numbers, as parts of the old `socketcall`
    and `ipc`; yet since Linux 4.3 and 5.1 they are calls of their own. Asked by number it knows them.
    """
    free = ctypes.CDLL(None).free
    free.argtypes = [ctypes.c_void_p]
    found = {}
    for at in range(_LAST_NUMBER + 1):
        name = _library().seccomp_syscall_resolve_num_arch(abi.audit, at)
        if name:
            found[ctypes.string_at(name).decode()] = at
            free(name)
    return found


def number(name: str, abi: Abi) -> int | None:
    """The number of the system call `name`, None where `abi` has none. Raises Unsupported for an unknown name."""
    resolved: int = _library().seccomp_syscall_resolve_name_arch(abi.audit, name.encode())
    if resolved == _UNKNOWN_NAME:
        if name not in NEWER:
            hint = "libseccomp 2.5.4 or newer is needed"
            raise Unsupported(f"libseccomp does not know the system call {quote(name)}", hint)
        return NEWER[name]
    return resolved if resolved >= 0 else _by_number(abi).get(name)
