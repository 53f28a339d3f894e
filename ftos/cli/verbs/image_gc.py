# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image gc`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import escape, human_size, note, show_json


@click.command("gc")
@click.option("--former", is_flag=True, help="Also what images were before their last updates.")
@click.option("--auto", is_flag=True, help="Also what host.yml says about unused images and free space.")
@names.json_option
@names.dry_run_option
@pass_app
def command(app: App, former: bool, auto: bool, as_json: bool, dry_run: bool) -> None:
    """Remove from store and cache what nothing names.

    That is: builds by recipes which no image has any more, base trees that nothing is built on, packages that no build
    needs. What the images have stays, and what a running app uses of others stays until it ends.
    """
    from ftos.cli.building import quiet_builder
    from ftos.image.upkeep import Upkeep

    upkeep = Upkeep(quiet_builder(app), dry_run=dry_run)
    if auto:
        upkeep.tidy()
    if former or not auto:
        upkeep.collect(former=former)
    removed = upkeep.removed
    if as_json:
        show_json(
            {
                "purged": removed.images,
                "refs": removed.refs,
                "files": removed.files,
                "freed": removed.freed,
                "notes": removed.notes,
            }
        )
        return
    for text in removed.notes:
        note(text)
    would = "would " if dry_run else ""
    for name in removed.images:
        click.echo(f"{'would purge' if dry_run else 'purged'} {escape(name)}")
    for ref in removed.refs:
        click.echo(f"{would}{'remove' if dry_run else 'removed'} {escape(ref)}")
    if removed.files:
        click.echo(f"{would}{'remove' if dry_run else 'removed'} {removed.files} files of the package cache")
    click.echo(f"{would}{'free' if dry_run else 'freed'} {human_size(removed.freed)}")
