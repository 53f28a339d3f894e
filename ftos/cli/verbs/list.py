# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos list`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, show_rows


def _yes(value: bool) -> str:
    return "yes" if value else "-"


def _bound(bindings: dict[str, str]) -> str:
    return " ".join(f"{key}={instance}" for key, instance in bindings.items()) or "-"


@click.command("list")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> int:
    """List the deployments.

    A deployment whose file is wrong is not in the table; what is wrong is said, and the exit status is 2.
    """
    found, status = app.each_deployment()
    rows: list[dict[str, object]] = [
        {
            "name": deployment.name,
            "image": deployment.image,
            "running": app.running(deployment.id),
            "autostart": deployment.autostart,
            "os-services": {key: binding.instance for key, binding in deployment.os_services.items()},
            "id": deployment.id,
        }
        for deployment in found
    ]
    columns = (
        Column("name", "name"),
        Column("image", "image"),
        Column("running", "running", _yes),
        Column("autostart", "autostart", _yes),
        Column("os-services", "os-services", _bound),
    )
    show_rows(columns, rows, as_json=as_json, empty="there are no deployments; `ftos deploy IMAGE` makes one")
    return status
