# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image unpin IMAGE...`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("unpin")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=names.images)
@names.dry_run_option
@pass_app
def command(app: App, images: Sequence[str], dry_run: bool) -> None:
    """Let images be updated again.

    The next `ftos image update` takes the newest packages, those that were rolled back included.
    """
    from ftos.cli.updates import set_pin

    set_pin(app, images, pinned=False, dry_run=dry_run)
