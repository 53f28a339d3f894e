# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos undeploy NAME`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import interactive, note
from ftos.errors import BadInput, Busy, quote

if TYPE_CHECKING:
    from ftos.spec.records import Deployment


@click.command("undeploy")
@names.deployment_argument
@click.option("--delete-data", is_flag=True, help="Delete the app's data too.")
@click.option("--yes", is_flag=True, help="Do not ask before data is deleted.")
@names.dry_run_option
@pass_app
def command(app: App, name: str, delete_data: bool, yes: bool, dry_run: bool) -> None:
    """Remove a deployment; its data stays.

    Where the data stays is said; with --delete-data it is deleted. A running app has to be stopped first.
    """
    from ftos.cli.deployments import locked
    from ftos.runtime.layers import forget
    from ftos.volumes.prepare import delete, directory

    path = app.catalog.path("deployment", name)
    deployment = app.catalog.deployment(name)
    _check(app, deployment)
    data = directory(app.places, deployment.id)
    deleted = delete_data and data.exists()
    if dry_run:
        click.echo(f"would remove {path}")
        if data.exists():
            click.echo(f"would {'delete' if deleted else 'keep'} the data in {data}")
        return
    if deleted and not yes:
        if not interactive():
            raise BadInput(f"deleting the data of {name} can't be undone", "add --yes if you are sure")
        click.confirm(f"Delete the data of {name} in {data}? This can't be undone.", abort=True)
    with locked(app):
        _check(app, deployment)  # much may have happened since the question was asked
        if deleted:
            delete(app.places, deployment.id)
        path.unlink()
        forget(app.places, deployment.id)
    click.echo(f"removed {name}")
    if data.exists():
        note(f"its data stays in {data}")


def _check(app: App, deployment: Deployment) -> None:
    """Refuse while the app runs, and when what would be deleted is another deployment's too."""
    from ftos.cli.crosscheck import shared_id

    for finding in shared_id(app.catalog, deployment):
        path = app.catalog.path("deployment", deployment.name)
        raise BadInput(f"{quote(path)}: {finding.message}", finding.hint)
    if app.running(deployment.id):
        raise Busy(f"{deployment.name} is running", f"stop it with `ftos stop {deployment.name}`")
