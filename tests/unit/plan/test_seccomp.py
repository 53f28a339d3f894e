# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the filters answer, said in words of the kernel's headers and not of the policy's data."""

from __future__ import annotations

import socket
import stat
from itertools import product

import pytest

from ftos.errors import BadInput, Unsupported
from ftos.plan.seccomp import compile_policy
from ftos.plan.seccomp_policy import POLICIES
from ftos.plan.syscalls import ABIS, ARM, I386, X86_64, Abi, number
from tests.unit.plan.bpf_machine import decode, run, simulate

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS, ENOPROTOOPT, EAFNOSUPPORT = 0x50001, 0x50026, 0x5005C, 0x50061
HIGH = 0x1234_5678 << 32
NETLINK_ROUTE, NETLINK_AUDIT, NETLINK_KOBJECT_UEVENT = 0, 9, 15

WHERE = [(architecture, abi) for architecture, pair in ABIS.items() for abi in pair]
each_abi = pytest.mark.parametrize(("architecture", "abi"), WHERE, ids=[abi.name for _, abi in WHERE])
each_policy = pytest.mark.parametrize("policy", POLICIES)


def answer(policy: str, architecture: str, abi: Abi, name: str, *args: int) -> int | None:
    """The verdict on a call by name; None where the ABI has no such call."""
    nr = number(name, abi)
    return None if nr is None else simulate(compile_policy(policy, architecture), abi.audit, nr, args)


def _words(text: str) -> list[str]:
    return text.split()


BENIGN = _words(
    """
    read write openat mmap mprotect munmap brk exit_group execve execveat wait4 waitid futex futex_waitv futex_wait
    futex_wake futex_requeue set_robust_list rseq set_tid_address epoll_create1 epoll_ctl epoll_pwait epoll_pwait2
    poll ppoll memfd_create statx fstat newfstatat signalfd4 inotify_init1 inotify_add_watch eventfd2 timerfd_create
    membarrier sched_setaffinity sched_setscheduler sched_setattr shmget shmat semop msgget mq_open io_setup
    io_submit timer_create pidfd_open pidfd_send_signal process_madvise rt_sigqueueinfo prlimit64 getrandom
    copy_file_range fallocate getxattr setxattr close_range faccessat2 cachestat map_shadow_stack set_mempolicy
    set_mempolicy_home_node mseal lsm_get_self_attr lsm_list_modules landlock_create_ruleset landlock_add_rule
    landlock_restrict_self seccomp arch_prctl set_thread_area set_tls cacheflush splice tee sendfile chown fchownat
    setuid setgroups capset connect bind sendmsg recvmsg accept4 clock_gettime clock_gettime64
    clock_nanosleep_time64 clone ioctl prctl setsockopt chmod fchmod mkdirat fork vfork rt_sigreturn sigreturn
    restart_syscall utimensat renameat2 flock fcntl64 _llseek ipc ugetrlimit
    """
)

REFUSED = _words(
    """
    mount umount umount2 pivot_root setns unshare ptrace process_vm_readv process_vm_writev pidfd_getfd kcmp bpf
    perf_event_open userfaultfd add_key request_key keyctl kexec_load kexec_file_load init_module finit_module
    delete_module reboot swapon swapoff acct quotactl quotactl_fd open_by_handle_at name_to_handle_at settimeofday
    clock_settime clock_settime64 clock_adjtime clock_adjtime64 adjtimex stime sethostname setdomainname syslog
    vhangup lookup_dcookie iopl ioperm modify_ldt vmsplice fanotify_init fanotify_mark move_pages migrate_pages
    lsm_set_self_attr
    """
)

MISSING = _words(
    """
    clone3 open_tree open_tree_attr move_mount fsopen fsconfig fsmount fspick mount_setattr openat2 io_uring_setup
    io_uring_enter io_uring_register statmount listmount socketcall memfd_secret uselib ustat sysfs _sysctl vm86
    vm86old remap_file_pages
    """
)


@each_policy
@each_abi
@pytest.mark.parametrize(
    ("names", "verdict"), [(BENIGN, ALLOW), (REFUSED, EPERM), (MISSING, ENOSYS)], ids=["benign", "refused", "missing"]
)
def test_calls_without_arguments_to_look_at(
    policy: str, architecture: str, abi: Abi, names: list[str], verdict: int
) -> None:
    got = {name: answer(policy, architecture, abi, name) for name in names}
    assert {name: found for name, found in got.items() if found not in (verdict, None)} == {}
    assert sum(found is not None for found in got.values()) > len(names) // 2


@each_policy
@pytest.mark.parametrize("architecture", ABIS)
def test_a_foreign_architecture_is_killed(policy: str, architecture: str) -> None:
    own = {abi.audit for abi in ABIS[architecture]}
    program = compile_policy(policy, architecture)
    foreign = {abi.audit for _, abi in WHERE} - own | {0, 0x15, 0x8, 0xC00000F3, 0xFFFFFFFF}
    assert {simulate(program, arch, nr) for arch in foreign for nr in (0, 1, 60, 0x40000000)} == {KILL}


@each_policy
def test_x32_is_killed_and_the_number_minus_one_is_not(policy: str) -> None:
    program = compile_policy(policy, "x86_64")
    x32 = [0x40000000, 0x40000001, 0x40000000 + 59, 0x40000200, 0x7FFFFFFF, 0x80000000, 0xC0000000, 0xFFFFFFFE]
    assert {simulate(program, X86_64.audit, nr) for nr in x32} == {KILL}
    assert simulate(program, X86_64.audit, 0xFFFFFFFF) == ENOSYS
    assert simulate(program, X86_64.audit, 0x3FFFFFFF) == ENOSYS


@each_policy
@each_abi
def test_numbers_that_no_kernel_has_answer_that_they_do_not_exist(policy: str, architecture: str, abi: Abi) -> None:
    code = decode(compile_policy(policy, architecture))
    numbers = [*range(470, 1500), 0xEFFFF, 0xF0000, 0xF0007, 0x3FFFFFFF]
    assert {run(code, abi.audit, nr)[0] for nr in numbers} == {ENOSYS}


@each_policy
@each_abi
def test_clone_makes_threads_and_processes_but_no_namespaces(policy: str, architecture: str, abi: Abi) -> None:
    thread, child, vfork = 0x3D0F00, 0x1200011, 0x4111
    for flags in (thread, child, vfork):
        assert answer(policy, architecture, abi, "clone", flags) == ALLOW
        for new in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
            assert answer(policy, architecture, abi, "clone", flags | new) == EPERM
            assert answer(policy, architecture, abi, "clone", flags | new | HIGH) == EPERM


@each_policy
@each_abi
def test_only_unix_internet_and_route_sockets_can_be_made(policy: str, architecture: str, abi: Abi) -> None:
    allowed = {
        (family, kind, protocol)
        for family, kind, protocol in product(range(64), range(16), (*range(64), 115, 132, 136, 256, 262))
        if answer_socket(policy, architecture, abi, family, kind, protocol) == ALLOW
    }
    assert {family for family, _, _ in allowed} == {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
    internet = {(kind, protocol) for family, kind, protocol in allowed if family in (socket.AF_INET, socket.AF_INET6)}
    assert internet == set(product((socket.SOCK_STREAM, socket.SOCK_DGRAM), (0, 1, 6, 17, 58)))
    assert {protocol for family, _, protocol in allowed if family == socket.AF_NETLINK} == {NETLINK_ROUTE}


def answer_socket(policy: str, architecture: str, abi: Abi, *args: int) -> int:
    found = answer(policy, architecture, abi, "socket", *args)
    assert found in (ALLOW, EAFNOSUPPORT)
    return found


@each_policy
@each_abi
def test_bits_above_an_int_do_not_hide_a_socket_family(policy: str, architecture: str, abi: Abi) -> None:
    nonblocking = socket.SOCK_DGRAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC
    for refused in (socket.AF_ALG, socket.AF_VSOCK, socket.AF_PACKET, socket.AF_BLUETOOTH, 15, 21, 44):
        assert answer(policy, architecture, abi, "socket", refused | HIGH, nonblocking, 0) == EAFNOSUPPORT
    for protocol in (NETLINK_AUDIT, HIGH | NETLINK_AUDIT, NETLINK_KOBJECT_UEVENT):
        assert answer(policy, architecture, abi, "socket", HIGH | socket.AF_NETLINK, 3, protocol) == EAFNOSUPPORT
    assert answer(policy, architecture, abi, "socket", socket.AF_INET | HIGH, nonblocking, 0) == ALLOW
    assert answer(policy, architecture, abi, "socketpair", socket.AF_UNIX, nonblocking) == ALLOW
    assert answer(policy, architecture, abi, "socketpair", 30, nonblocking) == EAFNOSUPPORT


@each_policy
@each_abi
def test_a_socket_does_not_become_another_protocol_later(policy: str, architecture: str, abi: Abi) -> None:
    assert answer(policy, architecture, abi, "setsockopt", 3, 6, 31) == ENOPROTOOPT
    assert answer(policy, architecture, abi, "setsockopt", 3, HIGH | 17, HIGH | 100) == ENOPROTOOPT
    assert answer(policy, architecture, abi, "setsockopt", 3, 6, 1) == ALLOW
    assert answer(policy, architecture, abi, "setsockopt", 3, 1, 31) == ALLOW


@each_policy
@each_abi
def test_terminals_can_be_used_but_not_typed_into(policy: str, architecture: str, abi: Abi) -> None:
    for request in (0x5412, 0x541C, 0x5423, 0x123_0000_5412, HIGH | 0x541C, (1 << 63) | 0x5423):
        assert answer(policy, architecture, abi, "ioctl", 0, request) == EPERM
    for request in (0x5401, 0x5413, 0x5414, 0x540E, 0x5421, 0x15412, 0x5412_0000_0000):
        assert answer(policy, architecture, abi, "ioctl", 0, request) == ALLOW


@each_policy
@each_abi
def test_personality_is_asked_but_not_weakened(policy: str, architecture: str, abi: Abi) -> None:
    for persona in (0, 8, 0xFFFFFFFF, HIGH | 8):
        assert answer(policy, architecture, abi, "personality", persona) == ALLOW
    for persona in (0x40000, 0x400000, 0x20000, 0x40008, 1, 6, HIGH | 0x40000):
        assert answer(policy, architecture, abi, "personality", persona) == EPERM


@each_policy
@each_abi
def test_a_process_can_not_rewrite_its_memory_layout(policy: str, architecture: str, abi: Abi) -> None:
    assert answer(policy, architecture, abi, "prctl", HIGH | 35, 14) == EPERM
    assert {answer(policy, architecture, abi, "prctl", option) for option in range(80) if option != 35} == {ALLOW}


MAKING = dict.fromkeys(("creat", "chmod", "fchmod", "mkdir", "mknod"), 1)
MAKING |= dict.fromkeys(("fchmodat", "fchmodat2", "mkdirat", "mknodat"), 2)
"""Name → which argument is the mode."""


@each_abi
@pytest.mark.parametrize("name", MAKING)
def test_only_a_build_makes_files_setuid(architecture: str, abi: Abi, name: str) -> None:
    for mode, in_app in {0o755: ALLOW, 0o1777: ALLOW, 0o4755: EPERM, 0o2755: EPERM, 0o6000: EPERM}.items():
        for bits in (mode, mode | HIGH, mode | 1 << 20):
            args = [7] * MAKING[name] + [bits]
            assert answer("app", architecture, abi, name, *args) in (in_app, None)
            assert answer("build", architecture, abi, name, *args) in (ALLOW, None)


@each_abi
@pytest.mark.parametrize(("name", "before"), [("open", 1), ("openat", 2)])
def test_only_a_build_opens_a_new_file_as_setuid(architecture: str, abi: Abi, name: str, before: int) -> None:
    read_only, create, temporary = 0o2000000, 0o101 | HIGH, 0o20200002
    for flags, mode, in_app in [
        (read_only, 0o7777, ALLOW),  # no file is made, the mode is whatever was in the register
        (create, 0o1777, ALLOW),
        (create, 0o4755, EPERM),
        (create, 0o2755 | HIGH, EPERM),
        (temporary, 0o600, ALLOW),
        (temporary, 0o6600, EPERM),
    ]:
        args = [5] * before + [flags, mode]
        assert answer("app", architecture, abi, name, *args) in (in_app, None)
        assert answer("build", architecture, abi, name, *args) in (ALLOW, None)


@each_policy
@each_abi
@pytest.mark.parametrize(("name", "before"), [("mknod", 1), ("mknodat", 2)])
def test_no_device_nodes_and_no_whiteouts(policy: str, architecture: str, abi: Abi, name: str, before: int) -> None:
    for kind in range(16):
        harmless = kind << 12 in (0, stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK)
        got = answer(policy, architecture, abi, name, *[5] * before, kind << 12 | 0o644 | HIGH, 0)
        assert got in (ALLOW if harmless else EPERM, None)


@each_abi
def test_only_a_build_may_chroot(architecture: str, abi: Abi) -> None:
    assert answer("app", architecture, abi, "chroot") == EPERM
    assert answer("build", architecture, abi, "chroot") == ALLOW


def test_i386_has_no_door_past_the_argument_checks() -> None:
    """socketcall packs its arguments into memory, where a filter can't look."""
    assert {answer("app", "x86_64", I386, "socketcall", call) for call in range(21)} == {ENOSYS}


@each_policy
@pytest.mark.parametrize("architecture", ABIS)
def test_every_search_is_short(policy: str, architecture: str) -> None:
    """The kernel runs the program for every number at load: a linear list would take hundreds of steps."""
    code = decode(compile_policy(policy, architecture))
    assert len(code) < 400
    for abi in ABIS[architecture]:
        assert max(run(code, abi.audit, nr)[1] for nr in range(512)) <= 20


@each_policy
@pytest.mark.parametrize("architecture", ABIS)
def test_equal_input_gives_equal_bytes(policy: str, architecture: str) -> None:
    assert compile_policy.__wrapped__(policy, architecture) == compile_policy.__wrapped__(policy, architecture)


@each_policy
def test_every_call_up_to_the_newest_known_was_decided_on(policy: str) -> None:
    data = POLICIES[policy]
    groups = [data.allowed, frozenset(data.rules), data.forbidden, data.absent]
    assert sum(map(len, groups)) == len(frozenset().union(*groups))
    for _, abi in WHERE:
        decided = {number(name, abi) for group in groups for name in group}
        lacking = {447, 453} if abi is ARM else set()  # memfd_secret, map_shadow_stack
        assert set(range(424, 470)) - decided <= lacking


def test_unknown_policies_and_architectures_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match="no system call policy 'apps'"):
        compile_policy("apps", "x86_64")
    with pytest.raises(Unsupported, match="no system calls are known for 'riscv64'"):
        compile_policy("app", "riscv64")
