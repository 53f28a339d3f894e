# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is remembered of an image besides its builds: whether it is pinned, what was rolled back, when it was last used.

    places.state/images/<name>.json     pin, rejected updates, age of what was pulled; none of it when there is no file
    places.state/used/<name>            empty; the time of its last change is that of the last launch

None of it goes when the image is purged.
"""

from __future__ import annotations

import os
from contextlib import suppress

import msgspec
from msgspec import Struct

from ftos.errors import NotFound
from ftos.host.files import read_limited, write_atomically
from ftos.host.places import Places

_LIMIT = 1 << 20
CLOCK_IS_WRONG_BEFORE = 1_767_225_600
"""2026-01-01, in seconds since 1970. A time before is that of a clock which was not set yet, and says nothing."""


class Hold(Struct, frozen=True, kw_only=True):
    pinned: bool = False
    """No update changes it."""
    recipe: str = ""
    """Digest of the recipe by which it was built when it was pinned; "" when it was not built then."""
    rejected: tuple[str, ...] = ()
    """Digests of locks that were rolled back: no update goes there again."""
    newest: dict[str, str] = {}
    """Digest of a recipe → `Manifest.built_at` of the last build that came from a remote: nothing older is taken."""

    def holds_other(self, recipe: str) -> bool:
        """Whether it is pinned to what another recipe makes."""
        return self.pinned and self.recipe not in ("", recipe)


class Holds:
    def __init__(self, places: Places) -> None:
        self._holds = places.state / "images"
        self._used = places.state / "used"

    def get(self, image: str) -> Hold:
        try:
            return msgspec.json.decode(read_limited(self._holds / f"{image}.json", _LIMIT), type=Hold)
        except (NotFound, msgspec.DecodeError):
            return Hold()

    def put(self, image: str, hold: Hold) -> None:
        """Durable when it returns."""
        path = self._holds / f"{image}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, msgspec.json.encode(hold), 0o600)

    def mark_used(self, image: str) -> None:
        """Now. A full or read-only disk is no reason not to launch."""
        path = self._used / image
        with suppress(OSError):
            try:
                os.utime(path)
            except FileNotFoundError:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()

    def last_used(self, image: str) -> float | None:
        """Seconds since 1970; None when it is not known."""
        try:
            time = (self._used / image).stat().st_mtime
        except FileNotFoundError:
            return None
        return time if time >= CLOCK_IS_WRONG_BEFORE else None
