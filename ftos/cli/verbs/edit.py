# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos edit NAME`: your editor, on a draft which is checked before it is saved and never lost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import escape, interactive, note
from ftos.errors import BadInput, FtosError

if TYPE_CHECKING:
    from ftos.cli.draft import Draft


@click.command("edit")
@names.deployment_argument
@pass_app
def command(app: App, name: str) -> None:
    """Edit a deployment in your editor.

    $VISUAL, $EDITOR or vi gets a draft. It is checked before it is saved; until then it is kept, whatever happens, and
    the next `ftos edit` goes on with it.
    """
    from ftos.cli.draft import Draft

    app.catalog.path("deployment", name)
    draft = Draft(app.places, name)
    try:
        if draft.exists():
            _resume(draft)
        if not draft.exists():
            draft.begin()
        if not _edit_until_saved(app, draft):
            click.echo(f"{name} is unchanged")
            return
    except (Exception, KeyboardInterrupt):
        if draft.exists():
            note(f"the draft is kept in {draft.path}; `ftos edit {name}` goes on with it")
        raise
    click.echo(f"saved {name}")


def _resume(draft: Draft) -> None:
    """A draft is left from before: go on with it or drop it, and show what was changed meanwhile."""
    if not interactive():
        raise BadInput(
            f"there is a draft of {draft.name} that was not saved", "edit it at a terminal, or remove the file"
        )
    if not click.confirm(f"A draft of {draft.name} was not saved ({draft.path}). Go on with it?", default=True):
        draft.discard()
    elif difference := draft.rebase():
        click.echo(f"{draft.name} was changed meanwhile by somebody else:\n{escape(difference, chr(10))}")
        click.echo("Take over into the draft what you want to keep of it.")
        click.prompt("Press Enter for the editor", default="", show_default=False)


def _edit_until_saved(app: App, draft: Draft) -> bool:
    """Returns whether something was saved."""
    while True:
        draft.open_editor()
        if draft.unchanged():
            draft.discard()
            return False
        try:
            deployment = draft.save(app)
        except BadInput as error:
            if not interactive():
                raise
            click.echo(escape(error.message, "\n") + (f"\n  {escape(error.hint)}" if error.hint else ""), err=True)
            answer = click.prompt(
                "Edit again, keep the draft for later, or discard it?",
                type=click.Choice(["edit", "keep", "discard"]),
                default="edit",
            )
            if answer == "discard":
                draft.discard()
                return False
            if answer == "keep":
                raise FtosError("nothing was saved") from None
        else:
            if app.running(deployment.id):
                note(f"{draft.name} is running; this takes effect at its next start")
            return True
