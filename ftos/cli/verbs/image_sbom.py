# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image sbom IMAGE`."""

from __future__ import annotations

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import show_json


@click.command("sbom")
@click.argument("image", metavar="IMAGE", shell_complete=names.images)
@click.option("--format", type=click.Choice(["json"]), default="json", expose_value=False, help="JSON, as by default.")
@pass_app
def command(app: App, image: str) -> None:
    """Print the bill of materials of a built image: CycloneDX 1.6.

    It has each package with version, source, licence and checksum, as they are in the build that a launch takes.
    """
    from ftos.cli.building import launched
    from ftos.errors import NotFound
    from ftos.image.sbom import sbom

    built = launched(app).get(image)
    if built is None:
        app.catalog.path("image", image)
        raise NotFound(f"{image} is not built", f"build it with `ftos image build {image}`")
    show_json(sbom(built))
