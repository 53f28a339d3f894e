# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos osbase show OSBASE`."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, escape, joined, show_json, show_rows

if TYPE_CHECKING:
    from ftos.spec.records import Osbase

_CUT = 100
"""So much of a command is shown to a person."""


@click.command("show")
@click.argument("osbase", metavar="OSBASE", shell_complete=names.osbases)
@names.json_option
@pass_app
def command(app: App, osbase: str, as_json: bool) -> None:
    """Show an osbase and what its os-components mean here.

    Packages, commands and environment are those for the facts of this device (`ftos host show`).
    """
    from ftos.host.facts import gather

    record = app.catalog.osbase(osbase)
    host = gather(app.catalog.host())
    plain: dict[str, str | list[str] | None] = {
        "name": record.name,
        "title": record.title,
        "status": record.status,
        "successor": record.successor,
        "engine": record.engine,
        "keys": list(record.keys),
        "base-packages": list(record.base_packages),
    }
    sources: list[dict[str, object]] = [
        {
            "mirror": source.mirror,
            "url": host.mirrors.get(source.mirror),
            "suite": source.suite,
            "components": list(source.components),
        }
        for source in record.sources
    ]
    components = [_component(record, name, host.values()) for name in record.os_components]
    if as_json:
        show_json({**plain, "sources": sources, "os-components": components})
        return
    for key, value in plain.items():
        if value is not None:
            click.echo(f"{key.ljust(16)}{escape(joined(value) if isinstance(value, list) else value)}")
    click.echo()
    columns = (
        Column("mirror", "mirror"),
        Column("url", "url"),
        Column("suite", "suite"),
        Column("components", "components", joined),
    )
    show_rows(columns, sources, as_json=False, empty="")
    for row in components:
        click.echo(f"\nos-component {row['name']}: {escape(row['title'])}")
        for line in _here(row):
            click.echo(f"    {escape(line)}")


def _here(row: Mapping[str, Any]) -> Iterator[str]:
    """What a component means here, in lines; long commands are cut, `--json` has them whole."""
    if row["problem"]:
        yield row["problem"]
        return
    for key in ("depends", "packages"):
        if row[key]:
            yield f"{key}: {joined(row[key])}"
    for words in row["commands"]:
        text = shlex.join(words)
        yield f"command: {text[:_CUT]}…" if len(text) > _CUT else f"command: {text}"
    for name, value in row["environment"].items():
        yield f"environment: {name}={value}"
    if not any(row[key] for key in ("depends", "packages", "commands", "environment")):
        yield "nothing is needed for it"


def _component(osbase: Osbase, name: str, facts: Mapping[str, str]) -> dict[str, object]:
    """A component by itself, with those that it depends on; `problem`: why this device can't have it."""
    from ftos.errors import Unsupported
    from ftos.spec.components import Components, resolve

    problem = None
    try:
        here = resolve((name,), osbase, facts)
    except Unsupported as error:
        here, problem = Components(), error.message
    return {
        "name": name,
        "title": osbase.os_components[name].title,
        "depends": [other for other in here.names if other != name],
        "packages": list(here.packages),
        "commands": [list(words) for words in here.commands],
        "environment": here.environment,
        "problem": problem,
    }
