# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos service list`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, joined, show_rows


@click.command("list")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> int:
    """List service instances and who uses them.

    Besides these, `none` and `empty` can be bound: the app sees nothing, or something empty.
    """
    services, status = app.each_service()
    deployments, other = app.each_deployment()
    rows: list[dict[str, object]] = [
        {
            "name": service.name,
            "interface": service.interface,
            "provider": service.provider,
            "title": service.title,
            "settings": service.settings,
            "used-by": [d.name for d in deployments if service.name in {b.instance for b in d.os_services.values()}],
        }
        for service in sorted(services, key=lambda service: (service.interface, service.name))
    ]
    columns = (
        Column("name", "name"),
        Column("interface", "interface"),
        Column("provider", "provider"),
        Column("title", "title"),
        Column("used-by", "used by", joined),
    )
    show_rows(columns, rows, as_json=as_json, empty="there are no service instances")
    return status or other
