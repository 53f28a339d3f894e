# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds of a `user-dir` binding where nobody says otherwise: for whoever grants it, and whoever shows it."""

from __future__ import annotations

from ftos.spec.records import Right

READING: tuple[Right, ...] = ("list", "read")
"""What a binding grants that names no rights: an image only asks."""


def default_path(request: str) -> str:
    """Where the app sees the directory of the request of this name."""
    return f"/home/app/{request.capitalize()}"
