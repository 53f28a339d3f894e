# SPDX-License-Identifier: AGPL-3.0-or-later
"""The man pages and the command say the same."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from tests.unit.cli.test_main import COMMANDS

PAGES = {
    "run": "run exec enter ps stop explain plan",
    "deploy": "deploy undeploy list show edit set bind unbind",
    "validate": "validate schema",
    "image": "image",
    "service": "service",
    "osbase": "osbase",
    "host": "host",
}
PAGE_OF = {verb: f"ftos-{page}.1.md" for page, verbs in PAGES.items() for verb in verbs.split()}


@pytest.mark.parametrize(("words", "command"), [(words, command) for words, command, _ in COMMANDS])
def test_page_of_the_verb_has_its_options(checkout: Path, words: str, command: click.Command) -> None:
    manual = checkout / "docs/man"
    assert f"`{words}" in (manual / "ftos.1.md").read_text()
    if isinstance(command, click.Group):
        return
    page = manual / PAGE_OF.get(words.split()[0], "ftos.1.md")
    if page.name != "ftos.1.md":
        synopsis = page.read_text().partition("## SYNOPSIS")[2].partition("\n## ")[0]
        forms = [form for form in synopsis.split("\n\n") if form.strip().startswith(f"`ftos {words}`")]
        assert len(forms) == 1
        options = {name for option in command.params if isinstance(option, click.Option) for name in option.opts}
        assert set(re.findall(r"--[a-z-]+", forms[0])) == options


def test_every_page_is_named_by_the_first(checkout: Path) -> None:
    pages = {path.name.removesuffix(".1.md") for path in (checkout / "docs/man").iterdir()}
    first = (checkout / "docs/man/ftos.1.md").read_text().partition("## SEE ALSO")[2]
    assert {f"{page}(1)" for page in pages - {"ftos"}} == set(first.replace(",", " ").split())
