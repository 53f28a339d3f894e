# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image list`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, human_size, joined, show_rows


@click.command("list")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> int:
    """List the images, built and not built.

    The state is `built`, `outdated` (built, but the recipe has changed since) or `-`. `ftos run` builds what it needs.
    """
    from ftos.cli.building import is_current, newest

    images, status = app.each_image()
    deployments, other = app.each_deployment()
    built = newest(app)
    known = {image.name: image for image in images}
    rows: list[dict[str, object]] = []
    for name in sorted({*known, *built}):
        image, build = known.get(name), built.get(name)
        rows.append(
            {
                "name": name,
                "title": image.title if image else None,
                "osbase": image.osbase if image else None,
                "state": None if build is None else "built" if image and is_current(app, image) else "outdated",
                "packages": len(build.packages) if build else None,
                "size": build.size if build else None,
                "built-at": build.built_at if build else None,
                "used-by": [deployment.name for deployment in deployments if deployment.image == name],
            }
        )
    columns = (
        Column("name", "name"),
        Column("osbase", "osbase"),
        Column("state", "state"),
        Column("packages", "packages", right=True),
        Column("size", "size", human_size, right=True),
        Column("built-at", "built"),
        Column("used-by", "used by", joined),
    )
    show_rows(columns, rows, as_json=as_json, empty="there are no images; put descriptors into /etc/ftos/images")
    return status or other
