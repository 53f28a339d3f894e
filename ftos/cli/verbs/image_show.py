# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image show IMAGE`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, escape, human_size, joined, note, show_json, show_rows


@click.command("show")
@click.argument("image", metavar="IMAGE", shell_complete=names.images)
@names.json_option
@pass_app
def command(app: App, image: str, as_json: bool) -> None:
    """Show an image and the packages in it.

    The packages with their versions are those of the build that a launch takes.
    """
    from ftos.cli.building import launched

    record = app.catalog.image(image)
    built = launched(app).get(image)
    packages = built.packages if built else ()
    rows = [{"name": p.name, "version": p.version, "architecture": p.architecture} for p in packages]
    facts = {
        "name": record.name,
        "title": record.title,
        "version": record.version,
        "osbase": record.osbase,
        "os-components": list(record.os_components),
        "requested-packages": list(record.packages),
        "os-services": list(record.os_services),
        "commit": built.commit if built else None,
        "size": built.size if built else None,
        "built-at": built.built_at if built else None,
    }
    if as_json:
        show_json({**facts, "packages": rows})
        return
    for key, value in facts.items():
        if value is not None:
            text = human_size(value) if isinstance(value, int) else joined(value) if isinstance(value, list) else value
            click.echo(f"{key.ljust(20)}{escape(text)}")
    if built is None:
        note(f"{image} is not built; build it with `ftos image build {image}`")
        return
    click.echo()
    columns = (Column("name", "package"), Column("version", "version"), Column("architecture", "architecture"))
    show_rows(columns, rows, as_json=False, empty="it has no packages")
