# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image pin IMAGE...`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("pin")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=names.images)
@names.dry_run_option
@pass_app
def command(app: App, images: Sequence[str], dry_run: bool) -> None:
    """Keep updates away from images.

    A pinned image is not purged by itself either. When it is purged, the next launch builds it of the same packages.
    """
    from ftos.cli.updates import set_pin

    set_pin(app, images, pinned=True, dry_run=dry_run)
