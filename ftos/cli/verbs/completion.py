# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos completion SHELL`."""

from __future__ import annotations

import click


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def command(ctx: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    Verbs, options and the names of deployments, images and instances are completed. For bash, for example:
    ftos completion bash > /etc/bash_completion.d/ftos
    """
    from click.shell_completion import get_completion_class

    script = get_completion_class(shell)
    assert script is not None
    click.echo(script(ctx.find_root().command, {}, "ftos", "_FTOS_COMPLETE").source())
