# SPDX-License-Identifier: AGPL-3.0-or-later
"""Completion of names: deployments, images, osbases, service instances, requests. Reads directories, not descriptors.

Only the requests of an image are inside a file; completing those loads it, and whatever is wrong with it completes
to nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import click

from ftos.cli.context import App
from ftos.host.places import Places

RESERVED = ("none", "empty")
"""Service instances which always exist."""


def _app(ctx: click.Context) -> App:
    return App(ctx.find_root().params.get("root"))


def stems(places: Places, kind: str) -> list[str]:
    """Names of the descriptors of a kind, by their file names."""
    found = {
        path.stem
        for directory in places.descriptor_directories(kind)
        if directory.is_dir()
        for path in directory.glob("*.yml")
    }
    return sorted(found)


def _begin(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in names if name.startswith(incomplete)]


def deployments(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _begin(stems(_app(ctx).places, "deployment"), incomplete)


def running(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Deployments, and instances as `ftos ps` shows them: a directory each."""
    places = _app(ctx).places
    try:
        alive = [path.name for path in (places.run / "instances").iterdir()]
    except OSError:  # nothing has run yet, or this user may not look
        alive = []
    return _begin(sorted({*stems(places, "deployment"), *alive}), incomplete)


def images(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _begin(stems(_app(ctx).places, "image"), incomplete)


def osbases(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    found = {
        str(path.parent.relative_to(directory))
        for directory in _app(ctx).places.descriptor_directories("osbase")
        for path in directory.glob("*/*/osbase.yml")
    }
    return _begin(sorted(found), incomplete)


def instances(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return _begin([*stems(_app(ctx).places, "service"), *RESERVED], incomplete)


def _requests(ctx: click.Context) -> list[str]:
    from ftos.errors import FtosError

    catalog = _app(ctx).catalog
    try:
        if "image" in ctx.params:
            # An option without its value ends click's parsing: what came before it is in `args` still.
            return list(catalog.image(ctx.params["image"] or ctx.args[0]).os_services)
        return list(catalog.image(catalog.deployment(ctx.params["name"]).image).os_services)
    except (FtosError, IndexError):
        return []


def requests(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """What the image (of the deployment) on the command line asks for."""
    return _begin(_requests(ctx), incomplete)


def bindings(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """REQUEST=INSTANCE, one side at a time."""
    request, equals, instance = incomplete.partition("=")
    if equals:
        return [f"{request}={name}" for name in instances(ctx, param, instance)]
    return [f"{name}=" for name in requests(ctx, param, request)]


deployment_argument = click.argument("name", metavar="NAME", shell_complete=deployments)
running_argument = click.argument("name", metavar="NAME", shell_complete=running)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
dry_run_option = click.option("--dry-run", is_flag=True, help="Only say what would be done.")
