# SPDX-License-Identifier: AGPL-3.0-or-later
"""libseccomp's own compiler, as a second opinion on the filters.

In: verdicts by call name, with argument comparisons, for one ABI or a pair of them. Out: the BPF program that
libseccomp makes of them.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from itertools import product

from ftos.plan.seccomp_policy import Match
from ftos.plan.syscalls import Abi

KILL_PROCESS = 0x80000000
_ATTRIBUTE_BAD_ARCH, _ATTRIBUTE_OPTIMIZE = 2, 8
_MASKED_EQUAL = 7

Wanted = tuple[str, int, tuple[Match, ...]]
"""Name, verdict, and what the arguments must all be."""


class _Comparison(ctypes.Structure):
    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("mask", ctypes.c_uint64), ("value", ctypes.c_uint64))


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_release.argtypes = [ctypes.c_void_p]
    library.seccomp_release.restype = None
    for name, argtypes in {
        "seccomp_arch_add": [ctypes.c_void_p, ctypes.c_uint32],
        "seccomp_arch_remove": [ctypes.c_void_p, ctypes.c_uint32],
        "seccomp_attr_set": [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32],
        "seccomp_rule_add_array": [
            ctypes.c_void_p,
            ctypes.c_uint32,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.POINTER(_Comparison),
        ],
        "seccomp_syscall_resolve_name": [ctypes.c_char_p],
        "seccomp_export_bpf": [ctypes.c_void_p, ctypes.c_int],
    }.items():
        getattr(library, name).argtypes = argtypes
    return library


def unknown(names: Iterable[str]) -> set[str]:
    """Those of `names` that this libseccomp has never heard of."""
    library = _library()
    return {name for name in names if library.seccomp_syscall_resolve_name(name.encode()) == -1}


def compile_wanted(wanted: Iterable[Wanted], default: int, abis: Iterable[Abi], optimize: int = 1) -> bytes:
    """A filter for `abis` that answers as wanted, else `default`; foreign ABIs are killed. All names must be known."""
    library = _library()
    context = library.seccomp_init(default)

    def done(result: int, what: str) -> None:
        if result < 0:
            raise OSError(-result, f"{what}: {os.strerror(-result)}")

    try:
        done(library.seccomp_arch_remove(context, 0), "remove the native ABI")
        for abi in abis:
            done(library.seccomp_arch_add(context, abi.audit), f"add {abi.name}")
        done(library.seccomp_attr_set(context, _ATTRIBUTE_BAD_ARCH, KILL_PROCESS), "kill foreign ABIs")
        done(library.seccomp_attr_set(context, _ATTRIBUTE_OPTIMIZE, optimize), "optimize")
        for name, verdict, matches in wanted:
            call = library.seccomp_syscall_resolve_name(name.encode())
            for values in product(*(match.values for match in matches)):
                pairs = zip(matches, values, strict=True)
                each = [_Comparison(match.argument, _MASKED_EQUAL, match.mask, value) for match, value in pairs]
                comparisons = (_Comparison * len(matches))(*each)
                done(library.seccomp_rule_add_array(context, verdict, call, len(matches), comparisons), name)
        with os.fdopen(os.memfd_create("filter", os.MFD_CLOEXEC), "w+b") as file:
            done(library.seccomp_export_bpf(context, file.fileno()), "export")
            file.seek(0)
            return file.read()
    finally:
        library.seccomp_release(context)
