# SPDX-License-Identifier: AGPL-3.0-or-later
"""Downloads files. Runs as a program of its own, in a container that has network and nothing else:

    download.py ORDERS DIRECTORY

ORDERS is a JSON list of the fields of an `Order` each; the files go to DIRECTORY. Whoever ordered them checks what
came. Says how far it is, as `(1/3) NAME 0 MiB` (of all files together). Tells of each failure in one line, and ends
with the first file that it can't get.

No server holds it up: one that says nothing, or sends less than `SLOWEST`, is given up.
"""

from __future__ import annotations

import http.client
import json
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

SLOWEST = 16 << 10
"""Bytes a second. A server that is slower is of no use."""
GRACE = 60
"""Seconds. So many bytes as `SLOWEST` makes of it must come in each such time."""
TIMEOUT = 30
"""Seconds without a byte."""
_TRIES = 3
_GONE = (404, 410)


class Order(NamedTuple):
    """One file to get."""

    urls: Sequence[tuple[str, str]]
    """Where it is, and how a person knows that place. The next one is tried when one has it not."""
    name: str
    limit: int
    """Most bytes that it may have."""
    numbered: bool = False
    """There are many: 0, 1, 2 ... is put behind URL and name, up to the first that the server has not. All of them
    together may have `limit` bytes."""


class _Gone(OSError):
    """The server has not the file."""


class _TooLarge(OSError):
    """Another try would not help."""


def main(orders: str, directory: str) -> int:
    signal.signal(signal.SIGALRM, lambda *_: download.look())
    wanted = [Order(*fields) for fields in json.loads(Path(orders).read_text())]
    download = _Download(len(wanted), Path(directory))
    for number, order in enumerate(wanted, 1):
        if not download.get(number, order):
            return 1
    return 0


class _Download:
    def __init__(self, total: int, directory: Path) -> None:
        self._total = total
        self._directory = directory
        self._got = 0
        self._before = 0
        """What `_got` was at the last look."""

    def get(self, number: int, order: Order) -> bool:
        """Whether `order` could be fulfilled."""
        begin, part = self._got, 0
        while True:
            suffix = str(part) if order.numbered else ""
            for url, shown in order.urls:
                limit = order.limit - (self._got - begin)
                try:
                    self._try(number, url + suffix, order.name + suffix, limit)
                    break
                except _Gone as error:
                    if order.numbered:
                        return True
                    print(f"{shown}: {error}")
                except (OSError, http.client.HTTPException) as error:
                    print(f"{shown}{suffix}: {error or type(error).__name__}")
            else:
                return False
            if not order.numbered:
                return True
            part += 1

    def _try(self, number: int, url: str, name: str, limit: int) -> None:
        """Raises OSError, HTTPException."""
        for left in reversed(range(_TRIES)):
            begin = self._got
            try:
                self._fetch(number, url, name, limit)
                return
            except (_Gone, _TooLarge):
                raise
            except (OSError, http.client.HTTPException):
                self._got = begin
                if not left:
                    raise
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)

    def _fetch(self, number: int, url: str, name: str, limit: int) -> None:
        begin = self._before = self._got
        self._say(number, name)
        signal.setitimer(signal.ITIMER_REAL, GRACE, GRACE)
        try:
            with urllib.request.urlopen(url, timeout=TIMEOUT) as reading, (self._directory / name).open("wb") as file:
                while block := reading.read1(1 << 16):
                    if self._got + len(block) - begin > limit:
                        raise _TooLarge(f"larger than {limit} bytes")
                    file.write(block)
                    self._got += len(block)
                    if self._got >> 20 != (self._got - len(block)) >> 20:
                        self._say(number, name)
                promised = reading.headers["Content-Length"]
                if promised is not None and promised != str(self._got - begin):
                    raise OSError(f"it ended after {self._got - begin} of {promised} bytes")
        except urllib.error.HTTPError as error:
            kind = _Gone if error.code in _GONE else OSError
            raise kind(f"the server says {error.code} {error.reason}") from error
        except urllib.error.URLError as error:
            kind = _Gone if isinstance(error.reason, FileNotFoundError) else OSError
            raise kind(str(error.reason)) from error

    def look(self) -> None:
        """Raises TimeoutError when too little came since the last time."""
        if self._got - self._before < SLOWEST * GRACE:
            raise TimeoutError(f"it sends less than {SLOWEST >> 10} KiB a second")
        self._before = self._got

    def _say(self, number: int, name: str) -> None:
        print(f"({number}/{self._total}) {name} {self._got >> 20} MiB", flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
