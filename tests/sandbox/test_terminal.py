# SPDX-License-Identifier: AGPL-3.0-or-later
"""An app at a terminal, through a real pty on both sides: as in a shell, but never on the caller's own terminal."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Iterator

import pytest

from tests.sandbox.harness import PYTHON, Sandbox, running, script

PROMPT = b"ready> "
SHELL = ("/bin/sh", "-c", "PS1='ready> ' exec /bin/bash --norc --noprofile --noediting -i")
Start = Callable[..., "Terminal"]


class Terminal:
    """A terminal with the test as the person at it, and a program for which it is the controlling one."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(self.slave)
        self.seen = b""
        self.process: subprocess.Popen[bytes]

    def start(
        self, command: list[str], *, stdin: int | None = None, stdout: int | None = None, stderr: int | None = None
    ) -> None:
        """Start the program; a stream that is not given is the terminal."""
        streams = [self.slave if stream is None else stream for stream in (stdin, stdout, stderr)]
        self.process = subprocess.Popen(
            command,
            stdin=streams[0],
            stdout=streams[1],
            stderr=streams[2],
            start_new_session=True,
            pass_fds=(self.slave,),
        )

    def close(self) -> None:
        self.process.send_signal(signal.SIGHUP)
        self.process.wait(10)
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()
        os.close(self.slave)
        if self.master >= 0:
            os.close(self.master)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, text: bytes) -> None:
        os.write(self.master, text)

    def wait_for(self, pattern: bytes, seconds: float = 10) -> re.Match[bytes]:
        """Read until the pattern comes; what is before its end is forgotten."""
        deadline = time.monotonic() + seconds
        while not (match := re.search(pattern, self.seen)):
            left = deadline - time.monotonic()
            assert left > 0, f"{pattern!r} did not come: {self.seen!r}"
            if select.select([self.master], [], [], left)[0]:
                self.seen += os.read(self.master, 65536)
        self.seen = self.seen[match.end() :]
        return match

    def say(self, line: str, pattern: bytes) -> re.Match[bytes]:
        """Type a line at the shell and wait for its answer, which is not the echo of the line."""
        self.type(line.encode() + b"\n")
        self.wait_for(rb"\n")
        return self.wait_for(pattern)

    def end(self) -> int:
        status = self.process.wait(10)
        while select.select([self.master], [], [], 0)[0]:
            self.seen += os.read(self.master, 65536)
        return status


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.fixture
def start(sandbox: Sandbox, terminal: Terminal) -> Start:
    """Run a program as the app, at the terminal."""

    def started(*arguments: str, **streams: int) -> Terminal:
        terminal.start(sandbox.driver(*arguments, options=("--terminal", str(terminal.slave))), **streams)
        return terminal

    return started


@pytest.fixture
def shell(start: Start) -> Terminal:
    terminal = start(*SHELL)
    terminal.wait_for(PROMPT)
    return terminal


def python(code: str) -> tuple[str, ...]:
    return (PYTHON, "-c", script(code))


def test_the_app_is_at_a_terminal_of_its_own(start: Start) -> None:
    terminal = start(
        *python(
            """
            print([os.isatty(fd) for fd in range(3)], [os.ttyname(fd) for fd in range(3)], os.ctermid())
            print(os.tcgetpgrp(0) == os.getpgrp(), attempt(os.open, "/dev/tty", os.O_RDWR), os.listdir("/dev/pts"))
            print(os.getsid(0) == os.getpid())
            """
        )
    )
    names = rb"\['/dev/pts/0', '/dev/pts/0', '/dev/pts/0'\]"
    terminal.wait_for(rb"\[True, True, True\] " + names + rb" /dev/tty\r\nTrue done \['0', 'ptmx'\]\r\nTrue\r\n")
    assert terminal.end() == 0


def test_exit_status_passes_and_the_terminal_is_as_before(start: Start) -> None:
    terminal = start("/bin/sh", "-c", "stty -echo raw; echo bye; exit 3")
    assert terminal.end() == 3
    assert b"bye" in terminal.seen
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_the_terminal_is_as_before_when_the_launcher_was_asked_to_end(start: Start) -> None:
    terminal = start("/bin/sh", "-c", "echo here; exec sleep 30")
    terminal.wait_for(rb"here")
    assert termios.tcgetattr(terminal.slave) != terminal.before, "raw meanwhile"
    terminal.process.terminate()
    assert terminal.end() == 128 + signal.SIGTERM
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_the_size_is_the_callers_and_follows_it(shell: Terminal) -> None:
    shell.say("stty size", rb"30 100")
    shell.wait_for(PROMPT)
    shell.resize(44, 132)
    time.sleep(0.2)
    shell.say("stty size", rb"44 132")


def test_the_app_is_told_of_a_new_size(start: Start) -> None:
    terminal = start(
        *python(
            """
            import signal
            signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b"now %d %d" % os.get_terminal_size()) and sys.exit())
            print("ready", flush=True)
            signal.pause()
            """
        )
    )
    terminal.wait_for(rb"ready")
    terminal.resize(7, 77)
    terminal.wait_for(rb"now 77 7")
    assert terminal.end() == 0


def test_control_c_interrupts_the_program_and_not_the_launcher(shell: Terminal) -> None:
    shell.say("trap 'echo caught' INT; sleep 30", rb"")
    time.sleep(0.3)
    shell.type(b"\x03")
    shell.wait_for(rb"\^C")
    shell.wait_for(PROMPT)
    shell.say("echo status $?", rb"status 130")


def test_job_control_works_inside(shell: Terminal) -> None:
    shell.say("sleep 5 && echo slept", rb"")
    time.sleep(0.3)
    shell.type(b"\x1a")
    shell.wait_for(rb"Stopped")
    shell.wait_for(PROMPT)
    shell.say("jobs", rb"\[1\]\+  Stopped +sleep 5")
    shell.wait_for(PROMPT)
    shell.type(b"fg\n")
    shell.wait_for(rb"sleep 5")
    time.sleep(0.2)
    shell.type(b"\x03")
    shell.wait_for(PROMPT)
    shell.say("exit 5", rb"exit")
    assert shell.end() == 5


def test_control_d_ends_the_input(start: Start) -> None:
    terminal = start("/bin/cat")
    terminal.type(b"a line\n")
    terminal.wait_for(rb"a line\r\na line\r\n")
    terminal.type(b"\x04")
    assert terminal.end() == 0


def test_every_byte_passes(start: Start) -> None:
    terminal = start(
        *python(
            """
            import tty
            tty.setraw(0)
            os.write(1, b"ready")
            data = b""
            while len(data) < 256:
                data += os.read(0, 256)
            os.write(1, b"<" + data + b">")
            """
        )
    )
    terminal.wait_for(rb"ready")
    terminal.type(bytes(range(256)))
    assert terminal.end() == 0
    assert terminal.seen == b"<" + bytes(range(256)) + b">"


def test_much_output_comes_whole(start: Start) -> None:
    terminal = start("/bin/sh", "-c", "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; echo end")
    data = b""
    while b"end\r\n" not in data:
        assert select.select([terminal.master], [], [], 10)[0]
        data += os.read(terminal.master, 65536)
    assert data == b"".join(b"line %d\r\n" % number for number in range(20000)) + b"end\r\n"
    assert terminal.end() == 0


def test_output_to_a_pipe_is_no_terminal_and_is_not_translated(start: Start) -> None:
    terminal = start(
        "/bin/sh", "-c", "test -t 0 && test ! -t 1 && test -t 2 && printf 'a\\nb\\n'", stdout=subprocess.PIPE
    )
    assert terminal.process.stdout is not None
    assert terminal.process.stdout.read() == b"a\nb\n"
    assert terminal.end() == 0


def test_input_from_a_pipe_with_output_to_a_terminal(start: Start) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"through\n")
    os.close(writing)
    terminal = start("/bin/sh", "-c", "test ! -t 0 && test -t 1 && exec cat", stdin=reading)
    os.close(reading)
    terminal.wait_for(rb"through\r\n")
    assert terminal.end() == 0
    assert termios.tcgetattr(terminal.slave) == terminal.before


def test_input_from_a_terminal_that_can_only_be_read(start: Start) -> None:
    """As with `< /dev/tty > file`: the echo has nowhere to go."""
    slave = pty.openpty()
    reading = os.open(os.ttyname(slave[1]), os.O_RDONLY | os.O_NOCTTY)
    terminal = start("/bin/head", "-n1", stdin=reading, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.write(slave[0], b"typed\n")
    for fd in (*slave[1:], reading):
        os.close(fd)
    assert terminal.process.stdout is not None
    assert terminal.process.stdout.readline() == b"typed\n"
    assert terminal.process.stderr is not None
    assert terminal.process.stderr.read() == b""
    assert terminal.end() == 0
    os.close(slave[0])


def test_with_plain_streams_there_is_no_terminal_though_the_launcher_has_one(start: Start) -> None:
    null = os.open("/dev/null", os.O_RDONLY)
    code = """print(attempt(os.open, "/dev/tty", os.O_RDWR), read("/proc/self/stat").rpartition(")")[2].split()[4])"""
    terminal = start(*python(code), stdin=null, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    os.close(null)
    assert terminal.process.stdout is not None
    assert terminal.process.stdout.read() == b"ENXIO 0\n"
    assert terminal.end() == 0


def test_nothing_typed_by_the_app_reaches_the_callers_terminal(start: Start) -> None:
    """The request itself is refused; and would it not be, it would go to the container's own pty."""
    code = """
    import fcntl, termios
    results = []
    for fd in range(3):
        for request in (termios.TIOCSTI, 0x541C):
            results.append(attempt(fcntl.ioctl, fd, request, b"x"))
    print(results)
    """
    terminal = start(*python(code))
    terminal.wait_for(rb"\['EPERM', 'EPERM', 'EPERM', 'EPERM', 'EPERM', 'EPERM'\]")
    terminal.end()
    left = struct.unpack("i", fcntl.ioctl(terminal.slave, termios.FIONREAD, b"\0" * 4))[0]
    assert left == 0


def test_without_the_sandbox_it_does_reach_it(terminal: Terminal) -> None:
    """The control of the test above."""
    code = f"import fcntl, termios as t; fcntl.ioctl({terminal.slave}, t.TIOCSCTTY, 0); fcntl.ioctl(0, t.TIOCSTI, b'x')"
    terminal.start([PYTHON, "-c", code])
    if terminal.process.wait(10) != 0:
        pytest.skip("inconclusive: this kernel refuses TIOCSTI to everybody")
    terminal.wait_for(rb"x")


def test_the_app_does_not_outlive_the_terminal(start: Start, sandbox: Sandbox) -> None:
    terminal = start("/bin/sh", "-c", "echo here; while :; do sleep 0.1; echo more; done")
    terminal.wait_for(rb"here")
    os.close(terminal.master)
    terminal.master = -1
    assert terminal.process.wait(10) != 0
    assert sandbox.processes() == []


def test_a_program_that_keeps_writing_after_the_end_does_not_keep_the_session(
    sandbox: Sandbox, terminal: Terminal
) -> None:
    """A background job which ignores the hang-up writes on; the session ends with the command that it was for."""
    command = ("/bin/sh", "-c", "trap '' HUP; yes & exit 6")
    with sandbox.launch() as container, running(container, sandbox.command("/bin/sleep", "60")):
        options = ("--terminal", str(terminal.slave), "--exec", str(container.control))
        terminal.start(sandbox.driver(*command, options=options))
        deadline = time.monotonic() + 10
        while terminal.process.poll() is None and time.monotonic() < deadline:
            if select.select([terminal.master], [], [], 0.1)[0]:
                os.read(terminal.master, 65536)
        assert terminal.process.poll() == 6
