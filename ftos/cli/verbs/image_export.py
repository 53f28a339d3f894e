# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image export DIRECTORY [IMAGE...]`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, human_size, show_rows


@click.command("export")
@click.argument("directory", metavar="DIRECTORY", type=click.Path(path_type=Path, file_okay=False))
@click.argument("images", metavar="[IMAGE]...", nargs=-1, shell_complete=names.images)
@click.option("--sign-key", metavar="KEY", required=True, help="Id of the GPG key which signs.")
@click.option(
    "--gpg-homedir",
    metavar="HOME",
    envvar="GNUPGHOME",
    default=lambda: Path.home() / ".gnupg",
    type=click.Path(path_type=Path),
    help="Directory of GPG with the key.",
)
@names.json_option
@names.dry_run_option
@pass_app
def command(
    app: App,
    directory: Path,
    images: Sequence[str],
    sign_key: str,
    gpg_homedir: Path,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Write built images to a directory from which other devices pull them.

    All built images are written when none is named. A web server that serves DIRECTORY is a remote for `remotes:` in
    host.yml.
    """
    from ftos.cli.building import store
    from ftos.cli.progress import progress
    from ftos.image.export import choose, compare, export

    place = store(app)
    chosen = choose(place, images)
    if dry_run:
        found = compare(chosen, directory)
    else:
        with progress() as shown:
            found = export(place, chosen, directory, sign_key, gpg_homedir, shown)
    rows = [
        {
            "name": exported.image.name,
            "digest": exported.image.digest,
            "commit": exported.image.commit,
            "built-at": exported.image.built_at,
            "size": exported.image.size,
            "new": exported.is_new,
        }
        for exported in found
    ]
    columns = (
        Column("name", "name"),
        Column("digest", "recipe", lambda digest: str(digest)[:12]),
        Column("built-at", "built"),
        Column("size", "size", human_size, right=True),
        Column("new", "new", lambda new: "yes" if new else "no"),
    )
    show_rows(columns, rows, as_json=as_json, empty="no image is built; see: ftos image build")
