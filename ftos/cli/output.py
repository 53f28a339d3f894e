# SPDX-License-Identifier: AGPL-3.0-or-later
"""How things are shown: tables, JSON, sizes, and foreign text that can't drive a terminal.

On a terminal tables are drawn with rich; elsewhere columns are aligned with spaces, so that cut and grep work. Colour
is for terminals only, and never when NO_COLOR is set. JSON is ASCII, one document.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

import click


def escape(text: object, keep: str = "") -> str:
    """Foreign text without what a terminal would obey: all that is not printable, except `keep`, is escaped."""
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode("ascii") for c in str(text))


def colour(stream: TextIO) -> bool:
    """Whether colours may go to this stream."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def interactive() -> bool:
    """Whether a person can be asked: both standard input and output are a terminal."""
    return sys.stdin.isatty() and sys.stdout.isatty()


def note(text: str) -> None:
    """A word for the person which is not the verb's output: goes to standard error."""
    click.echo(escape(text, "\n"), err=True)


def human_size(size: int) -> str:
    """Bytes → at most four digits and a unit, base 1024: 1468006 → `1.4M`."""
    value, unit = float(size), ""
    for unit in ("", "K", "M", "G", "T"):
        if value < 1000 or unit == "T":
            break
        value /= 1024
    return f"{value:.1f}{unit}" if unit and value < 9.95 else f"{value:.0f}{unit}"


def human_age(moment: str) -> str:
    """How long ago `moment` (ISO 8601, UTC) was, in its largest unit: `3d ago`."""
    import time
    from datetime import datetime

    seconds = max(0, int(time.time() - datetime.fromisoformat(moment).timestamp()))
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= length:
            return f"{seconds // length}{unit} ago"
    return "just now"


def joined(values: Sequence[object]) -> str:
    return ", ".join(map(str, values)) or "-"


@dataclass(frozen=True, slots=True)
class Column:
    """`key` picks the value from a row (and is its name in JSON); `show` makes it readable."""

    key: str
    title: str
    show: Callable[[Any], str] = str
    right: bool = False


def show_json(value: object) -> None:
    click.echo(json.dumps(value, indent=2))


def show_rows(columns: Sequence[Column], rows: Sequence[Mapping[str, object]], *, as_json: bool, empty: str) -> None:
    """Print rows as a table or, whole and unformatted, as JSON. `empty` is said where there are none."""
    if as_json:
        show_json(list(rows))
    elif not rows:
        note(empty)
    else:
        cells = [["-" if row[c.key] is None else escape(c.show(row[c.key])) for c in columns] for row in rows]
        (_rich_table if sys.stdout.isatty() else _plain_table)(columns, cells)


def _plain_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    lines = [[column.title.upper() for column in columns], *cells]
    widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
    for line in lines:
        padded = [
            cell.rjust(width) if column.right else cell.ljust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        click.echo("  ".join(padded).rstrip())


def _rich_table(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.title.upper(), justify="right" if column.right else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    Console(highlight=False, no_color=not colour(sys.stdout)).print(table)
