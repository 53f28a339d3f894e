# SPDX-License-Identifier: AGPL-3.0-or-later
"""Who a process inside is, and that nothing of its launcher came along."""

from __future__ import annotations

import ctypes
import errno
import math
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ftos.plan.records import MountKind
from ftos.plan.syscalls import ABIS, number
from ftos.runtime import session
from ftos.runtime.cgroups import hierarchy
from ftos.runtime.control import Kind
from tests.sandbox.harness import Sandbox, talk, unconfined, unconfined_python

LOOK = """
import resource, time
print(json.dumps({
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "session": [os.getpid(), os.getsid(0), os.getpgrp()],
    "umask": os.umask(0o777),
    "limits": {number: resource.getrlimit(number) for number in range(16)},
    "oom": int(read("/proc/self/oom_score_adj")),
    "host": list(os.uname()[:2]),
    "cwd": os.getcwd(),
    "terminal": read("/proc/self/stat").rpartition(")")[2].split()[4],
    "tty": attempt(os.open, "/dev/tty", os.O_RDWR),
    "spaces": {name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")},
}))
"""
CAPABILITY_SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")
SIGNAL_SETS = ("SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd")
NOTHING = "0000000000000000"
KEYCTL, ADD_KEY = (number(name, ABIS[os.uname().machine][0]) for name in ("keyctl", "add_key"))
JOIN_SESSION_KEYRING, SETPERM = 1, 5


@pytest.fixture(scope="module")
def inside(shared_sandbox: Sandbox) -> Any:
    shared_sandbox.change = lambda plan: replace(plan, working_directory="/home/app")
    with strange_launcher():
        return shared_sandbox.python(LOOK).json()


@pytest.fixture(scope="module")
def status(shared_sandbox: Sandbox) -> dict[str, str]:
    """/proc/self/status of a program that changes none of it."""
    with strange_launcher():
        return fields(shared_sandbox.run("/bin/cat", "/proc/self/status").out)


@pytest.fixture(scope="module")
def control() -> dict[str, str]:
    with strange_launcher():
        return fields(unconfined("cat", "/proc/self/status").out)


def fields(text: str) -> dict[str, str]:
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


@contextmanager
def strange_launcher() -> Iterator[None]:
    """Of all that a launcher may hand on, something unusual."""
    mask = os.umask(0o137)
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGUSR1, signal.SIGCHLD})
    handlers = {
        number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGPIPE, signal.SIGUSR2, signal.SIGHUP)
    }
    cores = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (cores[1], cores[1]))
    os.environ["SECRET_OF_THE_LAUNCHER"] = "1"
    try:
        yield
    finally:
        os.umask(mask)
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        resource.setrlimit(resource.RLIMIT_CORE, cores)
        del os.environ["SECRET_OF_THE_LAUNCHER"]


def test_ids_are_the_apps_and_there_are_no_other_groups(inside: Any) -> None:
    assert inside["ids"] == [[1000] * 3, [1000] * 3, []]


@pytest.mark.parametrize("name", CAPABILITY_SETS)
def test_every_capability_set_is_empty(status: dict[str, str], control: dict[str, str], name: str) -> None:
    assert status[name] == NOTHING
    if control[name] == NOTHING:
        pytest.skip("inconclusive: empty without the sandbox too")


@pytest.mark.parametrize(("name", "value"), [("NoNewPrivs", "1"), ("Seccomp", "2")])
def test_the_kernel_says_that_the_process_is_confined(
    status: dict[str, str], control: dict[str, str], name: str, value: str
) -> None:
    assert status[name] == value
    if control[name] == value:
        pytest.skip("inconclusive: so without the sandbox too")


@pytest.mark.parametrize("name", SIGNAL_SETS)
def test_no_signal_is_blocked_or_ignored(status: dict[str, str], control: dict[str, str], name: str) -> None:
    assert status[name] == NOTHING
    if control[name] == NOTHING and name in ("SigBlk", "SigIgn"):
        pytest.skip("inconclusive: so without the sandbox too")


def test_the_session_is_its_own(inside: Any) -> None:
    pid, session, group = inside["session"]
    assert session == group == pid


def test_there_is_no_controlling_terminal(inside: Any) -> None:
    assert (inside["terminal"], inside["tty"]) == ("0", "ENXIO")


def test_umask_is_the_plans(inside: Any, shared_sandbox: Sandbox) -> None:
    assert inside["umask"] == shared_sandbox.plan.umask == 0o022


def test_resource_limits_are_the_plans(inside: Any, shared_sandbox: Sandbox) -> None:
    """A launcher that may not raise its own hard limits keeps them: then they are lower."""
    for limit in shared_sandbox.plan.rlimits:
        soft, hard = map(_countable, inside["limits"][str(limit.resource)])
        own = _countable(resource.getrlimit(limit.resource)[1])
        assert soft == min(_countable(limit.soft), hard)
        assert hard in (_countable(limit.hard), own)
    assert inside["limits"][str(resource.RLIMIT_CORE)] == [0, 0]


def _countable(limit: int) -> float:
    return math.inf if limit == resource.RLIM_INFINITY else limit


def test_oom_score_is_the_plans(inside: Any, shared_sandbox: Sandbox) -> None:
    assert inside["oom"] == shared_sandbox.plan.oom_score_adj != int(Path("/proc/self/oom_score_adj").read_text())


def test_host_name_is_the_deployments(inside: Any) -> None:
    assert inside["host"] == ["Linux", "probe"]


def test_working_directory_is_the_plans(inside: Any) -> None:
    assert inside["cwd"] == "/home/app"


def test_environment_equals_the_plans(shared_sandbox: Sandbox) -> None:
    with strange_launcher():
        seen = shared_sandbox.run("/usr/bin/env", "-0").out
    assert seen.split("\0")[:-1] == [f"{name}={value}" for name, value in shared_sandbox.plan.environment]


@pytest.mark.parametrize("directory", ["/proc/self/fd/100", "/proc/1/root", "/proc/1/cwd", "/proc/self/fd/0"])
def test_working_directory_behind_a_descriptor_is_refused(sandbox: Sandbox, directory: str) -> None:
    os.dup2(top := os.open("/", os.O_RDONLY), 100, inheritable=True)
    try:
        with sandbox.launch() as container, pytest.raises(session.StartFailed) as failure:
            talk(container, Kind.START, replace(sandbox.command("/bin/true"), directory=directory))
        assert failure.value.error in (errno.ENOENT, errno.EACCES, errno.ENOTDIR)
    finally:
        os.close(100)
        os.close(top)


@pytest.mark.parametrize("name", ["cgroup", "ipc", "mnt", "net", "pid", "uts", "user"])
def test_every_namespace_differs_from_the_hosts(inside: Any, name: str) -> None:
    assert inside["spaces"][name] != os.readlink(f"/proc/self/ns/{name}")


def test_two_instances_share_no_namespace(shared_sandbox: Sandbox, inside: Any) -> None:
    with shared_sandbox.launch() as first:
        held = {name: os.readlink(f"/proc/{first.pid}/ns/{name}") for name in inside["spaces"]}
        with shared_sandbox.launch() as second:
            other = {name: os.readlink(f"/proc/{second.pid}/ns/{name}") for name in inside["spaces"]}
    assert {name for name in held if held[name] == other[name]} == {"time", "time_for_children"}


def test_the_process_is_in_its_own_cgroup(sandbox: Sandbox) -> None:
    if hierarchy() is None:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    with sandbox.launch() as container:
        lines = Path(f"/proc/{container.pid}/cgroup").read_text().splitlines()
        v2 = next(line for line in lines if line.startswith("0::"))
        assert v2.endswith(f"/ftos/{sandbox.id}/{container.directory.name}")


def test_the_session_keyring_is_not_the_launchers(sandbox: Sandbox) -> None:
    """A key which only its possessor may see: who has the launcher's session keyring sees it in /proc/keys."""
    sandbox.change = lambda plan: replace(
        plan, mounts=tuple(m for m in plan.mounts if m.kind is not MountKind.MASK or m.target != "/proc/keys")
    )
    seen: dict[str, str] = {}

    def launch_with_a_key() -> None:  # credentials are a thread's: the keyring ends with it
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(KEYCTL, JOIN_SESSION_KEYRING, b"of-the-launcher") < 0:
            return
        key = libc.syscall(ADD_KEY, b"user", b"key-of-the-launcher", b"x", ctypes.c_size_t(1), -3)
        libc.syscall(KEYCTL, SETPERM, key, 0x3F000000)
        seen["control"] = unconfined_python("print(read('/proc/keys'))").out
        seen["inside"] = sandbox.python("print(read('/proc/keys'))").out

    thread = threading.Thread(target=launch_with_a_key)
    thread.start()
    thread.join()
    if "key-of-the-launcher" not in seen.get("control", ""):
        pytest.skip("inconclusive: without the sandbox the key is not seen either")
    assert "key-of-the-launcher" not in seen["inside"]
    assert "_ses" in seen["inside"]


def test_a_launcher_that_ignores_the_end_of_children_can_launch(sandbox: Sandbox) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        assert sandbox.run("/bin/sh", "-c", "exit 7").status == 7
    finally:
        signal.signal(signal.SIGCHLD, before)
