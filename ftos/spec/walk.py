# SPDX-License-Identifier: AGPL-3.0-or-later
"""YAML nodes × record type → a record, and every place where the two do not fit.

The types in `ftos.spec.records` say what is allowed; this module says it to people. Where a value is wrong, a neutral
placeholder takes its place, so that the rest of the file can still be looked at: with problems, the record is good for
further checks only.
"""

from __future__ import annotations

import math
import re
from functools import cache
from typing import get_args

import msgspec
from msgspec import inspect

from ftos.errors import quote
from ftos.spec import records
from ftos.spec.describe import KEYS
from ftos.spec.paths import path_problem
from ftos.spec.problems import Key, did_you_mean
from ftos.spec.yamltext import Broken, Mapping, Node, Problem, Scalar, Sequence

_PATHS = frozenset((get_args(records.AbsolutePath)[1].pattern,))
_NUMBER_OR_TEXT = (inspect.BoolType, inspect.IntType, inspect.FloatType, inspect.StrType)


@cache
def struct_type(record: type[msgspec.Struct]) -> inspect.StructType:
    """What msgspec knows of a record."""
    info = inspect.type_info(record)
    assert isinstance(info, inspect.StructType)
    return info


def without_metadata(kind: inspect.Type) -> inspect.Type:
    """The type itself, without description and without `| None`."""
    if isinstance(kind, inspect.Metadata):
        return without_metadata(kind.type)
    if isinstance(kind, inspect.UnionType):
        others = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
        return without_metadata(others[0]) if len(others) == 1 else kind
    return kind


def description(kind: inspect.Type) -> str:
    """The words that records.py has for the form of a type, or ""."""
    if isinstance(kind, inspect.UnionType):
        return next(filter(None, map(description, kind.types)), "")
    return (kind.extra_json_schema or {}).get("description", "") if isinstance(kind, inspect.Metadata) else ""


class Walker:
    """One walk over one file. `problems` and `lines` (of every key and list entry) are what is left afterwards."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.lines: dict[Key, int] = {}

    def record(self, node: Mapping, record: type[records.Record], key: Key = ()) -> records.Record:
        """The record that the mapping describes; see `problems` for whether it is a good one."""
        info = struct_type(record)
        fields = {field.encode_name: field for field in info.fields}
        about = KEYS[record]
        values: dict[str, object] = {}
        for name, entry in node.entries.items():
            self.lines[*key, name] = entry.line
            if name not in fields:
                hint = did_you_mean(name, fields) or f"known keys: {', '.join(fields)}"
                self._report(entry.line, (*key, name), "unknown key", hint)
                continue
            value = self._value(entry.node, fields[name].type, (*key, name), about[name])
            if value is not _BAD:
                values[fields[name].name] = value
            elif fields[name].required:
                values[fields[name].name] = _placeholder(fields[name].type)
        for name, field in fields.items():
            if field.required and name not in node.entries:
                self._report(self.lines.get(key, node.line), (*key, name), "missing", about[name])
                values[field.name] = _placeholder(field.type)
        return record(**values)

    def _report(self, line: int, key: Key, message: str, hint: str = "") -> object:
        self.problems.append(Problem(line, key, message, hint))
        return _BAD

    def _value(self, node: Node, kind: inspect.Type, key: Key, about: str) -> object:
        """The value of the node, or _BAD after a report. `about`: what the key is for, for hints."""
        self.lines.setdefault(key, node.line)
        about = description(kind) or about
        optional = isinstance(kind, inspect.UnionType) and any(isinstance(t, inspect.NoneType) for t in kind.types)
        kind = without_metadata(kind)
        if isinstance(node, Broken):
            return _BAD
        if isinstance(node, Scalar) and node.value is None:
            if optional:
                return None
            empty = {inspect.VarTupleType: "write [] for none", inspect.DictType: "write {} for none"}
            return self._report(node.line, key, "the value is missing", empty.get(type(kind), about))
        if isinstance(kind, inspect.StructType):
            if not isinstance(node, Mapping):
                return self._wrong_type(node, key, "a mapping of keys", about)
            assert issubclass(kind.cls, records.Record)
            return self.record(node, kind.cls, key)
        if isinstance(kind, inspect.DictType):
            return self._dict(node, kind, key, about)
        if isinstance(kind, inspect.VarTupleType):
            return self._tuple(node, kind, key, about)
        if not isinstance(node, Scalar):
            wanted = "one value" if isinstance(kind, inspect.UnionType) else _WANTED[type(kind)]
            return self._wrong_type(node, key, wanted, about)
        return self._scalar(node, kind, key, about)

    def _dict(self, node: Node, kind: inspect.DictType, key: Key, about: str) -> object:
        if not isinstance(node, Mapping):
            return self._wrong_type(node, key, "a mapping of keys", about)
        result: dict[str, object] = {}
        for name, entry in node.entries.items():
            self.lines[*key, name] = entry.line
            name_type = without_metadata(kind.key_type)
            assert isinstance(name_type, inspect.StrType)
            self._text(name, name_type, entry.line, (*key, name), description(kind.key_type), "the key ")
            value = self._value(entry.node, kind.value_type, (*key, name), about)
            result[name] = _placeholder(kind.value_type) if value is _BAD else value
        return result

    def _tuple(self, node: Node, kind: inspect.VarTupleType, key: Key, about: str) -> object:
        if not isinstance(node, Sequence):
            hint = f"write [{node.text}]" if isinstance(node, Scalar) and _shows_well(node.text) else about
            return self._wrong_type(node, key, "a list", hint)
        if len(node.items) < (kind.min_length or 0):
            return self._report(node.line, key, "the list is empty", about)
        values = [self._value(item, kind.item_type, (*key, n), about) for n, item in enumerate(node.items)]
        return tuple(_placeholder(kind.item_type) if value is _BAD else value for value in values)

    def _scalar(self, node: Scalar, kind: inspect.Type, key: Key, about: str) -> object:
        value = node.value
        if isinstance(kind, inspect.LiteralType):
            return self._choice(node, kind, key)
        if isinstance(kind, inspect.UnionType):  # records.Scalar, the only union of values
            members = (without_metadata(member) for member in kind.types)
            kind = next(m for m in members if isinstance(m, _NUMBER_OR_TEXT) and _PYTHON[type(m)] is type(value))
        if type(value) is not _PYTHON[type(kind)]:
            return self._wrong_scalar(node, kind, key, about)
        if isinstance(kind, inspect.StrType):
            return value if self._text(node.text, kind, node.line, key, about) else _BAD
        if isinstance(kind, inspect.IntType):
            assert isinstance(value, int)
            if not (kind.ge is None or kind.ge <= value) or not (kind.le is None or value <= kind.le):
                return self._report(node.line, key, f"{value} is not between {kind.ge} and {kind.le}", about)
        if isinstance(value, float) and not math.isfinite(value):
            return self._report(node.line, key, f"{quote(node.text)} is not a finite number")
        return value

    def _wrong_scalar(self, node: Scalar, kind: inspect.Type, key: Key, about: str) -> object:
        hint = about
        if isinstance(kind, inspect.StrType) and _shows_well(node.text):
            hint = f'write it in quotes: "{node.text}"'
        elif isinstance(kind, inspect.BoolType):
            hint = "write true or false"
        elif isinstance(node.value, str) and not node.plain:
            hint = "write it without quotes"
        return self._wrong_type(node, key, _WANTED[type(kind)], hint)

    def _text(self, text: str, kind: inspect.StrType, line: int, key: Key, about: str, what: str = "") -> bool:
        """Report what is wrong with the text; True when nothing is."""
        if kind.max_length is not None and len(text) > kind.max_length:
            self._report(line, key, f"{what}{quote(text, 40)} is longer than {kind.max_length} characters")
            return False
        if kind.pattern is not None:
            if not re.search(kind.pattern, text):
                self._report(line, key, f"{what}{quote(text)} has not the right form", about)
                return False
            if kind.pattern in _PATHS and (problem := path_problem(text)):
                self._report(line, key, f"{what}{quote(text)}: {problem}", about)
                return False
        return True

    def _choice(self, node: Scalar, kind: inspect.LiteralType, key: Key) -> object:
        if node.value in kind.values and type(node.value) is type(kind.values[0]):
            return node.value
        choices = [str(choice) for choice in kind.values]
        if node.text in choices:
            return self._wrong_type(node, key, f"the number {node.text}", "write it without quotes")
        hint = did_you_mean(node.text, choices) or f"one of: {', '.join(choices)}"
        return self._report(node.line, key, f"{quote(node.text)} is not a choice", hint)

    def _wrong_type(self, node: Node, key: Key, wanted: str, hint: str) -> object:
        return self._report(node.line, key, f"{wanted} is expected, not {_shown(node)}", hint)


_BAD = object()

_PYTHON: dict[type[inspect.Type], type] = {
    inspect.BoolType: bool,
    inspect.IntType: int,
    inspect.FloatType: float,
    inspect.StrType: str,
}
_WANTED: dict[type[inspect.Type], str] = {
    inspect.BoolType: "true or false",
    inspect.IntType: "a whole number",
    inspect.StrType: "text",
    inspect.LiteralType: "one word",
}


def _shown(node: Node) -> str:
    if isinstance(node, Sequence):
        return "a list"
    if isinstance(node, Mapping):
        return "a mapping of keys"
    if isinstance(node, Scalar) and isinstance(node.value, str):
        return f"the text {quote(node.text, 40)}"
    if isinstance(node, Scalar) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        return f"the number {node.text}"
    return node.text if isinstance(node, Scalar) else "nothing"


def _shows_well(text: str) -> bool:
    return len(text) <= 60 and text.isprintable() and '"' not in text and "\\" not in text


def _placeholder(kind: inspect.Type) -> object:
    """A neutral value of the type's shape."""
    if isinstance(kind, inspect.UnionType) and any(isinstance(member, inspect.NoneType) for member in kind.types):
        return None
    kind = without_metadata(kind)
    if isinstance(kind, inspect.StructType):
        return kind.cls(**{field.name: _placeholder(field.type) for field in kind.fields if field.required})
    if isinstance(kind, inspect.LiteralType):
        return kind.values[0]
    if isinstance(kind, inspect.DictType):
        return {}
    if isinstance(kind, inspect.VarTupleType):
        return ()
    return "" if isinstance(kind, inspect.StrType) else 0
