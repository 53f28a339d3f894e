# SPDX-License-Identifier: AGPL-3.0-or-later
"""The kernel takes the filters and enforces them: calls with bad arguments, each with a control run without the filter.

Where the control gives the expected answer already, the probe says nothing, and is skipped as inconclusive. Arguments
are chosen so that an unfiltered call changes nothing, even for root.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from functools import cache

import pytest

from ftos.plan.seccomp import compile_policy
from ftos.plan.syscalls import ABIS, number
from tests.unit.plan import seccomp_probe

MACHINE = os.uname().machine
NATIVE, COMPAT = ABIS[MACHINE]
BAD_FD, BAD, HIGH = 2**64 - 1, 8, 0x123 << 32  # 8 is an address that is never mapped
NEW_USER_IN_THREAD = 0x10000000 | 0x10000  # not a valid combination
ALG, CREATE = 38, 0o101

Calls = dict[str, tuple[int, ...]]
"""Name → arguments."""

FORBIDDEN: Calls = {
    "mount": (BAD, BAD, BAD),
    "umount2": (BAD, 0xFFFF),
    "pivot_root": (BAD, BAD),
    "setns": (BAD_FD, 0),
    "unshare": (0x1,),
    "ptrace": (0xFFFF, 0),
    "process_vm_readv": (0, BAD, 1, BAD, 1, 1),
    "process_vm_writev": (0, BAD, 1, BAD, 1, 1),
    "pidfd_getfd": (BAD_FD, 0, 0),
    "kcmp": (2**31 - 1, 2**31 - 1, 0),
    "bpf": (0xFFFF, BAD, 1),
    "perf_event_open": (BAD,),
    "userfaultfd": (0xFFFF,),
    "add_key": (BAD, BAD, 0, 0, 0),
    "request_key": (BAD, BAD, BAD, 0),
    "keyctl": (0xFFFF,),
    "kexec_load": (0, 0, 0, 0xFFFF),
    "init_module": (BAD, 0, BAD),
    "finit_module": (BAD_FD, BAD, 0),
    "delete_module": (BAD, 0),
    "reboot": (0, 0, 0),
    "swapon": (BAD, 0),
    "swapoff": (BAD,),
    "acct": (BAD,),
    "quotactl": (0xFFFF, BAD, 0, BAD),
    "open_by_handle_at": (BAD_FD, BAD, 0),
    "settimeofday": (BAD, 0),
    "clock_settime": (0xFF, BAD),
    "clock_adjtime": (0xFF, BAD),
    "adjtimex": (BAD,),
    "sethostname": (BAD, 5),
    "setdomainname": (BAD, 5),
    "syslog": (0xFF, 0, 0),
    "vmsplice": (BAD_FD, BAD, 1, 0),
    "fanotify_init": (0xFFFFFFFF, 0),
    "fanotify_mark": (BAD_FD, 0, 0, 0, 0),
    "lsm_set_self_attr": (0xFF, 0, 0, 0xFF),
    "clone": (NEW_USER_IN_THREAD,),
    "ioctl": (BAD_FD, 0x123_0000_5412, BAD),
    "personality": (0x40000 | 0xFF00_0000,),
    "prctl": (35, 14, BAD, 0, 0),
    "mknodat": (BAD_FD, BAD, 0o020644, 0),
}
FORBIDDEN_TO_APPS: Calls = {
    "chroot": (BAD,),
    "fchmod": (BAD_FD, 0o4755),
    "fchmodat": (BAD_FD, BAD, HIGH | 0o2755),
    "openat": (BAD_FD, BAD, CREATE, 0o6755),
    "mkdirat": (BAD_FD, BAD, 0o2755),
}
ABSENT: Calls = {
    "clone3": (BAD, 0),
    "open_tree": (BAD_FD, BAD, 0xFF00),
    "move_mount": (BAD_FD, BAD, BAD_FD, BAD, 0xFF00_0000),
    "fsopen": (BAD, 0),
    "fsconfig": (BAD_FD, 0xFF),
    "fsmount": (BAD_FD, 0xFF00, 0),
    "fspick": (BAD_FD, BAD, 0xFF00),
    "mount_setattr": (BAD_FD, BAD, 0xFF00_0000, BAD, 0),
    "openat2": (BAD_FD, BAD, BAD, 0),
    "io_uring_enter": (BAD_FD, 0, 0, 0xFF00),
    "statmount": (BAD, BAD, 0, 0xFF),
    "listmount": (BAD, BAD, 0, 0xFF),
}
UNHINDERED: Calls = {
    "fchmod": (BAD_FD, 0o755),
    "ioctl": (BAD_FD, 0x5413, BAD),
    "setsockopt": (BAD_FD, 6, 1, BAD, 4),
    "clone": (0x10000,),  # CLONE_THREAD alone is not a valid combination
    "openat": (BAD_FD, BAD, 0, 0o7777),
    "seccomp": (0xFF, 0, BAD),
    "landlock_restrict_self": (BAD_FD, 0xFF),
    "read": (BAD_FD, BAD, 1),
    "getpid": (),
}


Probe = tuple[str, int | None, *tuple[int, ...]]


def confined(policy: str, *command: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run the probe program in a fresh process, under `policy` ("" for none)."""
    program = compile_policy(policy, MACHINE).hex() if policy else ""
    command = (sys.executable, seccomp_probe.__file__, program, *command)
    return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)


def probe(policy: str, probes: Iterable[Probe]) -> list[int]:
    done = confined(policy, "probe", text=json.dumps(list(probes)))
    assert (done.returncode, done.stderr) == (0, "")
    return [int(result) for result in json.loads(done.stdout)]


def native(calls: Calls) -> list[Probe]:
    return [("native", number(name, NATIVE), *args) for name, args in calls.items()]


REFUSALS = {
    "app": dict.fromkeys(FORBIDDEN | FORBIDDEN_TO_APPS, errno.EPERM)
    | dict.fromkeys(ABSENT, errno.ENOSYS)
    | {"socket": errno.EAFNOSUPPORT, "setsockopt": errno.ENOPROTOOPT},
    "build": dict.fromkeys(FORBIDDEN, errno.EPERM) | dict.fromkeys(ABSENT, errno.ENOSYS),
}
CALLS = FORBIDDEN | FORBIDDEN_TO_APPS | ABSENT | {"socket": (ALG, 0xF, 0), "setsockopt": (BAD_FD, 6, HIGH | 31, BAD, 4)}


@cache
def outcomes(policy: str) -> dict[str, int]:
    return dict(zip(CALLS, probe(policy, native(CALLS)), strict=True))


@pytest.mark.parametrize(("policy", "name"), [(policy, name) for policy, names in REFUSALS.items() for name in names])
def test_the_kernel_refuses_for_real(policy: str, name: str) -> None:
    expected = -REFUSALS[policy][name]
    assert outcomes(policy)[name] == expected
    if outcomes("")[name] == expected:
        pytest.skip("inconclusive: this kernel and user get the same answer without the filter")


def test_most_refusals_are_conclusive() -> None:
    """So that the skips above don't come to mean that nothing is tested."""
    told = [name for name, refusal in REFUSALS["app"].items() if outcomes("")[name] != -refusal]
    assert len(told) >= (50 if os.geteuid() == 0 else 25)


@pytest.mark.parametrize("policy", ["app", "build"])
def test_other_calls_reach_the_kernel(policy: str) -> None:
    inside = probe(policy, native(UNHINDERED))
    control = probe("", native(UNHINDERED))
    assert dict(zip(UNHINDERED, inside[:-1], strict=False)) == dict(zip(UNHINDERED, control[:-1], strict=False))
    assert inside[-1] > 0  # its own pid


def test_builds_may_make_files_setuid_and_chroot() -> None:
    inside = probe("build", native(FORBIDDEN_TO_APPS))
    control = probe("", native(FORBIDDEN_TO_APPS))
    assert inside == control
    assert -errno.EFAULT in inside


x86_only = pytest.mark.skipif(MACHINE != "x86_64", reason="x32 and int 0x80 are x86's")


@x86_only
def test_x32_kills_the_process() -> None:
    getpid = json.dumps([("native", 0x40000000 + 39)])
    assert confined("app", "probe", text=getpid).returncode == -signal.SIGSYS
    assert confined("", "probe", text=getpid).returncode == 0


@x86_only
def test_a_switch_to_the_compat_abi_meets_the_same_policy() -> None:
    calls: Calls = {
        "unshare": (0x1,),
        "clone": (NEW_USER_IN_THREAD,),
        "ioctl": (0xFFFFFFFF, 0x5412),
        "keyctl": (0xFFFF,),
        "fchmod": (0xFFFFFFFF, 0o4755),
        "socket": (ALG, 0xF),
        "socketcall": (0xFF, BAD),
        "clone3": (BAD, 0),
        "read": (0xFFFFFFFF, BAD),
    }
    probes: list[Probe] = [("int80", number(name, COMPAT), *args) for name, args in calls.items()]
    if confined("", "probe", text=json.dumps(probes)).returncode:
        pytest.skip("this kernel runs no i386 programs")
    expected = dict.fromkeys(("unshare", "clone", "ioctl", "keyctl", "fchmod"), errno.EPERM)
    expected |= {"socket": errno.EAFNOSUPPORT, "socketcall": errno.ENOSYS, "clone3": errno.ENOSYS, "read": errno.EBADF}
    inside = dict(zip(calls, probe("app", probes), strict=True))
    assert inside == {name: -number for name, number in expected.items()}
    outside = dict(zip(calls, probe("", probes), strict=True))
    assert {name for name in calls if outside[name] == inside[name]} == {"read"}


EVERYDAY = """
import asyncio, ctypes, fcntl, mmap, multiprocessing, os, select, signal, socket, sqlite3, subprocess, tempfile
import termios, threading, pty

done = []
threads = [threading.Thread(target=done.append, args=(n,)) for n in range(8)]
[t.start() for t in threads]; [t.join() for t in threads]
assert sorted(done) == list(range(8))
assert subprocess.run(["/bin/sh", "-c", "exit 7"]).returncode == 7
async def hello():
    server = await asyncio.start_unix_server(lambda r, w: (w.write(b"hi"), w.close()), os.path.join(where, "socket"))
    reader, writer = await asyncio.open_unix_connection(os.path.join(where, "socket"))
    assert await reader.read() == b"hi"
    writer.close(); server.close()
with tempfile.TemporaryDirectory() as where:
    asyncio.run(hello())
    database = sqlite3.connect(os.path.join(where, "db")); database.execute("create table t (x)"); database.commit()
    os.mkfifo(os.path.join(where, "fifo")); os.mkdir(os.path.join(where, "d"), 0o700)
    os.chmod(os.path.join(where, "d"), 0o755); os.setxattr(where, "user.a", b"b") if hasattr(os, "setxattr") else None
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.inotify_add_watch(libc.inotify_init1(0), where.encode(), 0xfff) > 0
    fd = os.memfd_create("m"); os.ftruncate(fd, 4096); mmap.mmap(fd, 4096)[:2] = b"ok"
    for family in (socket.AF_INET, socket.AF_INET6):
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            try: socket.socket(family, kind).close()
            except OSError as e: assert family == socket.AF_INET6, e
    socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0).close()
    master, slave = pty.openpty(); termios.tcgetattr(slave); fcntl.ioctl(slave, termios.TIOCGWINSZ, bytes(8))
    lock = multiprocessing.Lock(); lock.acquire(); lock.release()
    os.pidfd_open(os.getpid()); os.sched_setaffinity(0, os.sched_getaffinity(0)); os.getrandom(8)
    signal.signal(signal.SIGALRM, lambda *a: done.append("alarm")); signal.setitimer(signal.ITIMER_REAL, 0.01)
    signal.pause(); assert done[-1] == "alarm"
print("all well")
"""


@pytest.mark.parametrize("policy", ["app", "build"])
def test_everyday_programs_work(policy: str) -> None:
    """Threads, children, sockets, databases, terminals, locks, timers, with this machine's C library and Python."""
    done = confined(policy, "exec", sys.executable, "-c", EVERYDAY)
    assert (done.returncode, done.stdout, done.stderr) == (0, "all well\n", "")
