# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said to a container's init over its control socket; `ftos/_native/control.h` is the other side.

One connection serves one process. All that arrives from init is trusted as far as the sandbox goes (init is out of the
app's reach), but is still checked for its form.
"""

from __future__ import annotations

import array
import os
import signal
import socket
import stat
from collections.abc import Sequence
from contextlib import suppress
from enum import IntEnum
from pathlib import Path

from construct import Int16ul, Int32sl, Int32ul, Struct
from msgspec import Struct as Record

from ftos.errors import BadInput, LaunchError

PAYLOAD_MAX = 131072
STRINGS_MAX = 4096
NO_TERMINAL = os.terminal_size((0, 0))
_REQUEST = Struct(
    "kind" / Int32ul,
    "terminal" / Int32ul,
    "arguments" / Int32ul,
    "environment" / Int32ul,
    "signal" / Int32ul,
    "rows" / Int16ul,
    "columns" / Int16ul,
    "length" / Int32ul,
)
_ANSWER = Struct("reply" / Int32ul, "value" / Int32sl)


class Kind(IntEnum):
    START = 1
    """The app itself: its end is the end of the container."""
    EXEC = 2
    """One more process, confined exactly as the app."""
    SIGNAL = 3


class Reply(IntEnum):
    STARTED = 1
    FAILED = 2
    EXITED = 3


class Command(Record, frozen=True, kw_only=True):
    """A process to start: a program with arguments (PATH of `environment` is searched), where, and with what."""

    arguments: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    directory: str


class Answer(Record, frozen=True):
    reply: Reply
    value: int
    """STARTED: pid inside. FAILED: errno. EXITED: exit status, 128+n for a signal."""
    terminal: int = -1
    """STARTED: descriptor of the pty's master, -1 without one."""


class Connection:
    """A client's end. Use `connect`; close it when done."""

    def __init__(self, connected: socket.socket) -> None:
        self.socket = connected

    @classmethod
    def connect(cls, control: Path) -> Connection:
        """Connect to the socket at `control`, however long the path is. Raises OSError."""
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        directory = os.open(control.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            connected.connect(f"/proc/self/fd/{directory}/{control.name}")
        except OSError:
            connected.close()
            raise
        finally:
            os.close(directory)
        return cls(connected)

    def start(
        self,
        kind: Kind,
        command: Command,
        streams: Sequence[int],
        terminal: int = 0,
        size: os.terminal_size = NO_TERMINAL,
    ) -> None:
        """Ask for a process. Bit i of `terminal`: stream i is a new pty of this size; the others are `streams`.

        Raises BadInput when a stream is a directory, LaunchError when the command is too long.
        """
        if any(stat.S_ISDIR(os.fstat(stream).st_mode) for stream in streams):  # `..` leads out of the root from there
            raise BadInput("a standard stream is a directory", "hand over files, pipes or sockets")
        texts = [command.directory, *command.arguments, *(f"{name}={value}" for name, value in command.environment)]
        payload = b"".join(text.encode("utf-8", "surrogateescape") + b"\0" for text in texts)
        if max(len(command.arguments), len(command.environment)) > STRINGS_MAX:
            raise LaunchError(
                f"the command has more than {STRINGS_MAX} arguments or variables",
                "pass long lists through a file or standard input",
            )
        if len(payload) > PAYLOAD_MAX:
            raise LaunchError(
                f"the command's arguments and environment are {len(payload)} bytes, {PAYLOAD_MAX} are possible",
                "pass long data through a file or standard input",
            )
        header = _REQUEST.build(
            {
                "kind": kind,
                "terminal": terminal,
                "arguments": len(command.arguments),
                "environment": len(command.environment),
                "signal": 0,
                "rows": size.lines,
                "columns": size.columns,
                "length": len(payload),
            }
        )
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))] if streams else []
        with suppress(BrokenPipeError, ConnectionResetError):  # init has gone: then there is no answer
            self.socket.sendmsg([header, payload], rights)

    def signal(self, number: int) -> None:
        """Send a signal to the process of this connection; nothing happens when it has ended."""
        header = _REQUEST.build(
            dict.fromkeys(("terminal", "arguments", "environment", "rows", "columns", "length"), 0)
            | {"kind": Kind.SIGNAL, "signal": signal.Signals(number).value}
        )
        with suppress(BrokenPipeError, ConnectionResetError):
            self.socket.send(header)

    def receive(self) -> Answer | None:
        """The next answer; None when init has gone."""
        try:
            data, ancillary, _, _ = self.socket.recvmsg(_ANSWER.sizeof(), socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
        except ConnectionResetError:
            return None
        if len(data) != _ANSWER.sizeof():
            return None
        answer = _ANSWER.parse(data)
        descriptors = array.array("i")
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                descriptors.frombytes(content[: len(content) - len(content) % descriptors.itemsize])
        return Answer(Reply(answer.reply), answer.value, descriptors[0] if descriptors else -1)

    def fileno(self) -> int:
        return self.socket.fileno()

    def close(self) -> None:
        self.socket.close()
