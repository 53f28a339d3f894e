# SPDX-License-Identifier: AGPL-3.0-or-later
"""The newest indexes of one base recipe: a directory which all builds share, and which several use at once.

What a signed index promises is in other files beside it, so nobody may see some of the old and some of the new ones.
Who reads them all, and who writes, take turns by a lock of the directory; nobody holds it while he waits for a network.
What a killed process has left unfinished goes with the next change.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftos.host.trees import UNFINISHED, directory

INDEX_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@%+~-]{0,250}")
"""Names of index files which are taken."""


def copy_indexes(indexes: Path, target: Path) -> list[Path]:
    """Copy all that is in `indexes` into the directory `target`; the copies."""
    with _locked(indexes, fcntl.LOCK_SH) as fd:
        names = filter(INDEX_NAME.fullmatch, os.listdir(fd))
        return [Path(shutil.copy2(indexes / name, target / name)) for name in names]


@contextmanager
def changing(indexes: Path) -> Iterator[None]:
    """Nobody else reads or writes `indexes` meanwhile."""
    with _locked(indexes, fcntl.LOCK_EX) as fd:
        for name in os.listdir(fd):
            if name.startswith(".") and name.endswith(UNFINISHED):
                os.unlink(name, dir_fd=fd)
        yield


@contextmanager
def _locked(indexes: Path, operation: int) -> Iterator[int]:
    with directory(indexes) as fd:
        fcntl.flock(fd, operation)
        yield fd
