# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos schema KIND`."""

from __future__ import annotations

import click

from ftos.cli.output import show_json

KINDS = ("osbase", "image", "host", "service", "deployment")


@click.command("schema")
@click.argument("kind", metavar="KIND", type=click.Choice(KINDS))
def command(kind: str) -> None:
    """Print the JSON schema of a kind of descriptor.

    For editors which complete and check YAML. KIND is osbase, image, host, service or deployment.
    """
    from ftos.spec.schema import json_schema

    show_json(json_schema(kind))
