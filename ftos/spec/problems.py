# SPDX-License-Identifier: AGPL-3.0-or-later
"""How errors in descriptors are told: where (file, line, key), what is wrong, and what to do about it.

A `Finding` names a key of a record and knows no file; `ftos.spec.load` turns findings into `DescriptorError`s, and all
those of a file into one `DescriptorErrors`. All texts from the file are quoted before they get here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ftos.errors import BadInput, quote

Key = tuple[str | int, ...]
"""Where in a descriptor: ("volumes", 2, "name") is the name of the third volume, () the whole."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong with the value at `key`. A warning does not make the descriptor invalid."""

    key: Key
    message: str
    hint: str = ""
    warning: bool = False


@dataclass(frozen=True, slots=True)
class DescriptorError:
    """One error of one file. `line` counts from 1; `key` is "" where the error concerns the whole file."""

    path: Path
    line: int
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        shown = str(self.path) if str(self.path).isprintable() else quote(self.path)
        where = f"{shown}:{self.line}: {self.key}: " if self.key else f"{shown}:{self.line}: "
        return where + self.message + (f" ({self.hint})" if self.hint else "")


class DescriptorErrors(BadInput):
    """All errors of a descriptor, by line; `message` has one line for each."""

    def __init__(self, errors: Iterable[DescriptorError]) -> None:
        self.errors = tuple(sorted(errors, key=lambda error: (str(error.path), error.line)))
        super().__init__("\n".join(map(str, self.errors)))


def key_text(key: Key) -> str:
    """`("volumes", 2, "name")` → `volumes[2].name`; odd keys are quoted."""
    text = ""
    for part in key:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            shown = part if re.fullmatch(r"[\w$/+-][\w$/+ -]{0,127}", part, re.ASCII) else quote(part)
            text += f".{shown}" if text else shown
    return text


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A hint with the known word that is nearest to `word`, or "" when none is near."""
    near = difflib.get_close_matches(word[:256], list(known), n=1)
    return f"did you mean `{near[0]}`?" if near else ""
