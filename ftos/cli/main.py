# SPDX-License-Identifier: AGPL-3.0-or-later
"""Entry point of `ftos`: the table of verbs, and the one place where an error becomes words and an exit status.

Status: what the verb returns (0 for None), that of the FtosError, 2 for wrong usage, 130 when interrupted, 70 for an
error which is ours. A traceback is shown only with FTOS_DEBUG=1.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from io import TextIOWrapper
from typing import Any, NoReturn

import click

from ftos.cli.context import App
from ftos.cli.lazy import LazyGroup, Verb
from ftos.cli.output import colour, escape, note
from ftos.errors import FtosError, quote
from ftos.spec.problems import DescriptorErrors

VERBS = (
    Verb("run", "Run an app", "Apps"),
    Verb("exec", "Run a command inside a running app", "Apps"),
    Verb("enter", "Open a shell inside a running app", "Apps"),
    Verb("ps", "List what is running", "Apps"),
    Verb("stop", "Stop an app", "Apps"),
    Verb("deploy", "Install a copy of an image and choose what it may reach", "Deployments"),
    Verb("undeploy", "Remove a deployment; its data stays", "Deployments"),
    Verb("list", "List the deployments", "Deployments"),
    Verb("show", "Show what holds for a deployment", "Deployments"),
    Verb("edit", "Edit a deployment in your editor", "Deployments"),
    Verb("set", "Change values of a deployment", "Deployments"),
    Verb("bind", "Tie a request of an app to a service instance", "Deployments"),
    Verb("unbind", "Take a service instance away from an app", "Deployments"),
    Verb("explain", "Say in words what an app can reach", "Deployments"),
    Verb("plan", "Show the launch plan of a deployment", "Deployments"),
    Verb("image", "Build, update, list, check and purge images", "Images and services"),
    Verb("service", "List service instances", "Images and services"),
    Verb("osbase", "List osbases and their os-components", "Images and services"),
    Verb("host", "Show facts of this device", "Images and services"),
    Verb("validate", "Check descriptor files", "Descriptors"),
    Verb("schema", "Print the JSON schema of a kind of descriptor", "Descriptors"),
    Verb("completion", "Print the completion script for a shell", "Descriptors"),
)
PANIC = 70
"""EX_SOFTWARE of sysexits.h."""
INTERRUPTED = 130


class Ftos(LazyGroup):
    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None, *rest: Any, **extra: Any
    ) -> NoReturn:
        """Run the verb, print what went wrong, leave the process."""
        sys.exit(self._status(args, prog_name or "ftos", extra))

    def _status(self, args: Sequence[str] | None, prog_name: str, extra: dict[str, Any]) -> int:
        try:
            try:
                status = super().main(args, prog_name, **{**extra, "standalone_mode": False})
                sys.stdout.flush()
                return status or 0
            except BrokenPipeError:
                return _reader_gone()
            except click.Abort:
                _complain("cancelled")
                return INTERRUPTED
            except click.ClickException as error:
                error.show()
                return error.exit_code
            except DescriptorErrors as error:
                note(error.message)
                return error.status
            except FtosError as error:
                _complain(error.message, error.hint)
                return error.status
            except OSError as error:
                _complain(*_refusal(error))
                return FtosError.status
            except Exception as error:
                if os.environ.get("FTOS_DEBUG") == "1":
                    traceback.print_exc()
                _complain(
                    f"internal error: {type(error).__name__}: {quote(error)}",
                    "this is a bug of ftos; please report it, with what FTOS_DEBUG=1 prints before this line",
                )
                return PANIC
        except KeyboardInterrupt:
            return INTERRUPTED


def _complain(message: str, hint: str = "") -> None:
    name = click.style("ftos:", fg="red", bold=True) if colour(sys.stderr) else "ftos:"
    text = escape(message, "\n") + (f"\n  {escape(hint, chr(10))}" if hint else "")
    click.echo(f"{name} {text}", err=True)


def _refusal(error: OSError) -> tuple[str, str]:
    """What the system refused, and to which file."""
    where = f" ({quote(error.filename)})" if error.filename is not None else ""
    denied = isinstance(error, PermissionError) and os.geteuid() != 0
    return f"{error.strerror or error}{where}", "run it as root" if denied else ""


def _reader_gone() -> int:
    """Who read our output has left (`ftos list | head`): nothing to say, and nothing more to flush at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _open_closed_streams() -> None:
    """A standard stream that the caller closed leads nowhere; else a file which we open would become it."""
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # takes the lowest free number: this one
            setattr(sys, name, os.fdopen(number, mode, closefd=False))


def _version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib.metadata import PackageNotFoundError, version

        try:
            click.echo(f"ftos {version('ftos')}")
        except PackageNotFoundError:
            click.echo("ftos, a checkout that is not installed")
        ctx.exit()


@click.group(
    "ftos", cls=Ftos, prefix="ftos.cli.verbs.", verbs=VERBS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "--root", metavar="DIR", type=click.Path(file_okay=False), help="Keep everything below DIR (or $FTOS_ROOT)."
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@click.pass_context
def cli(ctx: click.Context, root: str | None) -> None:
    """Run apps in strict containers; the owner decides what each may reach.

    A deployment is an installed copy of an image with all choices made. Begin with `ftos image list`, then `ftos deploy
    IMAGE` and `ftos run NAME`.
    """
    ctx.obj = App(root)


def main() -> NoReturn:
    """The console script."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    cli.main()
