# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image list`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, human_age, human_size, joined, show_rows


@click.command("list")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> int:
    """List the images, built and not built.

    The state is `built`, `outdated` (built, but the recipe has changed since), `damaged` or `-`, and `pinned` where
    updates are kept away. The size is that on the disk, the former build included; `unique` is what a purge frees.
    """
    from ftos.cli.building import is_current, launched, quiet_builder
    from ftos.image.store import timestamp
    from ftos.image.usage import image_usage

    images, status = app.each_image()
    deployments, other = app.each_deployment()
    builder = quiet_builder(app)
    built, usage = launched(app), image_usage(builder.store)
    known = {image.name: image for image in images}
    rows: list[dict[str, object]] = []
    for name in sorted({*known, *usage}):
        image, build, taken = known.get(name), built.get(name), usage.get(name)
        used = builder.holds.last_used(name)
        state = "outdated" if build else "damaged" if taken else None
        rows.append(
            {
                "name": name,
                "title": image.title if image else None,
                "osbase": image.osbase if image else build.manifest.osbase if build else None,
                "os-components": list(build.manifest.components) if build else None,
                "state": "built" if build and image and is_current(builder, image) else state,
                "pinned": builder.holds.get(name).pinned,
                "packages": len(build.packages) if build else None,
                "size": taken.size if taken else None,
                "unique": taken.unique if taken else None,
                "built-at": build.built_at if build else None,
                "last-used": timestamp(used) if used else None,
                "used-by": [deployment.name for deployment in deployments if deployment.image == name],
            }
        )
    for row in rows if not as_json else ():
        row["state"] = ", ".join([str(row["state"] or "-"), *(["pinned"] if row["pinned"] else [])])
    columns = (
        Column("name", "name"),
        Column("osbase", "osbase"),
        Column("os-components", "components", joined),
        Column("state", "state"),
        Column("packages", "packages", right=True),
        Column("size", "size", human_size, right=True),
        Column("unique", "unique", human_size, right=True),
        Column("built-at", "built", human_age),
        Column("last-used", "last use", human_age),
        Column("used-by", "used by", joined),
    )
    show_rows(columns, rows, as_json=as_json, empty="there are no images; put descriptors into /etc/ftos/images")
    return status or other
