# SPDX-License-Identifier: AGPL-3.0-or-later
"""How long work tells a person where it is. The command draws it (bar, plain lines, JSON); nothing here prints."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Text that comes from packages has been through `quote`, or is a name of a checked form."""

    def stage(self, name: str) -> None:
        """A new stage begins; the counts of the former are over."""

    def update(self, done: int, total: int, what: str) -> None:
        """`done` of `total` packages of this stage are finished; `what` is the one in work."""

    def note(self, text: str) -> None:
        """Something a person should know, in one line."""
