# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos osbase list`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, joined, show_rows


@click.command("list")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> int:
    """List what images can be built on.

    The status is `supported`, `deprecated` (still built, with a warning) or `retired` (refused).
    """
    osbases, status = app.each_osbase()
    images, other = app.each_image()
    rows: list[dict[str, object]] = [
        {
            "name": osbase.name,
            "title": osbase.title,
            "status": osbase.status,
            "successor": osbase.successor,
            "engine": osbase.engine,
            "used-by": [image.name for image in images if image.osbase == osbase.name],
        }
        for osbase in osbases
    ]
    columns = (
        Column("name", "name"),
        Column("title", "title"),
        Column("status", "status"),
        Column("successor", "successor"),
        Column("engine", "engine"),
        Column("used-by", "used by", joined),
    )
    show_rows(columns, rows, as_json=as_json, empty="there are no osbases; they are in /usr/share/ftos/osbases")
    return status or other
