# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image purge IMAGE...`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import human_size


@click.command("purge")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=names.images)
@names.dry_run_option
@pass_app
def command(app: App, images: Sequence[str], dry_run: bool) -> None:
    """Remove built images; no data is lost.

    The next launch builds them again. What a running app uses of an image stays until it ends.
    """
    from ftos.cli.building import newest, store

    built = newest(app)
    for name in images:
        if name not in built:
            app.catalog.path("image", name)
    for name in images:
        if name not in built:
            click.echo(f"{name} is not built")
            continue
        if not dry_run:
            store(app).purge(name)
        click.echo(f"{'would purge' if dry_run else 'purged'} {name}: {human_size(built[name].size)}")
