# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image update`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import note

if TYPE_CHECKING:
    from ftos.image.update import Updater
    from ftos.spec.records import Image

_WORDS = {
    "current": "{} is up to date",
    "changed": "{} has updates",
    "pinned": "{} is pinned and stays as it is",
    "rolled back": "{} stays as it is: its newest packages were rolled back",
    "not built": "{} is not built; the next build takes the newest packages",
}


@click.command("update")
@click.argument("images", metavar="[IMAGE]...", nargs=-1, shell_complete=names.images)
@click.option("--all", "all_built", is_flag=True, help="All images that are built.")
@click.option("--check", "--dry-run", "check", is_flag=True, help="Only say what would change.")
@names.json_option
@pass_app
def command(app: App, images: Sequence[str], all_built: bool, check: bool, as_json: bool) -> int:
    """Update images to the newest packages of their osbase.

    What would change is found out from newly fetched indexes; only images that change are built. Apps that run keep
    the build they run on until they are restarted. With --json progress and results are one JSON object a line.
    """
    from ftos.cli.building import builder, launched
    from ftos.cli.progress import progress
    from ftos.cli.updates import show_unanswered
    from ftos.errors import BadInput, FtosError
    from ftos.host.facts import gather
    from ftos.image.update import Updater

    if bool(images) == all_built:
        raise BadInput("which images?", "name some, or say --all")
    status = 0
    if all_built:
        known, status = app.each_image()
        built = launched(app)
        records = [image for image in known if image.name in built]
    else:
        records = [app.catalog.image(name) for name in images]
    with progress(as_json) as shown, Updater(builder(app, gather(app.catalog.host()), shown)) as updater:
        for image in records:
            try:
                _update(app, updater, image, check, as_json)
            except FtosError as error:
                if not all_built:
                    raise
                note(f"{image.name}: {error.message}")
                status = error.status
    show_unanswered(app, records)
    return status


def _update(app: App, updater: Updater, image: Image, check: bool, as_json: bool) -> None:
    import json

    from ftos.cli.updates import changes_json, show_changes, show_running, still_running, unanswered

    update = updater.look(image)
    built = None
    if update.state == "changed" and not check:
        built = updater.make(update)
    elif update.state == "not built" and not check:
        updater.remember(update)
    if as_json:
        result = {
            "image": image.name,
            "state": update.state,
            "changes": changes_json(update.changes),
            "commit": built and built.commit,
            "running-on-former": still_running(app, built) if built else [],
            "unanswered": unanswered(app, [image]),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"updated {image.name}" if built else _WORDS[update.state].format(image.name))
    show_changes(update.changes)
    if built:
        show_running(app, built)
