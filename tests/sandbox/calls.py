# SPDX-License-Identifier: AGPL-3.0-or-later
"""The table of system calls which an app is refused: name, arguments, errno when unblocked, errno expected.

Arguments are bad descriptors and pointers, so an unblocked call changes nothing, even for root. Where "when unblocked"
does not come of a control, this kernel lacks the call, or something else stands before it: nothing is learnt.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from ftos.plan.syscalls import ABIS, number

NATIVE, COMPAT = ABIS[os.uname().machine]
BAD_FD, BAD = 2**64 - 1, 8
HIGH = 0x123 << 32
"""Bits which the kernel ignores in a 32-bit argument, and a filter must ignore too."""
KILLED = "signal 31"
EPERM, EBADF, ECHILD, EFAULT, EINVAL, ENOSYS, EAFNOSUPPORT, ENOPROTOOPT = 1, 9, 10, 14, 22, 38, 97, 92
ESRCH, ENOTTY, EPROTONOSUPPORT, ESOCKTNOSUPPORT, DONE = 3, 25, 93, 94, 0
NEW = {
    "time": 0x80,
    "mount": 0x20000,
    "cgroup": 0x2000000,
    "uts": 0x4000000,
    "ipc": 0x8000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
}
"""CLONE_NEW*."""
FAMILIES = {
    "alg": 38,
    "ax25": 3,
    "appletalk": 5,
    "packet": 17,
    "key": 15,
    "rds": 21,
    "can": 29,
    "tipc": 30,
    "bluetooth": 31,
    "iucv": 32,
    "nfc": 39,
    "vsock": 40,
    "kcm": 41,
    "qipcrtr": 42,
    "smc": 43,
    "xdp": 44,
    "mctp": 45,
}
SIGCHLD, NO_THREAD = 17, 0x10000 | 0x800


class Call(NamedTuple):
    name: str
    arguments: tuple[int, ...]
    unblocked: tuple[int, ...]
    expected: int | str
    gate: str = "native"
    what: str = ""

    @property
    def label(self) -> str:
        return "-".join(part for part in (self.gate if self.gate != "native" else "", self.name, self.what) if part)

    @property
    def line(self) -> str:
        """What the probe program reads."""
        found = number(self.name, COMPAT if self.gate == "compat" else NATIVE)
        assert found is not None, self
        return " ".join([self.gate, str(found), *(hex(argument) for argument in self.arguments)])


def _denied(name: str, *arguments: int, unblocked: int | tuple[int, ...] = EFAULT, what: str = "") -> Call:
    return Call(name, arguments, unblocked if isinstance(unblocked, tuple) else (unblocked,), EPERM, what=what)


def _absent(name: str, *arguments: int, unblocked: int | tuple[int, ...] = EFAULT) -> Call:
    return Call(name, arguments, unblocked if isinstance(unblocked, tuple) else (unblocked,), ENOSYS)


def _namespaces() -> list[Call]:
    calls = [_denied("unshare", flag, unblocked=DONE, what=name) for name, flag in NEW.items()]
    calls += [_denied("unshare", HIGH | NEW["user"], unblocked=(DONE, EINVAL), what="high-bits")]
    # With CLONE_THREAD but without CLONE_VM no clone is valid: nothing is made.
    calls += [
        _denied("clone", flag | NO_THREAD, unblocked=EINVAL, what=name) for name, flag in NEW.items() if name != "time"
    ]
    return calls


def _families() -> list[Call]:
    return [
        *(
            # The type is none that any family has: an unblocked call loads the family and makes no socket.
            Call("socket", (family, 0xF, 0), (EINVAL, ESOCKTNOSUPPORT, EPROTONOSUPPORT), EAFNOSUPPORT, what=name)
            for name, family in FAMILIES.items()
        ),
        Call("socket", (HIGH | 17, 3, 0), (DONE,), EAFNOSUPPORT, what="packet-high-bits"),
        Call("socket", (2, 3, 1), (DONE,), EAFNOSUPPORT, what="raw"),
        Call("socket", (10, 3, 58), (DONE, EAFNOSUPPORT), EAFNOSUPPORT, what="raw-6"),
        Call("socket", (2, 1, 132), (DONE, EPROTONOSUPPORT), EAFNOSUPPORT, what="sctp"),
        Call("socket", (2, 1, 262), (DONE, EPROTONOSUPPORT), EAFNOSUPPORT, what="mptcp"),
        *(
            Call("socket", (16, 3, protocol), (DONE, EPROTONOSUPPORT), EAFNOSUPPORT, what=f"netlink-{name}")
            for name, protocol in {"audit": 9, "netfilter": 12, "kobject": 15, "generic": 16, "crypto": 21}.items()
        ),
        Call("setsockopt", (BAD_FD, 6, HIGH | 31, BAD, 4), (EBADF,), ENOPROTOOPT, what="tcp-ulp"),
        Call("setsockopt", (BAD_FD, 17, 100, BAD, 4), (EBADF,), ENOPROTOOPT, what="udp-encap"),
    ]


CALLS: tuple[Call, ...] = (
    *_namespaces(),
    _denied("setns", BAD_FD, 0, unblocked=EBADF),
    _denied("mount", BAD, BAD, BAD),
    _denied("mount", BAD, BAD, BAD, 32 | 4096, what="remount"),
    _denied("umount2", BAD, 2),
    _denied("pivot_root", BAD, BAD),
    _denied("chroot", BAD),
    _absent("clone3", BAD, 0, unblocked=EINVAL),
    _absent("open_tree", BAD_FD, BAD, 0),
    _absent("move_mount", BAD_FD, BAD, BAD_FD, BAD, 0),
    _absent("fsopen", BAD, 0),
    _absent("fsconfig", BAD_FD, 0, 0, 0, 0, unblocked=(EINVAL, EBADF)),
    _absent("fsmount", BAD_FD, 0, 0, unblocked=EBADF),
    _absent("fspick", BAD_FD, BAD, 0),
    _absent("mount_setattr", BAD_FD, BAD, 0, BAD, 0, unblocked=EINVAL),
    _absent("statmount", BAD, BAD, 0, 0),
    _absent("listmount", BAD, BAD, 0, 0),
    _absent("openat2", BAD_FD, BAD, BAD, 0, unblocked=EINVAL),
    _denied("bpf", 0xFFFF, BAD, 1),
    _denied("perf_event_open", BAD),
    _denied("userfaultfd", 0xFFFF, unblocked=EINVAL),
    _absent("io_uring_setup", 1, BAD),
    _absent("io_uring_enter", BAD_FD, 0, 0, 0, unblocked=EBADF),
    _absent("io_uring_register", BAD_FD, 0, 0, 0, unblocked=(EBADF, EINVAL)),
    _denied("add_key", BAD, BAD, 0, 0, 0),
    _denied("request_key", BAD, BAD, BAD, 0),
    _denied("keyctl", 0xFFFF, unblocked=95),
    _denied("kexec_load", 0, 0, 0, 0xFFFF, unblocked=EINVAL),
    _denied("init_module", BAD, 0, BAD, unblocked=(EFAULT, 8)),
    _denied("finit_module", BAD_FD, BAD, 0, unblocked=(EBADF, EFAULT)),
    _denied("delete_module", BAD, 0),
    _denied("reboot", 0, 0, 0, unblocked=EINVAL),
    _denied("swapon", BAD, 0),
    _denied("swapoff", BAD),
    _denied("acct", BAD),
    _denied("quotactl", 0xFFFF, BAD, 0, BAD, unblocked=(EFAULT, EINVAL)),
    _denied("ptrace", 0, 0, unblocked=DONE, what="traceme"),
    _denied("ptrace", 16, 2**31 - 1, unblocked=ESRCH, what="attach"),
    _denied("process_vm_readv", 0, BAD, 1, BAD, 1, 1, unblocked=EINVAL),
    _denied("process_vm_writev", 0, BAD, 1, BAD, 1, 1, unblocked=EINVAL),
    _denied("pidfd_getfd", BAD_FD, 0, 0, unblocked=EBADF),
    _denied("kcmp", 2**31 - 1, 2**31 - 1, 0, unblocked=ESRCH),
    _denied("name_to_handle_at", BAD_FD, BAD, BAD, BAD, 0),
    _denied("open_by_handle_at", BAD_FD, BAD, 0, unblocked=(EBADF, EFAULT)),
    _denied("vmsplice", BAD_FD, BAD, 1, 0, unblocked=EBADF),
    _denied("fanotify_init", 0xFFFFFFFF, 0, unblocked=EINVAL),
    _denied("fanotify_mark", BAD_FD, 0, 0, 0, 0, unblocked=(EINVAL, EBADF)),
    _denied("move_pages", 2**31 - 1, 1, BAD, BAD, BAD, 0, unblocked=ESRCH),
    _denied("migrate_pages", 2**31 - 1, 8, BAD, BAD, unblocked=(ESRCH, EFAULT)),
    _denied("personality", 0x0040000, unblocked=DONE, what="no-randomization"),
    _denied("personality", 0x400000, unblocked=DONE, what="read-implies-exec"),
    _denied("settimeofday", BAD, 0),
    _denied("clock_settime", 0, BAD),
    _denied("clock_adjtime", 0, BAD),
    _denied("adjtimex", BAD),
    _denied("sethostname", BAD, 5),
    _denied("setdomainname", BAD, 5),
    _denied("syslog", 0xFF, 0, 0, unblocked=EINVAL),
    _denied("prctl", 35, 14, BAD, 0, 0, unblocked=(EFAULT, EINVAL), what="set-mm"),
    _denied("ioctl", BAD_FD, 0x5412, BAD, unblocked=EBADF, what="type-into-terminal"),
    _denied("ioctl", BAD_FD, 0x12300005412, BAD, unblocked=EBADF, what="type-into-terminal-high-bits"),
    _denied("ioctl", BAD_FD, HIGH | 0x541C, BAD, unblocked=EBADF, what="console"),
    _denied("ioctl", BAD_FD, 0x5423, BAD, unblocked=EBADF, what="line-discipline"),
    _denied("fchmod", BAD_FD, 0o4755, unblocked=EBADF, what="setuid"),
    _denied("fchmodat", BAD_FD, BAD, HIGH | 0o2755, what="setgid-high-bits"),
    _denied("openat", BAD_FD, BAD, 0o101, 0o4755, what="setuid"),
    _denied("openat", BAD_FD, BAD, 0o20200001, 0o4755, what="setuid-without-name"),
    _denied("mkdirat", BAD_FD, BAD, 0o2755, what="setgid"),
    _denied("mknodat", BAD_FD, BAD, 0o104755, 0, what="setuid"),
    _denied("mknodat", BAD_FD, BAD, 0o020644, 0, what="character-device"),
    _denied("mknodat", BAD_FD, BAD, 0o060644, 0, what="block-device"),
    *_families(),
)
X86: tuple[Call, ...] = (
    _denied("chmod", BAD, 0o4755, what="setuid"),
    _denied("creat", BAD, 0o2755, what="setgid"),
    _denied("open", BAD, 0o101, 0o4755, what="setuid"),
    _denied("mknod", BAD, 0o020644, 0, what="character-device"),
    _denied("iopl", 9, unblocked=EINVAL),
    _denied("ioperm", 0xFFFFFFFF, 1, 1, unblocked=EINVAL),
    _denied("modify_ldt", 0xFF, BAD, 0, unblocked=(DONE, ENOSYS)),
    Call("getpid", (), (ENOSYS, DONE), KILLED, "x32"),
    Call("mount", (BAD, BAD, BAD), (ENOSYS, EFAULT), KILLED, "x32"),
    Call("mount", (BAD, BAD, BAD), (EFAULT,), EPERM, "compat"),
    Call("ptrace", (0, 0), (DONE,), EPERM, "compat"),
    Call("unshare", (NEW["user"],), (DONE,), EPERM, "compat"),
    Call("clone", (NEW["user"] | NO_THREAD,), (EINVAL,), EPERM, "compat"),
    Call("clone3", (BAD, 0), (EINVAL,), ENOSYS, "compat"),
    Call("socket", (38, 0xF, 0), (EINVAL, ESOCKTNOSUPPORT), EAFNOSUPPORT, "compat", "alg"),
    Call("socketcall", (1, BAD), (EFAULT,), ENOSYS, "compat"),
    Call("ioctl", (0xFFFFFFFF, 0x5412, BAD), (EBADF,), EPERM, "compat"),
    Call("io_uring_setup", (1, BAD), (EFAULT,), ENOSYS, "compat"),
    Call("keyctl", (0xFFFF,), (95,), EPERM, "compat"),
    Call("chmod", (BAD, 0o4755), (EFAULT,), EPERM, "compat"),
)
TABLE = CALLS + (X86 if NATIVE.name == "x86_64" else ())
