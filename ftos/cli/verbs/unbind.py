# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos unbind NAME INTERFACE`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("unbind")
@names.deployment_argument
@click.argument("interface", metavar="INTERFACE", shell_complete=names.requests)
@names.dry_run_option
@pass_app
def command(app: App, name: str, interface: str, dry_run: bool) -> None:
    """Take a service instance away from an app.

    What is not bound is `none`: the app sees nothing of it.
    """
    from ftos.cli.bindings import unbind
    from ftos.cli.deployments import change

    deployment = app.catalog.deployment(name)
    key, edit = unbind(app.catalog.image(deployment.image), deployment, interface)
    change(app, name, edit, dry_run=dry_run)
    click.echo(f"{'would unbind' if dry_run else 'unbound'} {name}: {key}")
