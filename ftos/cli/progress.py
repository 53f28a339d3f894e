# SPDX-License-Identifier: AGPL-3.0-or-later
"""How the progress of long work is drawn: a bar on a terminal, plain lines elsewhere, JSON lines on demand.

All of it goes to standard error, but the JSON, which is output. The three have the methods of
`ftos.image.progress.Progress`; `progress` chooses and closes. They draw in a thread of their own: the work goes on
whether anybody reads or not (a terminal that was stopped, a pager), and only the end of the command waits for a reader.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING

import click

from ftos.cli.output import colour, escape, note

if TYPE_CHECKING:
    from ftos.image.progress import Progress


@contextmanager
def progress(as_json: bool = False) -> Iterator[Progress]:
    """The fitting way to tell progress; a bar is taken away at the end, whatever happens."""
    if as_json:
        drawn: Progress = JsonProgress()
    elif sys.stderr.isatty():
        drawn = BarProgress()
    else:
        drawn = LineProgress()
    queued = QueuedProgress(drawn)
    try:
        yield queued
    finally:
        queued.close()
        if isinstance(drawn, BarProgress):
            drawn.close()


class QueuedProgress:
    """Hands on to `drawn`, without ever waiting for it. Who reads no more is told no more."""

    def __init__(self, drawn: Progress) -> None:
        self.drawn = drawn
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._draw, name="progress", daemon=True)
        self._thread.start()

    def stage(self, name: str) -> None:
        self._queue.put(partial(self.drawn.stage, name))

    def update(self, done: int, total: int, what: str) -> None:
        self._queue.put(partial(self.drawn.update, done, total, what))

    def note(self, text: str) -> None:
        self._queue.put(partial(self.drawn.note, text))

    def close(self) -> None:
        """Wait until all is told."""
        self._queue.put(None)
        self._thread.join()

    def _draw(self) -> None:
        with suppress(OSError):
            while (told := self._queue.get()) is not None:
                told()


class LineProgress:
    """A line for each stage, for each tenth of its packages, and for each note."""

    def __init__(self) -> None:
        self._told = 0

    def stage(self, name: str) -> None:
        self._told = 0
        note(f"{name} ...")

    def update(self, done: int, total: int, what: str) -> None:
        tenth = done * 10 // total if total else 0
        if tenth > self._told:
            self._told = tenth
            note(f"  {done}/{total} {what}".rstrip())

    def note(self, text: str) -> None:
        note(f"  {text}")


class JsonProgress:
    """One JSON object a line: {"stage": ...}, {"done": ..., "total": ..., "package": ...}, {"note": ...}."""

    def stage(self, name: str) -> None:
        _print({"stage": name})

    def update(self, done: int, total: int, what: str) -> None:
        _print({"done": done, "total": total, "package": what})

    def note(self, text: str) -> None:
        _print({"note": text})


def _print(event: dict[str, object]) -> None:
    click.echo(json.dumps(event))
    sys.stdout.flush()


class BarProgress:
    """One line with the stage, a bar, the counts and the package in work; notes go above it."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[package]}", markup=False),
            console=Console(stderr=True, highlight=False, no_color=not colour(sys.stderr)),
            transient=True,
        )
        self._bar.start()
        self._task = self._bar.add_task("", total=None, package="")

    def stage(self, name: str) -> None:
        self._bar.remove_task(self._task)
        self._task = self._bar.add_task(escape(name), total=None, package="")

    def update(self, done: int, total: int, what: str) -> None:
        self._bar.update(self._task, completed=done, total=total, package=escape(what))

    def note(self, text: str) -> None:
        self._bar.console.print(escape(text), markup=False)

    def close(self) -> None:
        self._bar.stop()
