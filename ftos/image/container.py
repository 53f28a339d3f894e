# SPDX-License-Identifier: AGPL-3.0-or-later
"""Runs one container of a build, with its output in a log and its progress lines to whom they concern.

The launcher is injected (`Runner`): images are built by the same one that launches apps, and this layer may not import
it. What the container prints is hostile: it is kept as bytes in the log, the log is bounded, and a line is only looked
at by a parser that knows its form.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ftos.errors import BuildError, quote
from ftos.image.watchdog import GivenUp, Watchdog
from ftos.plan.records import LaunchPlan

LOG_LIMIT = 64 << 20
"""Bytes of output that are kept of one build; the rest is read and dropped."""
_LINE_LIMIT = 4096
"""A longer line is cut for the parser and the error message."""
_SHOWN_LINES = 12


class Runner(Protocol):
    def __call__(self, plan: LaunchPlan, *, stdout: int, stderr: int, watch: Callable[[], None]) -> int:
        """Launch `plan`, wait, and return its exit status (128+n for signal n). stdin is /dev/null.

        watch: called ten times a second meanwhile. When an exception passes, whether of it or KeyboardInterrupt, every
        process of the container is gone before it goes on.
        """


class BuildLog:
    """The output of all containers of one build, in one file which stays when the build has failed."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        self.left = LOG_LIMIT
        """Bytes that will still be kept."""
        self.tail: deque[bytes] = deque(maxlen=_SHOWN_LINES)

    def write(self, data: bytes) -> None:
        kept = data[: self.left]
        self.left -= len(kept)
        while kept:
            kept = kept[os.write(self._fd, kept) :]

    def close(self) -> None:
        os.close(self._fd)


def run_logged(
    runner: Runner, plan: LaunchPlan, log: BuildLog, watchdog: Watchdog, is_progress: Callable[[bytes], bool]
) -> None:
    """Run `plan` to its end. Its output goes to the log; each line is offered to `is_progress`, which says whether it
    was one of progress, and thus of no use in an error message.

    Raises BuildError with the last lines of the output when it fails, or when `watchdog` gives it up; OSError when the
    log can't be written.
    """
    step = watchdog.step
    log.tail.clear()
    log.write(f"== {step}: {' '.join(plan.command)}\n".encode(errors="surrogateescape"))
    reading, writing = os.pipe2(os.O_CLOEXEC)
    reader = _Reader(reading, log, watchdog, is_progress)
    reader.start()
    status, given_up = 0, None
    try:
        watchdog.look()
        status = runner(plan, stdout=writing, stderr=writing, watch=watchdog.look)
    except GivenUp as error:
        given_up = error
    finally:
        os.close(writing)
        reader.join()
    if reader.error is not None:
        raise reader.error
    lines = "".join("\n  " + quote(line.decode(errors="replace"), _LINE_LIMIT)[1:-1] for line in log.tail)
    colon = ":" if lines else ""
    if given_up is not None:
        raise BuildError(f"{given_up.message}{colon}{lines}", given_up.hint or f"see {quote(log.path)}")
    if status != 0:
        how = f"signal {status - 128}" if status > 128 else f"status {status}"
        raise BuildError(f"{step}: failed with {how}{colon}{lines}", f"see {quote(log.path)}")


class _Reader(threading.Thread):
    """Reads until every writer is gone, whatever happens: a container must never hang on a full pipe."""

    def __init__(self, reading: int, log: BuildLog, watchdog: Watchdog, is_progress: Callable[[bytes], bool]) -> None:
        super().__init__(name="build-log", daemon=True)
        self._watchdog = watchdog
        self._reading = reading
        self._log = log
        self._is_progress = is_progress
        self.error: Exception | None = None

    def run(self) -> None:
        rest = b""
        with os.fdopen(self._reading, "rb", buffering=0) as pipe:
            while data := pipe.read(65536):
                self._watchdog.heard()
                if self.error is None:
                    try:
                        rest = self._take(rest, data)
                    except Exception as error:
                        self.error = error
        if rest and self.error is None:
            self._log.tail.append(rest)

    def _take(self, rest: bytes, data: bytes) -> bytes:
        """Handle the lines that `data` completes; what remains of an unfinished one."""
        self._log.write(data)
        *lines, rest = (rest + data).split(b"\n")
        for line in (line[:_LINE_LIMIT].rstrip(b"\r") for line in lines):
            if line and not self._is_progress(line):
                self._log.tail.append(line)
        return rest[:_LINE_LIMIT]
