# SPDX-License-Identifier: AGPL-3.0-or-later
"""The one error tree of FlyingTux.

Libraries raise these; the command and the daemon print them once, as `message` and `hint`, and leave with `status`.
Text that comes from outside (descriptors, packages, apps) goes through `quote` before it enters a message.
"""

from __future__ import annotations


def quote(text: object, limit: int = 200) -> str:
    """Show foreign text safely: in quotes, control characters escaped, cut after `limit` characters."""
    shown = str(text)
    if len(shown) > limit:
        shown = shown[:limit] + "…"
    return "'" + "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in shown) + "'"


class FtosError(Exception):
    """Something that the user can understand and act upon.

    message: one sentence without full stop, what is wrong and with which object.
    hint: what to do next, or "".
    """

    status = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class BadInput(FtosError):
    """What the user typed or wrote is wrong; nothing was done."""

    status = 2


class NotFound(BadInput):
    """A name which the user gave is not known."""


class Unsupported(FtosError):
    """This kernel or host can't enforce what is asked for; refused, not weakened."""


class BuildError(FtosError):
    """An image could not be built; the store is as it was before."""


class LaunchError(FtosError):
    """The kernel refused a step of a launch. Nothing was started, nothing is left behind."""

    status = 125


class Busy(FtosError):
    """Another process holds the lock on the object."""
