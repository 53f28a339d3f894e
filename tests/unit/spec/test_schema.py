# SPDX-License-Identifier: AGPL-3.0-or-later
"""JSON schemas: they accept what is valid, refuse what has a wrong form, and explain every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
import yaml

from ftos.errors import NotFound
from ftos.spec.load import load_file
from ftos.spec.schema import json_schema


def validator(kind: str) -> Any:
    schema = json.loads(json.dumps(json_schema(kind)))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_every_shipped_and_example_descriptor_validates(shipped: list[Path]) -> None:
    for path in shipped:
        kind = load_file(path).kind
        assert list(validator(kind).iter_errors(yaml.safe_load(path.read_text()))) == []


def test_a_record_written_as_json_validates(kind: str, shipped: list[Path]) -> None:
    for path in shipped:
        record = load_file(path)
        if record.kind == kind:
            validator(kind).validate(json.loads(msgspec.json.encode(record)))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("host", {"unknown": 1}),
        ("host", {"kind": "image"}),
        ("host", {"schema": 2}),
        ("host", {"gpu": "A b"}),
        ("service", {"name": "Ab"}),
        ("service", {"name": "a\nb"}),
        ("service", {"settings": {"a": [1]}}),
        ("image", {"packages": "gnote"}),
        ("image", {"command": []}),
        ("image", {"version": 1}),
        ("image", {"os-services": {"display": {"required": True}}}),
        ("image", {"volumes": [{"name": "a", "class": "dta", "path": "/a"}]}),
        ("image", {"working-directory": "home"}),
        ("deployment", {"limits": {"pids": 7}}),
        ("deployment", {"os-services": {"d": {"instance": "a", "rights": ["raed"]}}}),
        ("osbase", {"engine": "rpm"}),
        ("osbase", {"name": "debian"}),
    ],
)
def test_what_has_a_wrong_form_does_not_validate(kind: str, change: dict[str, object], shipped: list[Path]) -> None:
    example = next(path for path in shipped if path.name == f"{kind}.yml" and path.parent.name == "examples")
    data = yaml.safe_load(example.read_text())
    assert validator(kind).is_valid(data)
    assert not validator(kind).is_valid({**data, **change})


def test_a_missing_key_does_not_validate(kind: str) -> None:
    assert not validator(kind).is_valid({"kind": kind})


def test_every_key_is_explained_and_no_other_is_allowed(kind: str) -> None:
    schema: Any = json_schema(kind)
    for record in [schema, *schema["$defs"].values()]:
        assert record["additionalProperties"] is False
        assert all(key["description"] for key in record["properties"].values())


def test_patterns_are_such_as_any_editor_understands(kind: str) -> None:
    text = json.dumps(json_schema(kind))
    assert "\\\\A" not in text
    assert "\\\\Z" not in text


def test_an_unknown_kind_is_not_found() -> None:
    with pytest.raises(NotFound) as caught:
        json_schema("imgae")
    assert (caught.value.message, caught.value.hint) == ("there is no kind 'imgae'", "did you mean `image`?")
    with pytest.raises(NotFound) as caught:
        json_schema("zzz")
    assert caught.value.hint == "kinds: osbase, image, host, service, deployment"
