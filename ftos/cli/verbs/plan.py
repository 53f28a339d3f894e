# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos plan NAME`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import escape, show_json


@click.command("plan")
@names.deployment_argument
@names.json_option
@click.option("--hex", "as_hex", is_flag=True, help="Print the plan's bytes.")
@pass_app
def command(app: App, name: str, as_json: bool, as_hex: bool) -> None:
    """Show the launch plan of a deployment.

    In words: the operations in order. --json: the whole plan. --hex: the bytes which the launch engine reads.
    """
    from ftos.cli.launching import assembly_of
    from ftos.errors import BadInput
    from ftos.plan import listing
    from ftos.runtime.container import plan_bytes

    if as_json and as_hex:
        raise BadInput("--json and --hex exclude each other")
    plan = assembly_of(app, name).plan
    if as_json:
        show_json(listing.as_builtins(plan))
    elif as_hex:
        for line in listing.hex_lines(plan_bytes(plan)):
            click.echo(line)
    else:
        for line in listing.operations(plan):
            click.echo(escape(line))
