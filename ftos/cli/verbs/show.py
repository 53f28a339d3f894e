# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos show NAME [--origin]`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, escape, show_json, show_rows

if TYPE_CHECKING:
    from ftos.plan.effective import Value


@click.command("show")
@names.deployment_argument
@click.option("--origin", is_flag=True, help="Say for each value where it comes from.")
@names.json_option
@pass_app
def command(app: App, name: str, origin: bool, as_json: bool) -> None:
    """Show what holds for a deployment.

    All values with the defaults of image, osbase and host filled in, as YAML; with --origin as a table which names file
    and line of each.
    """
    values = _effective(app, name)
    if origin:
        rows = [{"key": ".".join(value.key), "value": value.value, "origin": value.origin} for value in values]
        columns = (Column("key", "key"), Column("value", "value", _flow), Column("origin", "origin"))
        show_rows(columns, rows, as_json=as_json, empty="")
    elif as_json:
        show_json(_tree(values))
    else:
        import yaml

        text = yaml.safe_dump(_tree(values), sort_keys=False, default_flow_style=None, width=120)
        click.echo(escape(text, "\n"), nl=False)


def _effective(app: App, name: str) -> list[Value]:
    from ftos.host.facts import gather
    from ftos.plan.effective import Source, effective

    deployment = app.catalog.deployment(name)
    image = app.catalog.image(deployment.image)
    osbase = app.catalog.osbase(image.osbase)
    facts = gather(app.catalog.host())
    paths = {
        "deployment": app.catalog.path("deployment", name),
        "image": app.catalog.path("image", image.name),
        "osbase": app.catalog.path("osbase", osbase.name),
        "host": app.places.etc / "host.yml",
    }
    sources = {kind: Source(path, path.read_bytes()) for kind, path in paths.items() if path.exists()}
    return effective(deployment, image, osbase, facts, sources)


def _tree(values: Iterable[Value]) -> dict[str, Any]:
    """Values with keys as paths → nested mappings."""
    tree: dict[str, Any] = {}
    for value in values:
        branch = tree
        for part in value.key[:-1]:
            branch = branch.setdefault(part, {})
        branch[value.key[-1]] = value.value
    return tree


def _flow(value: object) -> str:
    """A value in one line: text as it is, all else as JSON."""
    import json

    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
