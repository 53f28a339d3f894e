# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos deploy`: from an image's requests to a deployment which the owner has agreed to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import interactive, note
from ftos.errors import BadInput, quote

if TYPE_CHECKING:
    from ftos.cli.proposal import Choice, Question
    from ftos.spec.records import Image


@click.command("deploy")
@click.argument("image", metavar="IMAGE", shell_complete=names.images)
@click.option("--name", "wanted", metavar="NAME", help="Name of the deployment; default: that of the image.")
@click.option("--set", "values", metavar="KEY=VALUE", multiple=True, help="Set a value, as in settings.theme=light.")
@click.option(
    "--bind",
    "bindings",
    metavar="REQUEST=INSTANCE",
    multiple=True,
    shell_complete=names.bindings,
    help="Answer a request with a service instance.",
)
@click.option(
    "--deny",
    "denied",
    metavar="INTERFACE",
    multiple=True,
    shell_complete=names.requests,
    help="Answer a request, or all of an interface, with `none`.",
)
@click.option("--yes", is_flag=True, help="Accept what is proposed for all other requests.")
@names.dry_run_option
@pass_app
def command(
    app: App,
    image: str,
    wanted: str | None,
    values: Sequence[str],
    bindings: Sequence[str],
    denied: Sequence[str],
    yes: bool,
    dry_run: bool,
) -> None:
    """Install a copy of an image and choose what it may reach.

    Shows what the image asks for and why, lets you answer each request, and writes a commented descriptor. Nothing is
    granted beyond that. The image itself is built at the first `ftos run`.
    """
    from ftos.cli.deployment_text import deployment_text
    from ftos.cli.deployments import check_name, checked, free_name, locked, new_id, save
    from ftos.cli.dialogue import overview
    from ftos.cli.proposal import decided, questions
    from ftos.cli.values import apply
    from ftos.host.ids import allocate

    if wanted is not None:
        check_name(wanted)
    record = app.catalog.image(image)
    services, _ = app.each_service()
    asked = questions(record, services)
    choices = decided(record, asked, bindings, denied)
    note(overview(record, asked, {service.name: service.title for service in services}))
    choices = _complete(record, asked, choices, yes)
    with locked(app, dry_run=dry_run):
        name = free_name(app, image) if wanted is None else wanted
        path = app.places.descriptor_directories("deployment")[0] / f"{name}.yml"
        if path.exists():
            raise BadInput(f"there is a deployment {quote(name)} already", "choose another name with --name")
        text = apply(deployment_text(record, name, new_id(app), asked, choices), values, record)
        deployment = checked(app, text, path)
        if dry_run:
            click.echo(text, nl=False)
            return
        allocate(app.places, deployment.id)
        save(path, text)
    click.echo(f"deployed {name}: {path}")
    note(f"start it with `ftos run {name}`, change it with `ftos edit {name}`")


def _complete(image: Image, asked: Sequence[Question], choices: dict[str, Choice], yes: bool) -> dict[str, Choice]:
    """All answers: given on the command line, accepted by --yes, or asked for at the terminal."""
    from ftos.cli.dialogue import ask
    from ftos.cli.proposal import Choice, undecided

    left = undecided(asked, choices)
    if yes:
        return choices | {question.key: Choice(question.proposal) for question in left}
    if not left:
        return choices
    if not interactive():
        raise BadInput(
            f"nobody is there to decide about {', '.join(question.key for question in left)}",
            "add --yes to accept what is proposed, or --bind and --deny for each",
        )
    choices = choices | {question.key: ask(question) for question in left}
    click.echo()
    click.confirm(f"Deploy {image.name} like this?", default=True, abort=True)
    return choices
