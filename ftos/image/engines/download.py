# SPDX-License-Identifier: AGPL-3.0-or-later
"""Downloads files. Runs as a program of its own, in a container that has network and nothing else:

    download.py ORDERS DIRECTORY

ORDERS is a JSON list of [URL, how a person knows it, file name, most bytes that it may have]; the files go to
DIRECTORY. Whoever ordered them checks what came. Ends with the first failure, and tells of it in one line.
"""

from __future__ import annotations

import http.client
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

_TIMEOUT = 60
"""Seconds without a byte."""
_TRIES = 3


def main(orders: str, directory: str) -> int:
    wanted = json.loads(Path(orders).read_text())
    for number, (url, shown, name, limit) in enumerate(wanted, 1):
        print(f"({number}/{len(wanted)}) {name}", flush=True)
        problem = ""
        for _ in range(_TRIES):
            problem = _fetch(url, Path(directory, name), limit)
            if not problem:
                break
        else:
            print(f"{shown}: {problem}")
            return 1
    return 0


def _fetch(url: str, target: Path, limit: int) -> str:
    """What went wrong, or ""."""
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as reading, target.open("wb") as writing:
            while block := reading.read(1 << 16):
                if writing.tell() + len(block) > limit:
                    return f"larger than {limit} bytes"
                writing.write(block)
            promised = reading.headers["Content-Length"]
            if promised is not None and promised != str(writing.tell()):
                return f"it ended after {writing.tell()} of {promised} bytes"
    except urllib.error.HTTPError as error:
        return f"the server says {error.code} {error.reason}"
    except urllib.error.URLError as error:
        return str(error.reason)
    except (OSError, http.client.HTTPException) as error:
        return str(error) or type(error).__name__
    return ""


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
