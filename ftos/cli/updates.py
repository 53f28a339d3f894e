# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the verbs about updates share: changes of packages and what follows for deployments, in words and as JSON."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from ftos.cli.output import escape, note

if TYPE_CHECKING:
    from ftos.cli.context import App
    from ftos.image.store import BuiltImage
    from ftos.image.update import PackageChange
    from ftos.spec.records import Image


def show_changes(changes: Iterable[PackageChange]) -> None:
    """A line each: `+ name version`, `- name version`, `  name old → new`."""
    for change in changes:
        sign = "+" if change.old is None else "-" if change.new is None else " "
        versions = " → ".join(version for version in (change.old, change.new) if version is not None)
        click.echo(escape(f"  {sign} {change.name} {versions}"))


def changes_json(changes: Iterable[PackageChange]) -> list[dict[str, str | None]]:
    return [{"package": change.name, "old": change.old, "new": change.new} for change in changes]


def unanswered(app: App, images: Sequence[Image]) -> dict[str, list[str]]:
    """Deployment of one of `images` → what its image asks for, and it says nothing of: it is `none`."""
    from ftos.spec.cross import unanswered_requests

    of = {image.name: image for image in images}
    found = {
        deployment.name: unanswered_requests(deployment, of[deployment.image])
        for deployment in app.each_deployment()[0]
        if deployment.image in of
    }
    return {name: requests for name, requests in found.items() if requests}


def show_unanswered(app: App, images: Sequence[Image]) -> None:
    """Tell the owner what images ask for that no deployment has an answer to."""
    reasons = {image.name: image.os_services for image in images}
    for name, requests in unanswered(app, images).items():
        for request in requests:
            reason = reasons[app.catalog.deployment(name).image][request].reason
            note(
                f"{name}: the image now asks for {request} ({reason}); it is none. See: ftos bind {name} {request} ..."
            )


def still_running(app: App, built: BuiltImage) -> list[str]:
    """Instances that run on another build of this image."""
    from ftos.runtime.instances import running

    return [
        record.instance
        for record in running(app.places)
        if record.image == built.name and record.commit != built.commit
    ]


def show_running(app: App, built: BuiltImage) -> None:
    for instance in still_running(app, built):
        note(f"{instance} keeps the build that it runs on until it is restarted")


def set_pin(app: App, names: Sequence[str], *, pinned: bool, dry_run: bool) -> None:
    """Pin images, or unpin them, which also forgets what was rolled back."""
    from msgspec.structs import replace

    from ftos.cli.building import quiet_builder
    from ftos.image.holds import Hold

    builder = quiet_builder(app)
    for image in [app.catalog.image(name) for name in names]:
        if not dry_run:
            with builder.one_at_a_time(image.name):
                hold, built = builder.holds.get(image.name), builder.find(image) or builder.store.newest(image.name)
                pin = replace(hold, pinned=True, recipe=built.digest if built else "")
                builder.holds.put(image.name, pin if pinned else Hold())
        would = "would be" if dry_run else "is"
        click.echo(f"{image.name} {would} pinned" if pinned else f"{image.name} {would} free to be updated")
