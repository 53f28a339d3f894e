# SPDX-License-Identifier: AGPL-3.0-or-later
"""The accounts of an image: judged as hostile text, and completed by the app's own.

Programs disagree on what `0x0` or ` 1000` is as a uid, and such disagreements have made users into root. An image whose
account files a strict reader can't read is refused. Pure: text in, text out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from ftos.errors import BuildError, quote
from ftos.plan.records import APP_ID, ID_COUNT

APP_NAME = "app"
APP_HOME = "/home/app"
_ID = re.compile(r"0|[1-9][0-9]{0,4}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}\$?")


@dataclass(frozen=True, slots=True)
class _File:
    path: str
    fields: int
    id_field: int | None
    unique_id: Callable[[int], bool]
    app: str
    """The line of the app's account."""


_FILES = (
    _File("etc/passwd", 7, 2, lambda uid: uid in (0, APP_ID), f"{APP_NAME}:x:{APP_ID}:{APP_ID}::{APP_HOME}:/bin/sh"),
    _File("etc/group", 4, 2, lambda gid: gid in (0, APP_ID), f"{APP_NAME}:x:{APP_ID}:"),
    _File("etc/shadow", 9, None, lambda _: False, f"{APP_NAME}:!:1::::::"),
    _File("etc/gshadow", 4, None, lambda _: False, f"{APP_NAME}:!::"),
)
PATHS = tuple(file.path for file in _FILES)
REQUIRED = ("etc/passwd", "etc/group")


def complete(path: str, text: str) -> str:
    """The content of `path` (one of `PATHS`) with the app's account in it.

    Raises BuildError, naming file and line, for a line that is malformed, an id that is not a plain decimal number
    below 65536, a name twice, id 0 or the app's id twice, and for an account `app` with another id.
    """
    file = next(file for file in _FILES if file.path == path)
    names: dict[str, str] = {}
    ids: dict[int, str] = {}
    lines = text.removesuffix("\n").split("\n") if text else []
    for number, line in enumerate(lines, 1):
        name, identity = _checked(file, number, line)
        if name in names:
            raise _refused(file, number, f"the name {quote(name)} is there twice")
        names[name] = line
        if identity is not None:
            if identity in ids and file.unique_id(identity):
                raise _refused(file, number, f"{quote(name)} and {quote(ids[identity])} share the id {identity}")
            ids.setdefault(identity, name)
    if APP_NAME in names:
        return text
    if APP_ID in ids:
        raise BuildError(f"the image's /{path} gives the app's id, {APP_ID}, to {quote(ids[APP_ID])}")
    return "".join(line + "\n" for line in [*lines, file.app])


def _checked(file: _File, number: int, line: str) -> tuple[str, int | None]:
    fields = line.split(":")
    if len(fields) != file.fields or not _NAME.fullmatch(fields[0]):
        raise _refused(file, number, f"{quote(line)} is malformed")
    if file.id_field is None:
        return fields[0], None
    numbers = fields[2:4] if file.path == "etc/passwd" else fields[2:3]
    for text in numbers:
        if not _ID.fullmatch(text) or int(text) >= ID_COUNT:
            raise _refused(file, number, f"{quote(text)} is no id from 0 to {ID_COUNT - 1}")
    identity = int(fields[2])
    if fields[0] == APP_NAME and identity != APP_ID:
        raise _refused(file, number, f"the account {APP_NAME} has not the id {APP_ID}")
    return fields[0], identity


def _refused(file: _File, number: int, what: str) -> BuildError:
    return BuildError(f"the image's /{file.path}, line {number}: {what}")
