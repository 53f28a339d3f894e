# SPDX-License-Identifier: AGPL-3.0-or-later
"""What YAML text means: the same to the reader and to the editor."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ftos.spec.edit import _yaml
from ftos.spec.yamltext import Mapping, Node, Scalar, Sequence, compose

CORPUS: list[tuple[str, object]] = [
    # null
    ("", None),
    ("~", None),
    ("null", None),
    ("Null", None),
    ("NULL", None),
    ("nULL", "nULL"),
    ('""', ""),
    ("'null'", "null"),
    # true and false, and what YAML 1.1 took for them
    ("true", True),
    ("True", True),
    ("TRUE", True),
    ("false", False),
    ("False", False),
    ("FALSE", False),
    ("tRUE", "tRUE"),
    ("yes", "yes"),
    ("no", "no"),
    ("No", "No"),
    ("NO", "NO"),
    ("on", "on"),
    ("Off", "Off"),
    ("y", "y"),
    ("n", "n"),
    ("'true'", "true"),
    # whole numbers
    ("0", 0),
    ("-0", 0),
    ("+7", 7),
    ("-12", -12),
    ("0644", 644),
    ("007", 7),
    ("-08", -8),
    ("0o17", 15),
    ("0o644", 420),
    ("-0o17", "-0o17"),
    ("0O17", "0O17"),
    ("0o8", "0o8"),
    ("0x1F", 31),
    ("0xff", 255),
    ("0xFg", "0xFg"),
    ("-0x1F", "-0x1F"),
    ("0X1F", "0X1F"),
    ("0b101", "0b101"),
    ("1_000", "1_000"),
    ("0x_1", "0x_1"),
    ("1,000", "1,000"),
    ("9223372036854775807", 9223372036854775807),
    ("-9223372036854775808", -9223372036854775808),
    ('"1"', "1"),
    ("'0x1F'", "0x1F"),
    # others
    ("1.5", 1.5),
    ("1.", 1.0),
    (".5", 0.5),
    ("-.5", -0.5),
    ("+1.5", 1.5),
    ("0.10", 0.1),
    ("12e3", 12000.0),
    ("12E3", 12000.0),
    ("12e+3", 12000.0),
    ("1.2e-3", 0.0012),
    ("-1.5e3", -1500.0),
    ("e3", "e3"),
    (".e3", ".e3"),
    (".", "."),
    ("1.2.3", "1.2.3"),
    ("1_0.5", "1_0.5"),
    (".inf", math.inf),
    ("-.inf", -math.inf),
    ("+.INF", math.inf),
    (".Inf", math.inf),
    (".iNF", ".iNF"),
    ("inf", "inf"),
    (".nan", math.nan),
    (".NaN", math.nan),
    ("nan", "nan"),
    # what YAML 1.1 took for something else
    ("22:22", "22:22"),
    ("1:20:30", "1:20:30"),
    ("190:20:30.15", "190:20:30.15"),
    ("2001-12-14", "2001-12-14"),
    ("2001-12-14t21:59:43.10-05:00", "2001-12-14t21:59:43.10-05:00"),
    ("=", "="),
    # text
    ("700M", "700M"),
    ("a b  c", "a b  c"),
    ("a:b", "a:b"),
    ("a#b", "a#b"),
    ("a # b", "a"),
    ("http://example.org/x", "http://example.org/x"),
    ("-a", "-a"),
    ("/usr/bin", "/usr/bin"),
    ("'*.example.org'", "*.example.org"),
    ("'it''s'", "it's"),
    ('"\\t\\x41\\u00e4\\U0001F600\\n"', "\tAä😀\n"),
    ('"a\\\n  b"', "ab"),
    ("a\n  b", "a b"),
    ("'a\n\n  b'", "a\nb"),
    ("|\n  a\n   b\n\n", "a\n b\n"),
    ("|-\n  a\n  # b", "a\n# b"),
    ("|+\n  a\n", "a\n\n"),
    (">\n  a\n  b\n\n  c\n", "a b\nc\n"),
    # collections
    ("[]", []),
    ("{}", {}),
    ("[a, 1, true, ~, 'x']", ["a", 1, True, None, "x"]),
    ("[no, 0644, 12e3, 22:22]", ["no", 644, 12000.0, "22:22"]),
    ("{a: 1, b: [2, {c: no}]}", {"a": 1, "b": [2, {"c": "no"}]}),
    ("{a: b:c, d: 'e'}", {"a": "b:c", "d": "e"}),
    ("{a, b: }", {"a": None, "b": None}),
    ("[a, b,]", ["a", "b"]),
    ("\n  - a\n  - b: 1\n    c: 2\n  -\n", ["a", {"b": 1, "c": 2}, None]),
    ("\n- a\n- - b\n", ["a", ["b"]]),
    ("\n  no: yes\n  y: n\n", {"no": "yes", "y": "n"}),
]


def plain(node: Node | None) -> Any:
    if isinstance(node, Mapping):
        return {name: plain(entry.node) for name, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    assert isinstance(node, Scalar)
    return node.value


def unwrapped(value: Any) -> Any:
    """ruamel's values as Python's own."""
    if isinstance(value, dict):
        return {str(name): unwrapped(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [unwrapped(inner) for inner in value]
    if isinstance(value, bool) or value is None:
        return value
    return next(kind(value) for kind in (int, float, str) if isinstance(value, kind))


def typed(value: Any) -> str:
    """Equal for equal values of one type; nan, too."""
    return repr(value)


@pytest.mark.parametrize(("text", "meaning"), CORPUS)
def test_reader_and_editor_agree_on_yaml_1_2(text: str, meaning: object) -> None:
    document = f"key: {text}\n"
    root, problems = compose(document)
    assert problems == []
    assert typed(plain(root)) == typed({"key": meaning})
    assert typed(unwrapped(_yaml().load(document))) == typed({"key": meaning})


def test_an_unquoted_star_is_an_alias_and_refused() -> None:
    assert compose("key: *.example.org\n")[1] != []


def test_lines_are_those_of_keys_and_entries() -> None:
    root, _ = compose("# c\na: 1\n\nb:\n  - x\n  - y: |\n      t\n    z:\nc:\n")
    assert isinstance(root, Mapping)
    assert [entry.line for entry in root.entries.values()] == [2, 4, 9]
    entries = root.entries["b"].node
    assert isinstance(entries, Sequence)
    assert [item.line for item in entries.items] == [5, 6]
    second = entries.items[1]
    assert isinstance(second, Mapping)
    assert second.entries["z"].line == 8
    assert root.entries["c"].node == Scalar(9, "", None, True)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        "{a: " * 250_000,
        "- " * 500_000,
        "? " * 500_000,
        "a: &a [*a, *a]\n" * 60_000,
        "\n".join(" " * depth + "a:" for depth in range(1400)),
        '"' + "\\x41" * 250_000,
        "#" * 1_000_000,
    ],
    ids=["lists", "mappings", "entries", "keys", "aliases", "steps", "escapes", "comment"],
)
def test_text_that_is_made_to_be_costly_is_refused_soon(text: str) -> None:
    _, problems = compose(text)
    assert problems
