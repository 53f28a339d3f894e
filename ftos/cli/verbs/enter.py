# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos enter NAME`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("enter")
@names.running_argument
@pass_app
def command(app: App, name: str) -> int:
    """Open a shell inside a running app.

    It is confined exactly as the app: what the shell can't reach, the app can't either.
    """
    from ftos.cli.launching import run_inside

    return run_inside(app, name, ("/bin/sh", "-i"))
