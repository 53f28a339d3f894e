# SPDX-License-Identifier: AGPL-3.0-or-later
"""Stopping containers that another process started: first asked, then killed. By pidfd, so never the wrong process."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress

from ftos.runtime.instances import InstanceRecord, is_alive


def stop(records: Sequence[InstanceRecord], timeout: float) -> Iterator[tuple[str, bool]]:
    """Stop all of `records` at once; yield each instance and whether it had to be killed after `timeout` seconds."""
    pidfds = {record.instance: fd for record in records if (fd := _open(record)) is not None}
    try:
        for fd in pidfds.values():
            _send(fd, signal.SIGTERM)  # init passes it on to the app
        deadline = time.monotonic() + timeout
        for record in records:
            fd = pidfds.get(record.instance)
            ended = fd is None or _ended(fd, deadline - time.monotonic())
            if fd is not None and not ended:
                _send(fd, signal.SIGKILL)
                _ended(fd, 5)
            yield record.instance, not ended
    finally:
        for fd in pidfds.values():
            os.close(fd)


def _open(record: InstanceRecord) -> int | None:
    try:
        fd = os.pidfd_open(record.pid)
    except ProcessLookupError:
        return None
    if is_alive(record):  # looked at after the pidfd holds the process: it is the right one
        return fd
    os.close(fd)
    return None


def _send(pidfd: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, number)


def _ended(pidfd: int, seconds: float) -> bool:
    """Whether the process ends within this time."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(max(0, int(seconds * 1000))))
