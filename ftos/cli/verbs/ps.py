# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos ps`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, show_rows


@click.command("ps")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> None:
    """List what is running."""
    from ftos.runtime.instances import running

    rows: list[dict[str, object]] = [
        {
            "instance": record.instance,
            "deployment": record.deployment,
            "image": record.image,
            "pid": record.pid,
            "started-at": record.started_at,
        }
        for record in running(app.places)
    ]
    columns = (
        Column("instance", "instance"),
        Column("deployment", "deployment"),
        Column("image", "image"),
        Column("pid", "pid", right=True),
        Column("started-at", "started"),
    )
    show_rows(columns, rows, as_json=as_json, empty="nothing is running")
