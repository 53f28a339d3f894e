# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos bind NAME INTERFACE INSTANCE`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("bind")
@names.deployment_argument
@click.argument("interface", metavar="INTERFACE", shell_complete=names.requests)
@click.argument("instance", metavar="INSTANCE", shell_complete=names.instances)
@names.dry_run_option
@pass_app
def command(app: App, name: str, interface: str, instance: str, dry_run: bool) -> None:
    """Tie a request of an app to a service instance.

    INTERFACE is the name of the request, or its interface where the image has one request of it. Rights stay as they
    are; a new binding gets those which the image asks for.
    """
    from ftos.cli.bindings import bind
    from ftos.cli.deployments import change

    deployment = app.catalog.deployment(name)
    image = app.catalog.image(deployment.image)
    key, edit = bind(image, app.each_service()[0], deployment, interface, instance)
    change(app, name, edit, dry_run=dry_run)
    click.echo(f"{'would bind' if dry_run else 'bound'} {name}: {key} to {instance}")
