# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a container may ask of the kernel: the system call policies `app` and `build`, as data.

Every call is in one of four classes:

* allowed: harmless by itself, or guarded by what the kernel checks anyway (capabilities, of which an app has none).
* ruled: allowed or refused by its arguments.
* forbidden: answers EPERM, which a program understands as "not for you".
* absent: answers ENOSYS, so that libraries fall back to an older call whose arguments can be checked. A call that is
  named nowhere here, as one that a newer kernel brings, is absent too.

Argument checks see numbers, not what a pointer points to; therefore clone3, openat2 and i386's socketcall are absent.
They look at the low 32 bits, which is all that the kernel looks at for these arguments: bits above hide nothing.
The two policies hold for the native and the compat ABI alike, because any program can switch between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALLOW = 0x7FFF0000  # SECCOMP_RET_*, linux/seccomp.h
KILL = 0x80000000
_ERRNO = 0x00050000
EPERM, ENOSYS, ENOPROTOOPT, EAFNOSUPPORT = 1, 38, 92, 97
LOW_WORD = 0xFFFFFFFF


def refuse(errno: int) -> int:
    """The verdict under which a call fails with `errno` (Linux numbers, the same on all ABIs here)."""
    return _ERRNO | errno


UNKNOWN = refuse(ENOSYS)


@dataclass(frozen=True, slots=True)
class Match:
    """Holds when the low 32 bits of an argument (0 to 5), masked, are one of `values`."""

    argument: int
    values: tuple[int, ...]
    mask: int = LOW_WORD


@dataclass(frozen=True, slots=True)
class Rule:
    """Verdict `then` when all matches of one of the cases hold, else `otherwise`."""

    cases: tuple[tuple[Match, ...], ...]
    then: int
    otherwise: int


@dataclass(frozen=True, slots=True)
class Policy:
    """The classes by name; disjoint. `absent` is for people and tests: an unnamed call gets the same answer."""

    allowed: frozenset[str]
    rules: Mapping[str, Rule]
    forbidden: frozenset[str]
    absent: frozenset[str]


def _names(*groups: str) -> frozenset[str]:
    return frozenset(" ".join(groups).split())


# --- allowed --------------------------------------------------------------------------------------------------------

_FILES = """
    access chdir close close_range copy_file_range dup dup2 dup3 faccessat faccessat2 fadvise64 fadvise64_64
    arm_fadvise64_64 fallocate fchdir fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync
    ftruncate ftruncate64 futimesat getcwd getdents getdents64 link linkat _llseek lseek lstat lstat64 newfstatat
    readahead readlink readlinkat rename renameat renameat2 rmdir stat stat64 statfs statfs64 statx symlink symlinkat
    sync sync_file_range arm_sync_file_range syncfs truncate truncate64 umask unlink unlinkat utime utimensat
    utimensat_time64 utimes
"""
_OWNERS = "chown chown32 fchown fchown32 fchownat lchown lchown32"
_ATTRIBUTES = """
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat llistxattr
    lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat
"""
_DATA = """
    io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit pipe pipe2 pread64 preadv
    preadv2 pwrite64 pwritev pwritev2 read readv sendfile sendfile64 splice tee write writev
"""
_WAITING = """
    epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2 inotify_add_watch
    inotify_init inotify_init1 inotify_rm_watch _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select
    signalfd signalfd4 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64
"""
_SOCKETS = """
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg recvmmsg_time64
    recvmsg send sendmmsg sendmsg sendto shutdown
"""
_MEMORY = """
    brk cachestat get_mempolicy madvise map_shadow_stack mbind membarrier memfd_create mincore mlock mlock2 mlockall
    mmap mmap2 mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
    process_madvise process_mrelease set_mempolicy set_mempolicy_home_node
"""
_SHARED_MEMORY_AND_QUEUES = """
    ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64
    mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget
"""
_PROCESSES = """
    capget execve execveat exit exit_group fork getcpu getpgid getpgrp getpid getppid getpriority getrlimit getrusage
    getsid gettid ioprio_get ioprio_set kill nice pidfd_open pidfd_send_signal prlimit64 sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam sched_setscheduler sched_yield setpgid
    setpriority setrlimit setsid sysinfo tgkill times tkill ugetrlimit uname vfork wait4 waitid waitpid
"""
_THREADS = """
    arch_prctl breakpoint cacheflush futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake
    get_robust_list get_thread_area get_tls rseq set_robust_list set_thread_area set_tid_address set_tls
"""
_SIGNALS = """
    pause restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaction sigaltstack signal sigpending sigprocmask
    sigreturn sigsuspend
"""
_TIME = """
    alarm clock_getres clock_getres_time64 clock_gettime clock_gettime64 clock_nanosleep clock_nanosleep_time64
    getitimer gettimeofday nanosleep setitimer time timer_create timer_delete timer_getoverrun timer_gettime
    timer_gettime64 timer_settime timer_settime64
"""
_IDENTITY = """
    capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid getresgid32 getresuid
    getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32 setgroups setgroups32 setregid
    setregid32 setresgid setresgid32 setresuid setresuid32 setreuid setreuid32 setuid setuid32
"""
# A filter or ruleset of the app's own comes on top of ours and can only take away (seccomp(2): the strictest verdict of
# all filters counts, so not even SECCOMP_USER_NOTIF_FLAG_CONTINUE opens what we refuse).
_OWN_CONFINEMENT = """
    getrandom landlock_add_rule landlock_create_ruleset landlock_restrict_self lsm_get_self_attr lsm_list_modules
    seccomp
"""

# --- forbidden ------------------------------------------------------------------------------------------------------

_NAMESPACES_AND_MOUNTS = "mount pivot_root setns umount umount2 unshare"
_OTHER_PROCESSES = "kcmp pidfd_getfd process_vm_readv process_vm_writev ptrace"
# Large, little used by apps and often the way into the kernel. move_pages also tells where shared pages are.
_ATTACK_SURFACE = """
    bpf fanotify_init fanotify_mark lookup_dcookie migrate_pages move_pages perf_event_open userfaultfd vmsplice
"""
_KEYRINGS = "add_key keyctl request_key"
_HANDLES = "name_to_handle_at open_by_handle_at"  # a handle names a file past all directories and mounts
_MACHINE = """
    acct create_module delete_module finit_module get_kernel_syms init_module ioperm iopl kexec_file_load kexec_load
    nfsservctl pciconfig_iobase pciconfig_read pciconfig_write query_module quotactl quotactl_fd reboot setdomainname
    sethostname swapoff swapon syslog vhangup
"""
_CLOCKS = "adjtimex clock_adjtime clock_adjtime64 clock_settime clock_settime64 settimeofday stime"
# modify_ldt serves 16-bit code (old Wine) and has a history of holes; int 0x80 would open it to 64-bit programs too.
_SELF = "lsm_set_self_attr modify_ldt"

# --- absent ---------------------------------------------------------------------------------------------------------

_ARGUMENTS_IN_MEMORY = "clone3 file_getattr file_setattr openat2 socketcall"
_NEW_MOUNT_API = """
    fsconfig fsmount fsopen fspick listmount mount_setattr move_mount open_tree open_tree_attr statmount
"""
_IO_URING = "io_uring_enter io_uring_register io_uring_setup"
_SECRET_MEMORY = "memfd_secret"  # keeps the device from hibernating; libraries use plain memory instead
_OBSOLETE = """
    _sysctl afs_syscall bdflush break epoll_ctl_old epoll_wait_old ftime getpmsg gtty idle lock mpx oldfstat oldlstat
    oldolduname oldstat olduname prof profil putpmsg readdir remap_file_pages security sgetmask ssetmask stty sysfs
    tuxcall ulimit uselib usr26 usr32 ustat vm86 vm86old vserver
"""

# --- ruled ----------------------------------------------------------------------------------------------------------

_NEW_NAMESPACES = 0x7E020000  # CLONE_NEW{NS,CGROUP,UTS,IPC,USER,PID,NET}; CLONE_NEWTIME is for clone3 and unshare only
_CLONE = Rule(((Match(0, (0,), mask=_NEW_NAMESPACES),),), ALLOW, refuse(EPERM))

_AF_UNIX, _AF_INET, _AF_INET6, _AF_NETLINK = 1, 2, 10, 16
_SOCK_STREAM, _SOCK_DGRAM, _SOCK_TYPE = 1, 2, 0xF
# Other protocols load modules that few maintain and fewer need: SCTP, DCCP, L2TP, UDP-Lite, SMC.
_IP, _ICMP, _TCP, _UDP, _ICMPV6 = 0, 1, 6, 17, 58
_NETLINK_ROUTE = 0
_SOCKET = Rule(
    (
        (Match(0, (_AF_UNIX,)),),
        (
            Match(0, (_AF_INET, _AF_INET6)),
            Match(1, (_SOCK_STREAM, _SOCK_DGRAM), mask=_SOCK_TYPE),
            Match(2, (_IP, _ICMP, _TCP, _UDP, _ICMPV6)),
        ),
        (Match(0, (_AF_NETLINK,)), Match(2, (_NETLINK_ROUTE,))),
    ),
    ALLOW,
    refuse(EAFNOSUPPORT),
)
_SOCKETPAIR = Rule(((Match(0, (_AF_UNIX,)),),), ALLOW, refuse(EAFNOSUPPORT))
# Upper layer protocols (kernel TLS, ESP over TCP) and UDP encapsulation (L2TP, ESP): more protocols by another door.
_SOL_TCP, _TCP_ULP, _SOL_UDP, _UDP_ENCAP = 6, 31, 17, 100
_SETSOCKOPT = Rule(
    ((Match(1, (_SOL_TCP,)), Match(2, (_TCP_ULP,))), (Match(1, (_SOL_UDP,)), Match(2, (_UDP_ENCAP,)))),
    refuse(ENOPROTOOPT),
    ALLOW,
)

# Typing into a terminal (CVE-2017-5226, CVE-2023-28100), and line disciplines, which load drivers for serial lines.
_TIOCSTI, _TIOCLINUX, _TIOCSETD = 0x5412, 0x541C, 0x5423
_IOCTL = Rule(((Match(1, (_TIOCSTI, _TIOCLINUX, _TIOCSETD)),),), refuse(EPERM), ALLOW)

_PER_LINUX, _PER_LINUX32, _PER_QUERY = 0, 8, 0xFFFFFFFF
_PERSONALITY = Rule(((Match(0, (_PER_LINUX, _PER_LINUX32, _PER_QUERY)),),), ALLOW, refuse(EPERM))

_PR_SET_MM = 35  # a process that rewrites what /proc says of it; for checkpoint and restore only
_PRCTL = Rule(((Match(0, (_PR_SET_MM,)),),), refuse(EPERM), ALLOW)

_SETID = 0o6000
_O_CREAT, _O_TMPFILE = 0o100, 0o20000000  # the same on all ABIs here; __O_TMPFILE, without O_DIRECTORY
_S_IFMT, _NO_TYPE, _S_IFIFO, _S_IFREG, _S_IFSOCK = 0o170000, 0, 0o010000, 0o100000, 0o140000


def _mode_without_setid(argument: int) -> Rule:
    return Rule(((Match(argument, (0,), mask=_SETID),),), ALLOW, refuse(EPERM))


def _open_without_setid(flags: int) -> Rule:
    """The mode follows the flags, and counts only when a file may be made; else there may be anything in it."""
    creates = Match(flags, (0,), mask=_O_CREAT | _O_TMPFILE)
    return Rule(((creates,), (Match(flags + 1, (0,), mask=_SETID),)), ALLOW, refuse(EPERM))


def _node_without_device(argument: int, refused_bits: int = 0) -> Rule:
    """No character and block devices, so no overlay whiteouts (character device 0:0) either."""
    kinds = (_NO_TYPE, _S_IFREG, _S_IFIFO, _S_IFSOCK)
    return Rule(((Match(argument, kinds, mask=_S_IFMT | refused_bits),),), ALLOW, refuse(EPERM))


_BOTH_RULES: dict[str, Rule] = {
    "clone": _CLONE,
    "ioctl": _IOCTL,
    "personality": _PERSONALITY,
    "prctl": _PRCTL,
    "setsockopt": _SETSOCKOPT,
    "socket": _SOCKET,
    "socketpair": _SOCKETPAIR,
}
# mkdir: the kernel drops the bits today (vfs_mkdir); file systems of their own mind need not.
_SETID_RULES: dict[str, Rule] = {
    "chmod": _mode_without_setid(1),
    "creat": _mode_without_setid(1),
    "fchmod": _mode_without_setid(1),
    "fchmodat": _mode_without_setid(2),
    "fchmodat2": _mode_without_setid(2),
    "mkdir": _mode_without_setid(1),
    "mkdirat": _mode_without_setid(2),
    "open": _open_without_setid(1),
    "openat": _open_without_setid(2),
}

_ALLOWED = _names(
    _FILES,
    _OWNERS,
    _ATTRIBUTES,
    _DATA,
    _WAITING,
    _SOCKETS,
    _MEMORY,
    _SHARED_MEMORY_AND_QUEUES,
    _PROCESSES,
    _THREADS,
    _SIGNALS,
    _TIME,
    _IDENTITY,
    _OWN_CONFINEMENT,
)
_FORBIDDEN = _names(
    _NAMESPACES_AND_MOUNTS,
    _OTHER_PROCESSES,
    _ATTACK_SURFACE,
    _KEYRINGS,
    _HANDLES,
    _MACHINE,
    _CLOCKS,
    _SELF,
)
_ABSENT = _names(_ARGUMENTS_IN_MEMORY, _NEW_MOUNT_API, _IO_URING, _SECRET_MEMORY, _OBSOLETE)

POLICIES: dict[str, Policy] = {
    "app": Policy(
        allowed=_ALLOWED,
        rules=_BOTH_RULES
        | _SETID_RULES
        | {"mknod": _node_without_device(1, _SETID), "mknodat": _node_without_device(2, _SETID)},
        forbidden=_FORBIDDEN | {"chroot"},
        absent=_ABSENT,
    ),
    # Package managers and maintainer scripts run as root of their own user namespace, in a container without network.
    "build": Policy(
        allowed=_ALLOWED | _SETID_RULES.keys() | {"chroot"},
        rules=_BOTH_RULES | {"mknod": _node_without_device(1), "mknodat": _node_without_device(2)},
        forbidden=_FORBIDDEN,
        absent=_ABSENT,
    ),
}
"""The system call policies by name: `app` for every app, `build` for image builds."""
