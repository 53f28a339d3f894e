# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image rollback IMAGE`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("rollback")
@click.argument("image", metavar="IMAGE", shell_complete=names.images)
@names.dry_run_option
@pass_app
def command(app: App, image: str, dry_run: bool) -> None:
    """Let an image be what it was before its last update.

    The update is not made again, but a later one is; `ftos image pin` keeps all away. A second rollback takes the
    first one back.
    """
    from ftos.cli.building import builder
    from ftos.cli.progress import progress
    from ftos.cli.updates import show_changes, show_running
    from ftos.host.facts import gather
    from ftos.image.update import former, package_changes, rollback

    record = app.catalog.image(image)
    with progress() as shown:
        images = builder(app, gather(app.catalog.host()), shown)
        before, after = former(images, record) if dry_run else rollback(images, record)
    click.echo(f"{'would roll' if dry_run else 'rolled'} {image} back to the build of {after.built_at}")
    show_changes(package_changes(before.manifest.lock, after.manifest.lock))
    if not dry_run:
        show_running(app, after)
