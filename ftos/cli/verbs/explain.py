# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos explain NAME`."""

from __future__ import annotations

import sys

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import colour, escape, show_json


@click.command("explain")
@names.deployment_argument
@names.json_option
@pass_app
def command(app: App, name: str, as_json: bool) -> None:
    """Say in words what an app can reach.

    From the plan of its next launch, which is what is enforced.
    """
    from ftos.cli.launching import assembly_of
    from ftos.plan.explain import explain

    sections = explain(assembly_of(app, name).plan)
    if as_json:
        show_json(dict(sections))
        return
    for heading, lines in sections:
        click.echo(click.style(heading, bold=True) if colour(sys.stdout) else heading)
        for line in lines:
            click.echo(f"  {escape(line)}")
