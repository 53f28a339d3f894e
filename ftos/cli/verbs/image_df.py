# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image df`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, human_size, show_json, show_rows


@click.command("df")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> None:
    """Show what images take of the disk, and what sharing saves.

    An image's size is what its files would take without the store; `unique` is what no other image shares with it. The
    cache has what brings purged images back without network.
    """
    from ftos.cli.building import store
    from ftos.image.usage import disk_usage, free_space, image_usage

    place = store(app)
    images = image_usage(place)
    separate, taken = sum(image.size for image in images.values()), disk_usage(place.root)
    saved = max(0, separate - taken)
    rows = [{"name": name, "size": image.size, "unique": image.unique} for name, image in images.items()]
    facts = {
        "separate": separate,
        "store": taken,
        "saved": saved,
        "saved-percent": round(100 * saved / separate, 1) if separate else 0.0,
        "packages": disk_usage(app.places.cache / "packages"),
        "indexes": disk_usage(app.places.cache / "indexes"),
        "free": free_space(place.root),
    }
    if as_json:
        show_json({**facts, "images": rows})
        return
    columns = (
        Column("name", "image"),
        Column("size", "size", human_size, right=True),
        Column("unique", "unique", human_size, right=True),
    )
    show_rows(columns, rows, as_json=False, empty="no image is built")
    click.echo()
    click.echo(f"separately  {human_size(separate)}")
    click.echo(f"store       {human_size(taken)}, saves {human_size(saved)} ({facts['saved-percent']}%)")
    click.echo(f"packages    {human_size(int(facts['packages']))}")
    click.echo(f"indexes     {human_size(int(facts['indexes']))}")
    click.echo(f"free        {human_size(int(facts['free']))}")
