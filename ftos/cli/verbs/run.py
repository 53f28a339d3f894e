# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos run NAME [-- ARGUMENTS]`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import note


@click.command("run")
@names.deployment_argument
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@pass_app
def command(app: App, name: str, arguments: tuple[str, ...]) -> int:
    """Run an app.

    ARGUMENTS are added to the command of its image. The exit status is the app's, 128+n when signal n ended it. An
    image that is not built, or was purged, is built first.
    """
    from ftos.cli.launching import carry, launch
    from ftos.runtime.container import command_of
    from ftos.runtime.control import Kind

    assembly, container = launch(app, name)
    with container:
        for limit in container.unlimited:
            note(
                f"{name}: limits.{limit.replace('_', '-')} can't be kept on this device: no cgroup v2 controller for it"
            )
        return carry(container.control, Kind.START, command_of(assembly.plan, arguments), name)
