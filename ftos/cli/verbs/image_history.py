# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image history IMAGE`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app


@click.command("history")
@click.argument("image", metavar="IMAGE", shell_complete=names.images)
@names.json_option
@pass_app
def command(app: App, image: str, as_json: bool) -> None:
    """Show the builds of an image, newest first, and what changed from one to the next.

    The state is `current`, `former` (there to roll back to) or `gone`.
    """
    from ftos.cli.building import store
    from ftos.cli.output import note, show_json
    from ftos.cli.updates import changes_json, show_changes
    from ftos.image.update import changes_of

    builds = store(app).history(image)
    if not builds:
        app.catalog.image(image)
    refs = store(app).refs()
    current = {commit for ref, commit in refs.items() if ref.startswith("image/")}
    known = {*refs.values()}
    lists = {commit: {package.name: package.version for package in manifest.packages} for commit, manifest in builds}
    rows = []
    for commit, manifest in builds:
        changes = changes_of(lists[manifest.parent], lists[commit]) if manifest.parent in lists else ()
        state = "current" if commit in current else "former" if commit in known else "gone"
        row = {"commit": commit, "state": state, "built-at": manifest.built_at, "recipe": manifest.digest}
        rows.append({**row, "packages": len(manifest.packages), "changes": changes_json(changes)})
        if not as_json:
            click.echo(f"{manifest.built_at}  {commit[:12]}  {state}, {len(manifest.packages)} packages")
            show_changes(changes)
    if as_json:
        show_json(rows)
    elif not rows:
        note(f"{image} was never built; build it with `ftos image build {image}`")
