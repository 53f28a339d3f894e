# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs by itself, in a process of its own: puts on a filter, makes system calls, tells what came of them.

Arguments: the filter in hex or "" for none, then either `probe` (stdin: JSON list of [gate, number, arguments...];
stdout: JSON list of results, negative ones are errnos; gate is "native" or "int80") or `exec` and a command.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import sys

PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2


class Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def confine(libc: ctypes.CDLL, program: bytes) -> None:
    """Load the filter for good; raises OSError when the kernel refuses it."""
    fprog = Program(len(program) // 8, program)
    for call in ((PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(fprog), 0, 0)):
        if libc.prctl(*call):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def int80(number: int, first: int = 0, second: int = 0) -> int:
    """An i386 system call from an x86_64 process."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    # push rbx; mov eax, edi; mov ebx, esi; mov ecx, edx; int 0x80; pop rbx; ret
    code.write(bytes.fromhex("53 89f8 89f3 89d1 cd80 5b c3"))
    start = ctypes.addressof(ctypes.c_char.from_buffer(code))
    call = ctypes.CFUNCTYPE(ctypes.c_int32, ctypes.c_int, ctypes.c_uint32, ctypes.c_uint32)(start)
    return int(call(number, first, second))


def main() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.syscall.argtypes = [ctypes.c_long] + [ctypes.c_ulong] * 6
    program, action, *command = sys.argv[1:]
    probes = json.load(sys.stdin) if action == "probe" else []
    if program:
        confine(libc, bytes.fromhex(program))
    if action == "exec":
        os.execv(command[0], command)
    results = []
    for gate, number, *args in probes:
        if gate == "int80":
            results.append(int80(number, *args))
            continue
        result = libc.syscall(number, *args, *[0] * (6 - len(args)))
        results.append(-ctypes.get_errno() if result == -1 else result)
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
