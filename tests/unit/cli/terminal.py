# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos` at a pseudo-terminal, played by a test: wait for a text, type an answer."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from pathlib import Path
from types import TracebackType

DEADLINE = 30.0
"""Seconds until a text must have come."""


class Terminal:
    """Runs `ftos` with these words on a terminal of 100 columns; a context manager."""

    def __init__(self, *words: str, **environment: str) -> None:
        command = [sys.executable, "-c", "from ftos.cli.main import main; main()", *words]
        self.pid, self._fd = pty.fork()
        if self.pid == 0:
            os.execve(sys.executable, command, {**os.environ, "COLUMNS": "100", "TERM": "xterm", **environment})
        self._unread = ""
        self.output = ""

    def expect(self, text: str) -> None:
        """Read until `text` comes, after what earlier calls have waited for."""
        end = time.monotonic() + DEADLINE
        while text not in self._unread:
            ready, _, _ = select.select([self._fd], [], [], end - time.monotonic())
            data = self._read() if ready else b""
            assert data, f"{text!r} did not come; there was:\n{self.output}"
            self.output += data.decode()
            self._unread += data.decode()
        self._unread = self._unread.partition(text)[2]

    def answer(self, text: str) -> None:
        os.write(self._fd, text.encode() + b"\n")

    def interrupt(self) -> None:
        """Press ctrl-C once `ftos` waits for input: just before a blocking read it would only be seen after that."""
        end = time.monotonic() + DEADLINE
        while Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < end
            time.sleep(0.01)
        os.write(self._fd, b"\x03")

    def end(self) -> int:
        """Read to the end; the exit status."""
        while data := self._read():
            self.output += data.decode()
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def _read(self) -> bytes:
        try:
            return os.read(self._fd, 65536)
        except OSError:  # EIO: the other side is gone
            return b""

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)
