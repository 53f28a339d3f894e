# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image fsck`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import escape, note, show_json


@click.command("fsck")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> int:
    """Check store and package cache, and name what is damaged.

    All is read, so it takes a while. The exit status is 1 when something is damaged. Nothing is changed; `ftos image
    repair` does that.
    """
    from ftos.cli.building import store
    from ftos.image.packages import PackageCache
    from ftos.image.repair import examine

    place = store(app)
    damage = examine(place, PackageCache(app.places))
    status = 1 if damage else 0
    if as_json:
        show_json(
            {
                "refs": damage.refs,
                "objects": damage.objects,
                "trees": damage.trees,
                "manifests": damage.manifests,
                "packages": damage.packages,
                "locks": damage.locks,
            }
        )
        return status
    for line in damage.lines(place.refs()):
        click.echo(escape(line))
    note("`ftos image repair` makes it whole again" if damage else "nothing is damaged")
    return status
