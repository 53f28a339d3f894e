# SPDX-License-Identifier: AGPL-3.0-or-later
"""A click group which knows its verbs by a table and imports a verb's module only when that verb runs.

Help and completion are answered from the table alone. That table and modules agree is held by a test.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem


@dataclass(frozen=True, slots=True)
class Verb:
    """A line of the help. `help` is the first sentence of the command's own help; `section` its heading."""

    name: str
    help: str
    section: str = "Verbs"


class LazyGroup(click.Group):
    """The verb `NAME` is `command` in the module `prefix + NAME`."""

    def __init__(self, *args: Any, prefix: str, verbs: Sequence[Verb], **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.prefix = prefix
        self.verbs = {verb.name: verb for verb in verbs}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.verbs:
            return None
        command = importlib.import_module(self.prefix + cmd_name).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in self.verbs and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], self.verbs, n=1)
            ctx.fail(f"there is no verb {args[0]!r}" + (f", did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.verbs))
        for section in dict.fromkeys(verb.section for verb in self.verbs.values()):
            with formatter.section(section):
                formatter.write_dl([(v.name.ljust(width), v.help) for v in self.verbs.values() if v.section == section])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        options = click.Command.shell_complete(self, ctx, incomplete)
        return [
            CompletionItem(v.name, help=v.help) for v in self.verbs.values() if v.name.startswith(incomplete)
        ] + options
