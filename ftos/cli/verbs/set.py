# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos set NAME KEY=VALUE...`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("set")
@names.deployment_argument
@click.argument("values", metavar="KEY=VALUE...", nargs=-1, required=True)
@names.dry_run_option
@pass_app
def command(app: App, name: str, values: Sequence[str], dry_run: bool) -> None:
    """Change values of a deployment.

    As in: settings.theme=light, limits.memory=700M, autostart=true, os-services.documents.rights=[list,read]. The
    result is checked before it is saved; comments stay.
    """
    from ftos.cli.deployments import change
    from ftos.cli.values import apply

    image = app.catalog.image(app.catalog.deployment(name).image)
    change(app, name, lambda text: apply(text, values, image), dry_run=dry_run)
    for value in values:
        click.echo(f"{'would set' if dry_run else 'set'} {name}: {value}")
