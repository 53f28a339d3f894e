# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos validate FILE...`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import escape, note, show_json
from ftos.errors import BadInput

if TYPE_CHECKING:
    from ftos.spec.problems import DescriptorError


@click.command("validate")
@click.argument("files", metavar="FILE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@names.json_option
@pass_app
def command(app: App, files: Sequence[Path], as_json: bool) -> int:
    """Check descriptor files.

    All errors of all files are told, each with file, line, key and a hint; the exit status is then 2.
    """
    results = [_check(app, path) for path in files]
    if as_json:
        show_json([result.as_json() for result in results])
    else:
        for result in results:
            for error in result.errors:
                note(str(error))
            for warning in result.warnings:
                note(f"warning: {warning}")
            if not result.errors:
                click.echo(f"{escape(result.path)}: ok")
    return BadInput.status if any(result.errors for result in results) else 0


@dataclass(frozen=True, slots=True)
class _Result:
    path: Path
    errors: tuple[DescriptorError, ...] = ()
    warnings: tuple[DescriptorError, ...] = ()

    def as_json(self) -> dict[str, object]:
        return {
            "file": str(self.path),
            "valid": not self.errors,
            "errors": [_plain(error) for error in self.errors],
            "warnings": [_plain(warning) for warning in self.warnings],
        }


def _plain(error: DescriptorError) -> dict[str, object]:
    return {
        "file": str(error.path), "line": error.line, "key": error.key, "message": error.message, "hint": error.hint
    }  # fmt: skip


def _check(app: App, path: Path) -> _Result:
    from ftos.cli.crosscheck import cross_check
    from ftos.host.files import read_limited
    from ftos.spec.load import load_text
    from ftos.spec.problems import DescriptorError, DescriptorErrors
    from ftos.spec.yamltext import MAX_BYTES

    try:
        text = read_limited(path, MAX_BYTES)
        record = load_text(text, path)
        warnings = cross_check(app.catalog, record, text, path, installed=False)
        return _Result(path, warnings=tuple(warnings))
    except DescriptorErrors as error:
        return _Result(path, errors=error.errors)
    except BadInput as error:
        return _Result(path, errors=(DescriptorError(path, 1, "", error.message, error.hint),))
