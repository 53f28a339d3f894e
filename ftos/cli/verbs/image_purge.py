# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image purge IMAGE...`."""

from __future__ import annotations

from collections.abc import Sequence

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import human_size


@click.command("purge")
@click.argument("images", metavar="IMAGE...", nargs=-1, shell_complete=names.images)
@click.option("--unused-for", metavar="TIME", help="All that were not launched for so long, as 30d.")
@names.dry_run_option
@pass_app
def command(app: App, images: Sequence[str], unused_for: str | None, dry_run: bool) -> None:
    """Remove built images; no data is lost.

    The next launch builds them again, of the same packages. What a running app uses of an image stays until it ends.
    With --unused-for, images which are pinned or run now are left alone.
    """
    from ftos.cli.building import quiet_builder
    from ftos.image.upkeep import Upkeep
    from ftos.image.usage import image_commits, usage

    if not images and unused_for is None:
        raise click.UsageError("name images, or say --unused-for TIME")
    builder = quiet_builder(app)
    upkeep = Upkeep(builder, dry_run=dry_run)
    built = image_commits(builder.store)
    for name in images:
        if name not in built:
            app.catalog.path("image", name)
            click.echo(f"{name} is not built")
    chosen = [name for name in dict.fromkeys(images) if name in built]
    if unused_for is not None:
        chosen += [name for name in upkeep.idle(_seconds(unused_for)) if name not in chosen]
    unique = {name: usage(builder.store, built[name]).unique for name in chosen}
    upkeep.purge(chosen)
    for name in chosen:
        click.echo(f"{'would purge' if dry_run else 'purged'} {name}: {human_size(unique[name])}")
    if len(chosen) > 1:
        click.echo(f"{'would free' if dry_run else 'freed'} {human_size(upkeep.removed.freed)}")


def _seconds(text: str) -> int:
    import msgspec

    from ftos.spec.records import Duration, duration_seconds

    try:
        return duration_seconds(msgspec.convert(text, Duration))
    except msgspec.ValidationError:
        raise click.BadParameter("write a number and s, m, h or d: 30d", param_hint="--unused-for") from None
