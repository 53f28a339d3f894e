# SPDX-License-Identifier: AGPL-3.0-or-later
"""The real init as a plain child process, without a container: what it answers, and what it withstands."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftos.runtime.container import INIT
from ftos.runtime.control import PAYLOAD_MAX, Answer, Command, Connection, Kind, Reply

SLOTS = 256
"""CONNECTIONS in init.c."""
CONTROL, STATUS, LIFELINE = 3, 4, 5


class Init:
    """A running init. Its end is waited for; the app, which no pid namespace ends here, is killed."""

    def __init__(self, directory: Path) -> None:
        self.control = directory / "control"
        self.status_file = directory / "status"
        self.app = 0
        self.connections: list[Connection] = []
        self._exit: int | None = None
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        listener.bind(str(self.control))
        listener.listen(8)
        status = os.open(self.status_file, os.O_WRONLY | os.O_CREAT)
        lifeline, self.lifeline = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        sources = [null, null, null, listener.fileno(), status, lifeline]
        high = [fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 100) for fd in sources]
        actions = [(os.POSIX_SPAWN_DUP2, fd, at) for at, fd in enumerate(high)]
        self.pid = os.posix_spawn(str(INIT), ["ftos-init"], {}, file_actions=actions)
        for fd in (*high, null, status, lifeline):
            os.close(fd)
        listener.close()

    def connect(self) -> Connection:
        """A new connection; closed with the test at the latest."""
        self.connections.append(Connection.connect(self.control))
        return self.connections[-1]

    def start(self, *arguments: str, kind: Kind = Kind.START) -> Connection:
        """Start a program without streams of ours; its answers come on the connection."""
        connection = self.connect()
        null = os.open("/dev/null", os.O_RDWR)
        connection.start(kind, command(*arguments), [null] * 3)
        os.close(null)
        return connection

    def start_app(self) -> Connection:
        """An app that stays. Init is at rest then: it has answered a second client, which stays as well."""
        connection = self.start("sleep", "100")
        self.app = started(connection)
        second = self.connect()
        second.socket.send(b"?")
        assert answer(second) == Answer(Reply.FAILED, errno.E2BIG)
        return connection

    def output(self, *arguments: str) -> str:
        """What a further program writes."""
        reading, writing = os.pipe()
        null = os.open("/dev/null", os.O_RDWR)
        connection = self.connect()
        connection.start(Kind.EXEC, command(*arguments), [null, writing, null])
        os.close(null)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        started(connection)
        assert answer(connection) == Answer(Reply.EXITED, 0)
        connection.close()
        return text

    def wait(self) -> int:
        """Its exit status."""
        if self._exit is None:
            pidfd = os.pidfd_open(self.pid)
            ended = select.select([pidfd], [], [], 10)[0]
            os.close(pidfd)
            assert ended, "init did not end"
            self._exit = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self._exit

    def break_lifeline(self) -> None:
        if self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def descriptors(self) -> list[int]:
        return sorted(int(fd) for fd in os.listdir(f"/proc/{self.pid}/fd"))

    def has_closed_all_but(self, before: list[int]) -> bool:
        """Whether its descriptors are, soon, what they were: it learns of a closed connection a moment later."""
        deadline = time.monotonic() + 5
        while (now := self.descriptors()) != before and time.monotonic() < deadline:
            time.sleep(0.005)
        return now == before


@pytest.fixture
def init(tmp_path: Path) -> Iterator[Init]:
    running = Init(tmp_path)
    yield running
    for connection in running.connections:
        connection.close()
    running.break_lifeline()
    running.wait()
    if running.app:
        os.kill(running.app, signal.SIGKILL)


def command(*arguments: str) -> Command:
    return Command(arguments=arguments, environment=(("PATH", "/usr/bin:/bin"), ("A", "b=c")), directory="/tmp")


def answer(connection: Connection) -> Answer | None:
    assert select.select([connection], [], [], 10)[0], "init does not answer"
    return connection.receive()


def started(connection: Connection) -> int:
    """The pid of what was started."""
    first = answer(connection)
    assert first
    assert first.reply is Reply.STARTED
    return first.value


# --- what it does ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "status"), [("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -9 $$", 137), ("kill -15 $$", 143)]
)
def test_the_end_of_the_app_is_the_end_of_init_with_its_status(init: Init, script: str, status: int) -> None:
    connection = init.start("sh", "-c", script)
    started(connection)
    assert answer(connection) == Answer(Reply.EXITED, status)
    assert answer(connection) is None
    assert init.wait() == status
    assert init.status_file.read_text() == f"exit {status}\n"


def test_the_status_is_written_also_when_nobody_waits(init: Init) -> None:
    connection = init.start("sh", "-c", "sleep 0.2; exit 7")
    started(connection)
    connection.close()
    assert init.wait() == 7
    assert init.status_file.read_text() == "exit 7\n"


def test_a_process_gets_its_streams_directory_and_environment_and_nothing_else(init: Init) -> None:
    init.start_app()
    assert init.output("env") == "PATH=/usr/bin:/bin\nA=b=c\n"
    assert init.output("pwd") == "/tmp\n"
    descriptors = init.output("ls", "/proc/self/fd").split()
    assert descriptors == ["0", "1", "2", "3"]  # 3 is the directory that ls reads
    status = dict(line.split(":\t", 1) for line in init.output("cat", "/proc/self/status").splitlines())
    assert status["SigBlk"] == "0000000000000000"
    session = init.output("sh", "-c", "cut -d' ' -f1,5,6 /proc/$$/stat").split()
    assert len(set(session)) == 1  # pid, group and session


def test_further_processes_end_by_themselves(init: Init) -> None:
    init.start_app()
    other = init.start("sh", "-c", "exit 5", kind=Kind.EXEC)
    started(other)
    assert answer(other) == Answer(Reply.EXITED, 5)
    assert init.output("echo", "still there") == "still there\n"
    assert init.status_file.read_text() == ""


def test_a_connection_can_serve_one_process_after_another(init: Init) -> None:
    init.start_app()
    connection = init.connect()
    with open("/dev/null", "r+b", buffering=0) as null:
        for status in (1, 2):
            connection.start(Kind.EXEC, command("sh", "-c", f"exit {status}"), [null.fileno()] * 3)
            started(connection)
            assert answer(connection) == Answer(Reply.EXITED, status)


def test_signals_reach_the_process_of_their_connection(init: Init) -> None:
    init.start_app()
    other = init.start("sleep", "100", kind=Kind.EXEC)
    started(other)
    other.signal(signal.SIGTERM)
    assert answer(other) == Answer(Reply.EXITED, 143)
    other.signal(signal.SIGTERM)  # nothing there any more
    assert init.output("echo", "x") == "x\n"


def test_signals_to_init_go_to_the_app(init: Init) -> None:
    connection = init.start_app()
    os.kill(init.pid, signal.SIGTERM)
    assert answer(connection) == Answer(Reply.EXITED, 143)
    init.app = 0
    assert init.wait() == 143


def test_when_the_lifeline_breaks_init_ends(init: Init) -> None:
    init.start_app()
    init.break_lifeline()
    assert init.wait() == 137


def test_when_the_lifeline_breaks_before_the_app_starts_init_ends(init: Init) -> None:
    init.break_lifeline()
    assert init.wait() == 137
    assert init.status_file.read_text() == ""


def test_a_terminal_is_made_and_its_other_side_handed_over(init: Init) -> None:
    init.start_app()
    connection = init.connect()
    connection.start(Kind.EXEC, command("sh", "-c", "stty size; tty"), [], 0b111, os.terminal_size((99, 33)))
    first = answer(connection)
    assert first
    assert first.terminal >= 0
    text = b""
    while b"/dev/pts/" not in text or not text.endswith(b"\n"):
        assert select.select([first.terminal], [], [], 10)[0]
        text += os.read(first.terminal, 100)
    assert text.startswith(b"33 99\r\n")
    os.close(first.terminal)


@pytest.mark.parametrize(
    ("program", "error", "status"),
    [
        ("/no/such", errno.ENOENT, 127),
        ("no-such", errno.ENOENT, 127),
        ("/etc/passwd/x", errno.ENOTDIR, 127),
        ("/tmp", errno.EACCES, 126),
    ],
)
def test_a_program_that_can_not_be_executed_fails_with_its_errno(
    init: Init, program: str, error: int, status: int
) -> None:
    connection = init.start(program)
    assert answer(connection) == Answer(Reply.FAILED, error)
    assert init.wait() == status
    assert init.status_file.read_text() == f"exit {status}\n"


def test_a_further_program_that_can_not_be_executed_leaves_the_app_alone(init: Init) -> None:
    init.start_app()
    assert answer(init.start("/no/such", kind=Kind.EXEC)) == Answer(Reply.FAILED, errno.ENOENT)
    connection = init.connect()
    with open("/dev/null", "r+b", buffering=0) as null:
        nowhere = Command(arguments=("true",), environment=(), directory="/no/such")
        connection.start(Kind.EXEC, nowhere, [null.fileno()] * 3)
    assert answer(connection) == Answer(Reply.FAILED, errno.ENOENT)
    assert init.output("echo", "x") == "x\n"


def test_nothing_runs_beside_an_app_that_was_not_started(init: Init) -> None:
    assert answer(init.start("true", kind=Kind.EXEC)) == Answer(Reply.FAILED, errno.EINVAL)


def test_the_app_is_started_once(init: Init) -> None:
    init.start_app()
    assert answer(init.start("true")) == Answer(Reply.FAILED, errno.EINVAL)
    assert init.output("echo", "x") == "x\n"


# --- what it withstands ---------------------------------------------------------------------------------------------


def request(
    payload: bytes = b"/\0true\0",
    arguments: int = 1,
    environment: int = 0,
    terminal: int = 0,
    kind: int = 2,
    extra: int = 0,
) -> bytes:
    return struct.pack("<IIIIIHHI", kind, terminal, arguments, environment, 0, 0, 0, len(payload) + extra) + payload


MALFORMED: dict[str, tuple[bytes, int]] = {
    "one byte": (b"\x02", errno.E2BIG),
    "half a header": (request()[:16], errno.E2BIG),
    "a header less a byte": (request()[:27], errno.E2BIG),
    "no payload": (request(b""), errno.EINVAL),
    "a length that is too large": (request(extra=1), errno.EINVAL),
    "a length that is too small": (request(extra=-1), errno.EINVAL),
    "a huge length": (request(extra=0x7FFFFFFF), errno.EINVAL),
    "a payload that is cut off": (request()[:-1], errno.EINVAL),
    "a string without end": (request(b"/\0true"), errno.EINVAL),
    "no arguments": (request(b"/\0", arguments=0), errno.EINVAL),
    "fewer strings than promised": (request(arguments=2), errno.EINVAL),
    "far fewer strings than promised": (request(arguments=4096, environment=4096), errno.EINVAL),
    "more strings than promised": (request(b"/\0true\0x\0"), errno.EINVAL),
    "too many arguments": (request(b"/\0" + b"\0" * 4097, arguments=4097), errno.EINVAL),
    "too many variables": (request(b"/\0x\0" + b"\0" * 4097, environment=4097), errno.EINVAL),
    "a count that overflows": (request(arguments=0xFFFFFFFF, environment=2), errno.EINVAL),
    "counts that overflow together": (request(arguments=0x80000000, environment=0x80000001), errno.EINVAL),
    "an unknown stream": (request(terminal=8), errno.EINVAL),
    "too few streams": (request(), errno.EINVAL),
    "too few streams beside a terminal": (request(terminal=0b011), errno.EINVAL),
    "more than fits": (request(b"/\0" + b"x" * PAYLOAD_MAX + b"\0"), errno.E2BIG),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_a_malformed_request_is_refused_and_the_app_goes_on(init: Init, case: str) -> None:
    data, error = MALFORMED[case]
    init.start_app()
    before = init.descriptors()
    connection = init.connect()
    connection.socket.send(data)
    assert answer(connection) == Answer(Reply.FAILED, error)
    connection.close()
    assert init.output("echo", "x") == "x\n"
    assert init.has_closed_all_but(before)


def test_the_most_strings_that_are_promised_are_taken(init: Init) -> None:
    init.start_app()
    connection = init.connect()
    payload = b"/\0true\0" + b"\0" * 4095 + b"\0" * 4096
    with open("/dev/null", "r+b", buffering=0) as null:
        data = request(payload, arguments=4096, environment=4096)
        socket.send_fds(connection.socket, [data], [null.fileno()] * 3)
    started(connection)
    assert answer(connection) == Answer(Reply.EXITED, 0)


@pytest.mark.parametrize("data", [request(kind=0), request(kind=99), request(kind=0xFFFFFFFF)])
def test_an_unknown_request_is_passed_over(init: Init, data: bytes) -> None:
    init.start_app()
    connection = init.connect()
    connection.socket.send(data)
    assert init.output("echo", "x") == "x\n"
    assert not select.select([connection], [], [], 0)[0]


@pytest.mark.parametrize("number", [65, 0xFFFFFFFF, 0x80000000])
def test_a_signal_that_does_not_exist_is_passed_over(init: Init, number: int) -> None:
    connection = init.start_app()
    connection.socket.send(struct.pack("<IIIIIHHI", 3, 0, 0, 0, number, 0, 0, 0))
    assert init.output("echo", "x") == "x\n"


@pytest.mark.parametrize("count", [4, 5, 253])
def test_descriptors_that_nobody_wants_are_closed(init: Init, count: int) -> None:
    init.start_app()
    before = init.descriptors()
    connection = init.connect()
    with open("/dev/null", "r+b", buffering=0) as null:
        socket.send_fds(connection.socket, [request()], [null.fileno()] * count)
    first = answer(connection)
    assert first
    assert first.reply is (Reply.STARTED if count == 4 else Reply.FAILED)
    if count == 4:
        assert answer(connection) == Answer(Reply.EXITED, 0)
    connection.close()
    assert init.output("echo", "x") == "x\n"
    assert init.has_closed_all_but(before)


def test_a_malformed_start_ends_it(init: Init) -> None:
    connection = init.connect()
    connection.socket.send(request(b"", kind=1))
    assert answer(connection) == Answer(Reply.FAILED, errno.EINVAL)
    assert init.wait() == 126


def test_clients_beyond_the_last_slot_wait_until_one_leaves(init: Init) -> None:
    init.start_app()
    before = init.descriptors()
    kept = [init.connect() for _ in range(SLOTS - 2)]  # start_app has two
    waiting = init.start("true", kind=Kind.EXEC)
    assert not select.select([waiting], [], [], 0.2)[0]
    kept.pop().close()
    started(waiting)
    assert answer(waiting) == Answer(Reply.EXITED, 0)
    for connection in (*kept, waiting):
        connection.close()
    assert init.output("echo", "x") == "x\n"
    assert init.has_closed_all_but(before)


def test_a_thousand_connections_leave_no_trace(init: Init) -> None:
    init.start_app()
    before = init.descriptors()
    for _ in range(1000):
        init.connect().close()
    assert init.output("echo", "x") == "x\n"
    assert init.has_closed_all_but(before)


@pytest.mark.parametrize("leave", [lambda c: c.close(), lambda c: c.socket.shutdown(socket.SHUT_RDWR)])
def test_clients_that_go_away_while_their_process_runs_leave_no_trace(
    init: Init, leave: Callable[[Connection], None]
) -> None:
    init.start_app()
    before = init.descriptors()
    for _ in range(100):
        connection = init.start("true", kind=Kind.EXEC)
        leave(connection)
        connection.close()
    assert init.output("echo", "x") == "x\n"
    assert init.has_closed_all_but(before)


def test_random_bytes_change_nothing(init: Init) -> None:
    init.start_app()
    before = init.descriptors()
    for size in (*range(1, 64), 1000, 65536, 131072):
        connection = init.connect()
        connection.socket.send(bytes((size * 7 + at * 31) & 0xFF for at in range(size)))
        connection.close()
    assert init.output("echo", "x") == "x\n"
    assert init.has_closed_all_but(before)
