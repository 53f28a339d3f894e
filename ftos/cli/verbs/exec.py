# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos exec NAME -- COMMAND`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("exec")
@names.running_argument
@click.argument("arguments", metavar="COMMAND...", nargs=-1, required=True, type=click.UNPROCESSED)
@pass_app
def command(app: App, name: str, arguments: tuple[str, ...]) -> int:
    """Run a command inside a running app.

    It is confined exactly as the app. NAME is a deployment (its newest instance) or an instance as `ftos ps` shows it.
    """
    from ftos.cli.launching import run_inside

    return run_inside(app, name, arguments)
