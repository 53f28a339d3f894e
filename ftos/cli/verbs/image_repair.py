# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image repair`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import escape, note


@click.command("repair")
@names.dry_run_option
@pass_app
def command(app: App, dry_run: bool) -> int:
    """Remove what is damaged in store and package cache, and make it again.

    Images are built from the packages which they had. A running app keeps its files.
    """
    from ftos.cli.building import builder
    from ftos.cli.progress import progress
    from ftos.host.facts import gather
    from ftos.image.repair import examine, plan_repair, repair

    with progress() as shown:
        images = builder(app, gather(app.catalog.host()), shown)
        shown.stage("examine the store")
        damage = examine(images.store, images.cache)
        plan = plan_repair(images, damage)
        lines = damage.lines(images.store.refs())
        failed = {} if dry_run else repair(images, plan)
    for line in lines:
        click.echo(escape(line))
    for name in plan.rebuilt:
        if name in failed:
            note(f"{name} could not be built again: {failed[name].message}")
        else:
            click.echo(f"{'would build' if dry_run else 'built'} {name} again")
    if not damage:
        note("nothing is damaged")
    elif not dry_run:
        note("all that was damaged is removed" if failed else "all is whole again")
    return 1 if failed else 0
