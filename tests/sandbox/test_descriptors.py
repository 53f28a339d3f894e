# SPDX-License-Identifier: AGPL-3.0-or-later
"""Of the launcher's open descriptors an app has what was handed over, and nothing else; init's are out of its reach."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from ftos.errors import BadInput, LaunchError
from ftos.runtime.control import Connection, Kind
from tests.sandbox.harness import PYTHON, Sandbox, assert_refused, running, script, talk, unconfined_python

OPEN = """
found = {}
for fd in range(4096):
    try:
        found[fd] = os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:
        pass
print(json.dumps(found))
"""
OF_INIT = {
    "memory": "attempt(os.open, '/proc/1/mem', os.O_RDONLY)",
    "memory for writing": "attempt(os.open, '/proc/1/mem', os.O_RDWR)",
    "list of descriptors": "attempt(os.listdir, '/proc/1/fd')",
    "a descriptor": "attempt(os.open, '/proc/1/fd/3', os.O_PATH)",
    "a descriptor's target": "attempt(os.readlink, '/proc/1/fd/0')",
    "information about descriptors": "attempt(os.listdir, '/proc/1/fdinfo')",
    "program": "attempt(os.open, '/proc/1/exe', os.O_RDONLY)",
    "program's path": "attempt(os.readlink, '/proc/1/exe')",
    "environment": "attempt(read, '/proc/1/environ')",
    "map": "attempt(read, '/proc/1/maps')",
    "mapped files": "attempt(os.listdir, '/proc/1/map_files')",
    "root": "attempt(os.readlink, '/proc/1/root')",
    "working directory": "attempt(os.readlink, '/proc/1/cwd')",
    "namespaces": "attempt(os.readlink, '/proc/1/ns/mnt')",
    "auxiliary vector": "attempt(read, '/proc/1/auxv')",
    "system call": "attempt(read, '/proc/1/syscall')",
}


@pytest.fixture
def thirty_descriptors() -> Iterator[list[int]]:
    """Of every kind that could be a way out; every second one is inheritable."""
    with ExitStack() as opened:
        fds: list[int] = []
        for directory in ("/", "/etc", "/proc", "/sys", "/root", "/dev"):
            fds += [os.open(directory, os.O_RDONLY), os.open(directory, os.O_PATH)]
        for file in ("/etc/shadow", "/proc/self/mem", "/dev/null"):
            fds += [os.open(file, os.O_RDONLY), os.open(file, os.O_PATH)]
        fds += [s.detach() for s in socket.socketpair()]
        fds += [socket.socket(socket.AF_INET).detach(), socket.socket(socket.AF_UNIX).detach()]
        fds += [os.memfd_create("of-the-launcher"), os.pidfd_open(os.getpid()), os.pidfd_open(1), *os.pipe()]
        fds += [os.open(f"/proc/self/ns/{name}", os.O_RDONLY) for name in ("mnt", "user", "pid")]
        for number, fd in enumerate(fds):
            opened.callback(os.close, fd)
            os.set_inheritable(fd, number % 2 == 0)
        assert len(fds) >= 30
        yield fds


def test_only_the_standard_streams_are_open(sandbox: Sandbox, thirty_descriptors: list[int]) -> None:
    inside = sandbox.python(OPEN).json()
    command = [PYTHON, "-c", script(OPEN)]
    control = subprocess.run(command, close_fds=False, capture_output=True, check=True).stdout.count(b":")
    assert sorted(inside) == ["0", "1", "2"]
    assert control > 15, "without the sandbox the inheritable ones are there"


def test_a_further_process_has_only_the_standard_streams(sandbox: Sandbox, thirty_descriptors: list[int]) -> None:
    with sandbox.launch() as container, running(container, sandbox.command("/bin/sleep", "30")):
        inside = talk(container, Kind.EXEC, sandbox.command(PYTHON, "-c", script(OPEN))).json()
    assert sorted(inside) == ["0", "1", "2"]


def test_init_has_what_it_needs_and_no_directory_of_the_host(sandbox: Sandbox, thirty_descriptors: list[int]) -> None:
    with sandbox.launch() as container:
        own = Path(f"/proc/{container.pid}/fd")
        links = {int(path.name): os.readlink(path) for path in own.iterdir()}
    assert [links[fd] for fd in range(3)] == ["/dev/null"] * 3
    assert links[3].startswith("socket:")
    assert links[4].endswith("/status")
    assert links[5].startswith("pipe:")
    assert set(links.values()) - {links[fd] for fd in range(6)} <= {"anon_inode:[signalfd]"}


@pytest.fixture(scope="module")
def of_init(shared_sandbox: Sandbox) -> tuple[dict[str, str], dict[str, str]]:
    """What came of each probe inside and, against a pid 1 of its own user, without the sandbox."""
    code = "print(json.dumps({" + ", ".join(f"{name!r}: {probe}" for name, probe in OF_INIT.items()) + "}))"
    return shared_sandbox.python(code).json(), unconfined_python(code).json()


@pytest.mark.parametrize("name", OF_INIT)
def test_of_init_nothing_can_be_read(of_init: tuple[dict[str, str], dict[str, str]], name: str) -> None:
    inside, control = of_init
    assert_refused(inside[name], control[name], "EACCES", "EPERM")


def test_init_can_not_be_signalled_to_its_end(sandbox: Sandbox) -> None:
    """As pid 1 it takes no signal from inside that it did not ask for; those it asked for go to the app."""
    done = sandbox.python(
        """
        import signal, time
        got = []
        signal.signal(signal.SIGTERM, lambda *_: got.append(1))
        print(*(attempt(os.kill, 1, number) for number in (signal.SIGKILL, signal.SIGSTOP, signal.SIGTERM)))
        time.sleep(0.2)
        print(len(got), read("/proc/1/stat").split()[2])
        """
    )
    assert (done.status, done.out) == (0, "done done done\n1 S\n"), done


@pytest.mark.parametrize("wrong", ["source", "target"])
def test_a_launch_that_fails_leaves_the_launcher_as_it_was(sandbox: Sandbox, wrong: str) -> None:
    """The source fails in the launcher, the target in its child."""
    sandbox.run("/bin/true")
    before = os.listdir("/proc/self/fd")
    here, nowhere = sandbox.places.root, Path("/nowhere/at/all")
    sandbox.show(*((nowhere, "/mnt") if wrong == "source" else (here, str(nowhere))))
    with pytest.raises(LaunchError, match=r"'/nowhere/at/all': No such file or directory"):
        sandbox.run("/bin/true")
    assert os.listdir("/proc/self/fd") == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


FTOS = (sys.executable, "-c", "from ftos.cli.main import main; main()")


@pytest.mark.parametrize("stream", [0, 1, 2])
def test_a_stream_that_the_caller_closed_leads_nowhere(sandbox: Sandbox, checkout: Path, stream: int) -> None:
    """Without care the launcher's next open file would take its number, and be handed over."""
    told = 1 if stream != 1 else 2
    inside = ("/bin/sh", "-c", f'for fd in 0 1 2; do x="$x $(readlink /proc/$$/fd/$fd)"; done; echo $x >&{told}')
    with sandbox.launch() as container, running(container, sandbox.command("/bin/sleep", "30")):
        command = [*FTOS, "--root", str(sandbox.places.root), "exec", "probe", "--", *inside]
        done = subprocess.run(
            ["/bin/sh", "-c", f'exec "$@" {stream}>&-', "sh", *command],
            cwd=checkout,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    seen = (done.stdout if told == 1 else done.stderr).split()
    assert (done.returncode, len(seen)) == (0, 3), done
    assert seen[stream] == "/dev/null"


def test_a_directory_is_not_handed_over(sandbox: Sandbox) -> None:
    """From a directory of the host, `..` leads out of the container's root."""
    with sandbox.launch() as container:
        connection = Connection.connect(container.control)
        top = os.open("/", os.O_RDONLY)
        try:
            with pytest.raises(BadInput, match="a standard stream is a directory"):
                connection.start(Kind.START, sandbox.command("/bin/true"), (top, 1, 2))
        finally:
            os.close(top)
            connection.close()
