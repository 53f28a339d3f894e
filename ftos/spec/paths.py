# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a path in a descriptor may look like, and how two of them lie to each other.

Paths are never normalised: what is written is what is used, so what could mean two things is refused. Pure text.
"""

from __future__ import annotations


def path_problem(path: str) -> str:
    """What is wrong with an absolute path (or one that starts with `~`), or "" if nothing is."""
    parts = path.removesuffix("/").split("/")[1:]
    if ".." in parts:
        return "'..' is not allowed in a path"
    if "." in parts:
        return "'.' is not allowed as a part of a path"
    if "" in parts:
        return "'//' is not allowed in a path"
    if any(len(part.encode()) > 255 for part in parts):
        return "a part of the path is longer than 255 bytes"
    return ""


def is_below(path: str, directory: str) -> bool:
    """Whether `path` is `directory` or lies below it."""
    return f"{path.rstrip('/')}/".startswith(f"{directory.rstrip('/')}/")


def same_path(path: str) -> str:
    """`path` without a trailing slash: equal for equal places."""
    return path.rstrip("/") or "/"
