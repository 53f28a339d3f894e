# SPDX-License-Identifier: AGPL-3.0-or-later
"""JSON Schemas (2020-12) of the descriptors, for editors that complete and check while one types.

Made from the records and `ftos.spec.describe`. A schema accepts every valid descriptor; it knows the form of each value
but not what several values must be to each other, so `ftos validate` may still refuse.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ftos.errors import NotFound, quote
from ftos.spec.describe import KEYS
from ftos.spec.problems import did_you_mean
from ftos.spec.records import KINDS


def json_schema(kind: str) -> dict[str, object]:
    """The schema of a kind of descriptor. Raises NotFound for an unknown kind."""
    if kind not in KINDS:
        raise NotFound(f"there is no kind {quote(kind)}", did_you_mean(kind, KINDS) or f"kinds: {', '.join(KINDS)}")
    record = KINDS[kind]
    _, components = msgspec.json.schema_components([record], ref_template="#/$defs/{name}")
    keys = {known.__name__: words for known, words in KEYS.items()}
    for name, schema in components.items():
        _translate_patterns(schema)
        for key, words in keys[name].items():
            schema["properties"][key] = _described(schema["properties"][key], words)
    root = components.pop(record.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **root,
        "title": f"FlyingTux {kind}",
        "$defs": components,
    }


def _described(schema: dict[str, Any], words: str) -> dict[str, Any]:
    """The meaning of the key, followed by what is known of the form of its value."""
    form = schema.get("description")
    return {**schema, "description": f"{words} ({form})" if form else words}


def _translate_patterns(schema: Any) -> None:
    r"""Python's anchors `\A` and `\Z` are `^` and `$` in JSON Schema's regular expressions."""
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            schema["pattern"] = schema["pattern"].replace(r"\A", "^").replace(r"\Z", "$")
        for value in schema.values():
            _translate_patterns(value)
    elif isinstance(schema, list):
        for value in schema:
            _translate_patterns(value)
