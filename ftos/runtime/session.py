# SPDX-License-Identifier: AGPL-3.0-or-later
"""One process in a container, seen from the terminal or pipe of whoever started it.

Standard streams that are no terminal are handed over as they are. A terminal never is: the process gets a pty of the
container's own, and bytes are carried between the two, so no request on the pty (TIOCSTI and its kin) reaches the
caller's terminal. Signals that reach this process are passed on.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import struct
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ftos.runtime.control import Answer, Command, Connection, Kind, Reply

FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)
GONE = 137
"""Exit status when the container ended without telling one: it was killed."""
_CHUNK = 65536
_WATCH_INTERVAL = 0.1
_READS_OF_A_FULL_PTY = 64
"""A read from a pty brings at most 4 KiB; less than 80 KiB are under way."""


class StartFailed(Exception):
    """The program could not be executed: `error` is the errno."""

    def __init__(self, error: int) -> None:
        super().__init__(os.strerror(error))
        self.error = error

    @property
    def status(self) -> int:
        """As shells say it: 127 not found, 126 found but not executable."""
        return 127 if self.error in (errno.ENOENT, errno.ENOTDIR) else 126


def run(connection: Connection, kind: Kind, command: Command) -> int:
    """Start `command` with this process's standard streams, carry until it ends, and return its exit status.

    Raises StartFailed when the program can't be executed.
    """
    terminals = [stream for stream in (0, 1, 2) if _is_terminal(stream)]
    plain = [stream for stream in (0, 1, 2) if stream not in terminals]
    if not terminals:
        with _signals() as wakeup:
            connection.start(kind, command, plain)
            _started(connection)
            return _Relay(connection, wakeup).carry()
    term = os.environ.get("TERM", "")
    if term.isprintable() and term and not any(name == "TERM" for name, _ in command.environment):
        command = Command(
            arguments=command.arguments,
            environment=(*command.environment, ("TERM", term)),
            directory=command.directory,
        )
    with _signals() as wakeup:
        size = os.get_terminal_size(terminals[0])
        connection.start(kind, command, plain, sum(1 << stream for stream in terminals), size)
        master = _started(connection).terminal
        try:
            with _raw_input(master):
                relay = _Relay(connection, wakeup, master, 1 if 1 in terminals else terminals[-1], 0 in terminals)
                return relay.carry()
        finally:
            os.close(master)


def run_plain(
    connection: Connection, command: Command, streams: tuple[int, int, int], watch: Callable[[], None] = lambda: None
) -> int:
    """Start `command` as the container's app with these streams and wait for its end; for image builds.

    `watch` is called ten times a second meanwhile.
    """
    connection.start(Kind.START, command, streams)
    _started(connection)
    while not select.select([connection.fileno()], [], [], _WATCH_INTERVAL)[0]:
        watch()
    answer = connection.receive()
    return GONE if answer is None else answer.value


def _is_terminal(stream: int) -> bool:
    try:
        return os.isatty(stream)
    except OSError:
        return False


def _started(connection: Connection) -> Answer:
    answer = connection.receive()
    if answer is None:
        raise StartFailed(errno.ESRCH)
    if answer.reply is not Reply.STARTED:
        raise StartFailed(answer.value)
    return answer


class _Relay:
    """The loop between a caller's streams, the signals it gets, and the process."""

    def __init__(
        self, connection: Connection, wakeup: int, master: int = -1, output: int = 1, reads_input: bool = False
    ) -> None:
        self.connection = connection
        self.wakeup = wakeup
        self.master = master
        self.output = output
        self.pending = b""
        self.reads_input = reads_input
        if master >= 0:
            os.set_blocking(master, False)

    def carry(self) -> int:
        while True:
            readable, writable = self._wait()
            if self.wakeup in readable:
                self._take_signals()
            if self.master in writable:
                self._write_input()
            if 0 in readable:
                self._read_input()
            if self.master in readable and not self._copy_output():
                self.master = -1
            if self.connection.fileno() in readable:
                answer = self.connection.receive()
                self._drain()
                return GONE if answer is None else answer.value

    def _wait(self) -> tuple[list[int], list[int]]:
        reading = [self.connection.fileno(), self.wakeup]
        writing = []
        if self.master >= 0:
            reading.append(self.master)
            if self.pending:
                writing.append(self.master)
            elif self.reads_input:
                reading.append(0)
        readable, writable, _ = select.select(reading, writing, [])
        return readable, writable

    def _take_signals(self) -> None:
        for number in os.read(self.wakeup, 64):
            if number == signal.SIGWINCH and self.master >= 0:
                _copy_size(self.output, self.master)
            elif number in FORWARDED:
                self.connection.signal(number)

    def _read_input(self) -> None:
        try:
            self.pending = os.read(0, _CHUNK)
        except BlockingIOError:
            return
        except OSError:  # EIO: the terminal has gone
            self.pending = b""
        self.reads_input = bool(self.pending)

    def _write_input(self) -> None:
        with suppress(OSError):
            self.pending = self.pending[os.write(self.master, self.pending) :]

    def _drain(self) -> None:
        """Carry what was written before the end. What still runs may write for ever: no more than a pty holds."""
        for _ in range(_READS_OF_A_FULL_PTY):
            if self.master < 0 or not self._copy_output(drain=True):
                return

    def _copy_output(self, drain: bool = False) -> bool:
        """Carry what the process wrote; False when there is nothing more."""
        try:
            data = os.read(self.master, _CHUNK)
        except BlockingIOError:
            return not drain
        except OSError:  # EIO: nobody has the other side open any more
            return False
        while data:
            try:
                data = data[os.write(self.output, data) :]
            except BlockingIOError:
                select.select([], [self.output], [])
            except OSError:  # the terminal has gone, or was opened for reading only: nobody can see it
                break
        return True


def _copy_size(source: int, target: int) -> None:
    with suppress(OSError):
        size = os.get_terminal_size(source)
        fcntl.ioctl(target, termios.TIOCSWINSZ, struct.pack("HHHH", size.lines, size.columns, 0, 0))


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor from which the numbers of arriving signals can be read; the signals do nothing else meanwhile.

    A signal that this process was told to ignore stays ignored, as nohup(1) has it.
    """
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    watched = [number for number in (*FORWARDED, signal.SIGWINCH) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, lambda *_: None) for number in watched}
    previous = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reading)
        os.close(writing)


@contextmanager
def _raw_input(master: int) -> Iterator[None]:
    """The caller's terminal passes every byte through while the process has the pty.

    Without a terminal for input, nobody edits lines on ours, and the pty must not translate line ends a second time.
    """
    if not _is_terminal(0):
        modes = termios.tcgetattr(master)
        modes[1] &= ~termios.OPOST
        termios.tcsetattr(master, termios.TCSANOW, modes)
        yield
        return
    before = termios.tcgetattr(0)
    sys.stdout.flush()
    tty.setraw(0, termios.TCSADRAIN)  # what was typed ahead stays
    try:
        yield
    finally:
        with suppress(termios.error):  # the terminal has gone
            termios.tcsetattr(0, termios.TCSADRAIN, before)
