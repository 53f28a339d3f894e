# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image build IMAGE...`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import human_size


@click.command("build")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, shell_complete=names.images)
@names.json_option
@names.dry_run_option
@pass_app
def command(app: App, images: Sequence[str], as_json: bool, dry_run: bool) -> None:
    """Build images that are not built, or changed since.

    The packages are fetched and verified without privileges, and installed in a container without network. With --json
    progress and result are one JSON object a line.
    """
    import json

    from ftos.cli.building import builder
    from ftos.cli.progress import progress
    from ftos.host.facts import gather

    records = [app.catalog.image(name) for name in images]
    facts = gather(app.catalog.host())
    for image in records:
        with progress(as_json) as shown:
            images_of_host = builder(app, facts, shown)
            built = images_of_host.find(image)
            needed = built is None
            if built is None and not dry_run:
                built = images_of_host.ensure(image)
        if as_json:
            result = {"image": image.name, "needed": needed, "commit": built and built.commit}
            click.echo(json.dumps(result))
        elif built is None:
            click.echo(f"would build {image.name}")
        elif needed:
            click.echo(f"built {image.name}: {len(built.packages)} packages, {human_size(built.size)}")
        else:
            click.echo(f"{image.name} is built already")
