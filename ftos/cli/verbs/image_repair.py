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

    Images are built from the packages which they had. One that can't be built now becomes what it was before its
    last update, or else stays as it is. A running app keeps its files.
    """
    from ftos.cli.building import builder
    from ftos.cli.progress import progress
    from ftos.host.facts import gather
    from ftos.image.repair import repair

    with progress() as shown:
        shown.stage("examine the store")
        done = repair(builder(app, gather(app.catalog.host()), shown), dry_run=dry_run)
    for line in done.lines:
        click.echo(escape(line))
    for name in done.rebuilt:
        if name in done.failed:
            now = "what it was before its last update" if name in done.returned else "left as it is"
            note(f"{name} could not be built again and is {now}: {done.failed[name].message}")
        else:
            click.echo(f"{'would build' if dry_run else 'built'} {name} again")
    if not done.damage:
        note("nothing is damaged")
    elif not dry_run:
        note("repair again when what is missing can be had" if done.failed else "all is whole again")
    return 1 if done.failed else 0
