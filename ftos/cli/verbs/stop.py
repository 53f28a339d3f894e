# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos stop NAME`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("stop")
@names.running_argument
@click.option(
    "--timeout", type=click.FloatRange(0, 3600), default=10, show_default=True, help="Seconds until it is killed."
)
@names.dry_run_option
@pass_app
def command(app: App, name: str, timeout: float, dry_run: bool) -> None:
    """Stop an app.

    Every instance of the deployment gets SIGTERM, and SIGKILL when it has not ended in time. NAME may also be one
    instance as `ftos ps` shows it.
    """
    from ftos.errors import FtosError
    from ftos.runtime.instances import running
    from ftos.runtime.stopping import stop

    records = [record for record in running(app.places) if record.instance == name]
    if not records:
        records = running(app.places, app.catalog.deployment(name).id)
    if not records:
        raise FtosError(f"{name} is not running", "see what is: ftos ps")
    if dry_run:
        for record in records:
            click.echo(f"would stop {record.instance}")
        return
    for instance, killed in stop(records, timeout):
        click.echo(f"{'killed' if killed else 'stopped'} {instance}")
