# SPDX-License-Identifier: AGPL-3.0-or-later
"""References in the files of an image."""

from __future__ import annotations

import pytest

from ftos.spec.template import references, render


@pytest.mark.parametrize(
    ("text", "names", "rendered"),
    [
        ("theme=${settings.theme}\n", ["settings.theme"], "theme=dark\n"),
        ("${host.name}${settings.theme}", ["host.name", "settings.theme"], "phonedark"),
        ("$${HOME} $HOME $ {x} $$", [], "${HOME} $HOME $ {x} $$"),
        ("$$${host.name}", [], "$${host.name}"),
        ("", [], ""),
    ],
)
def test_names_are_found_and_filled_in(text: str, names: list[str], rendered: str) -> None:
    assert list(references(text)) == names
    assert render(text, {"settings.theme": "dark", "host.name": "phone"}) == rendered


def test_a_value_is_text_and_not_looked_into_again() -> None:
    assert render("${settings.a}", {"settings.a": "${settings.b} \\1"}) == "${settings.b} \\1"


@pytest.mark.parametrize("text", ["${settings.a", "${a\n}", "x ${", "${a${b"])
def test_what_is_not_closed_is_told(text: str) -> None:
    assert None in list(references(text))
