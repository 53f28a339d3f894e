# SPDX-License-Identifier: AGPL-3.0-or-later
"""When a step of a build is given up: scripts of packages may loop, wait for ever, or fill the disk.

The disk is shared with everything else on the device. What stays free of it is far more than a container can write
between two looks, so nobody else meets a full disk because of a build.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from msgspec import Struct

from ftos.errors import BuildError, quote
from ftos.image.download import GRACE, SLOWEST

_RESERVE = 256 << 20
_INODES_SHARE = 50


class Patience(Struct, frozen=True, kw_only=True):
    """How long one step may take. A slow phone that installs a desktop needs some tens of minutes."""

    total: float = 2 * 3600
    """Seconds."""
    silence: float = 20 * 60
    """Seconds without any output."""


def fetching(*sizes: int) -> Patience:
    """For who gets files of at most `sizes` bytes, one after the other, and says when it begins with one: each may take
    its time, but who sends them must not hold up a build by it."""
    seconds = [GRACE + 1 + size // SLOWEST for size in sizes]
    return Patience(total=GRACE + sum(size // SLOWEST + 1 for size in sizes), silence=max(seconds, default=GRACE))


def reserve(path: Path) -> int:
    """Bytes of the file system of `path` which builds leave free."""
    status = os.statvfs(path)
    return min(_RESERVE, status.f_blocks * status.f_frsize // 20)


class GivenUp(BuildError):
    """A step took too long, or too much."""


class Watchdog:
    """Looks after one step, from now on. `place` is in the file system that the step writes to."""

    def __init__(self, step: str, place: Path, patience: Patience) -> None:
        self.step = step
        self._place = place
        self._patience = patience
        self._reserve = reserve(place)
        self._begun = self._heard = time.monotonic()

    def heard(self) -> None:
        """The step has said something."""
        self._heard = time.monotonic()

    def look(self) -> None:
        """Raises GivenUp when the step must end."""
        now = time.monotonic()
        if now - self._begun > self._patience.total:
            raise GivenUp(f"{self.step}: not done after {_time(self._patience.total)}")
        if now - self._heard > self._patience.silence:
            raise GivenUp(f"{self.step}: nothing was heard of it for {_time(self._patience.silence)}")
        status = os.statvfs(self._place)
        # Some file systems don't count their inodes, and say 0.
        if status.f_bavail * status.f_frsize < self._reserve or status.f_favail < status.f_files // _INODES_SHARE:
            raise GivenUp(
                f"{self.step}: the disk is full but for the {self._reserve >> 20} MiB which builds leave to others",
                f"make space in the file system of {quote(self._place)}; `ftos image gc` removes what no image needs",
            )


def _time(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:g} seconds"
