# SPDX-License-Identifier: AGPL-3.0-or-later
"""Downloads a static delta. Runs as a program of its own, in a container that has network and nothing else:

    receive.py URL DIRECTORY LIMIT

Gets URL/superblock and URL/0, URL/1 ... up to the first that the server has not, all together at most LIMIT bytes, into
DIRECTORY. Whoever ordered it checks what came. Says how far it is, and ends with what went wrong, in one line.

ostree's own client gets most files of a delta a second time, one by one, when the commit is signed with GPG: it begins
to look for what is missing as soon as it has the signature.
"""

from __future__ import annotations

import http.client
import sys
import urllib.error
import urllib.request
from pathlib import Path

_TIMEOUT = 30
"""Seconds without a byte."""
_GONE = (404, 410)


def main(url: str, directory: str, limit: int) -> int:
    got, part = _fetch(f"{url}/superblock", Path(directory, "superblock"), 0, limit), 0
    if got is None:
        print("there is no delta")
        return 1
    while (more := _fetch(f"{url}/{part}", Path(directory, str(part)), got, limit)) is not None:
        got, part = more, part + 1
    return 0


def _fetch(url: str, target: Path, got: int, limit: int) -> int | None:
    """How many bytes there are now, with the `got` of before; None when the server has not the file."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as reading, target.open("wb") as writing:
            while block := reading.read1(1 << 16):
                if got >> 20 != (got + len(block)) >> 20:
                    print(f"{(got + len(block)) >> 20} MiB", flush=True)
                got += len(block)
                if got > limit:
                    raise OSError(f"larger than {limit} bytes")
                writing.write(block)
            if reading.length:
                raise OSError("the server ended too early")
    except urllib.error.HTTPError as error:
        if error.code in _GONE:
            return None
        raise
    except urllib.error.URLError as error:
        if isinstance(error.reason, FileNotFoundError):
            return None
        raise
    return got


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
    except (OSError, http.client.HTTPException) as error:
        print(str(error) or type(error).__name__)
        sys.exit(1)
