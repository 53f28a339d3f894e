# SPDX-License-Identifier: AGPL-3.0-or-later
"""KEY=VALUE on the command line → a change of a deployment's text. Pure; comments and order survive."""

from __future__ import annotations

from collections.abc import Sequence

from ftos.errors import BadInput, quote
from ftos.spec.edit import set_value
from ftos.spec.records import Image

FIXED = frozenset({"kind", "schema", "name", "id"})


def apply(text: str, values: Sequence[str], image: Image) -> str:
    """Set each KEY=VALUE. The result still has to be checked as a whole."""
    for word in values:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise BadInput(f"{quote(word)} sets nothing", "write KEY=VALUE, as in settings.theme=light")
        if key in FIXED:
            raise BadInput(f"{quote(key)} can't be changed", "a deployment keeps it for life")
        if key in image.settings:
            raise BadInput(f"{quote(key)} is no key of a deployment", f"did you mean settings.{key}={value}?")
        text = set_value(text, key, value)
    return text
