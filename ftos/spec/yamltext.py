# SPDX-License-Identifier: AGPL-3.0-or-later
"""YAML text → nodes with line numbers, by YAML 1.2's core schema, and only the plain part of YAML.

The text is split by PyYAML's C parser, event by event, so no depth and no alias can cost more than the text is long.
What makes YAML dangerous or ambiguous is refused: tags, anchors and aliases, merge keys, directives, several documents,
duplicate keys, control characters, depth. All such errors are collected; only bad syntax ends the reading.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

import yaml

from ftos.errors import quote
from ftos.spec.problems import Key

MAX_BYTES = 1 << 20
"""A descriptor is at most this long."""
MAX_DEPTH = 20
"""Lists and mappings are nested at most this deep."""

Plain = None | bool | int | float | str

_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"(?P<decimal>[-+]?[0-9]+)|0o(?P<octal>[0-7]+)|0x(?P<hex>[0-9a-fA-F]+)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

# What no descriptor needs raw: control characters but tab and line ends, lone surrogates, non-characters, a byte-order
# mark inside, and the characters that YAML 1.1 takes for line ends and 1.2 does not.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


@dataclass(frozen=True, slots=True)
class Scalar:
    """One value: the text as written (without quotes), and what it means. `plain`: written without quotes."""

    line: int
    text: str
    value: Plain
    plain: bool


@dataclass(frozen=True, slots=True)
class Sequence:
    line: int
    items: list[Node] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Entry:
    """The line of the key, and the value."""

    line: int
    node: Node


@dataclass(frozen=True, slots=True)
class Mapping:
    line: int
    entries: dict[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for something that has been reported."""

    line: int


Node = Scalar | Sequence | Mapping | Broken


@dataclass(frozen=True, slots=True)
class Problem:
    """An error at a line (from 1) and key."""

    line: int
    key: Key
    message: str
    hint: str = ""


class _Stop(Exception):
    """What follows can't be read; the reason has been reported."""


def resolve_plain(text: str) -> Plain:
    """What an unquoted scalar means in YAML 1.2's core schema. Raises ValueError for an integer beyond 64 bits."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if match := _INT.fullmatch(text):
        digits = match[match.lastgroup or 0]
        base = {"decimal": 10, "octal": 8, "hex": 16}[str(match.lastgroup)]
        # 22 octal digits are 66 bits; Python refuses to convert thousands of digits.
        number = int(digits, base) if len(digits.lstrip("+-0")) <= 22 else 1 << 64
        if not -(1 << 63) <= number < 1 << 63:
            raise ValueError(text)
        return number
    if _FLOAT.fullmatch(text):
        return float(text)
    if _SPECIAL_FLOAT.fullmatch(text):
        return float(text.replace(".", "", 1))
    return text


def compose(data: str | bytes) -> tuple[Node | None, list[Problem]]:
    """The root node (None when the text is unreadable or empty) and all problems of the text."""
    problems: list[Problem] = []
    text = _decode(data, problems)
    if problems:
        return None, problems
    composer = _Composer(text, problems)
    try:
        return composer.document(), problems
    except _Stop:
        return None, problems
    except yaml.MarkedYAMLError as error:
        problems.append(_syntax_problem(error, text))
        return None, problems
    finally:
        composer.close()


def _syntax_problem(error: yaml.MarkedYAMLError, text: str) -> Problem:
    mark = error.problem_mark or error.context_mark
    line = mark.line + 1 if mark else 1
    reason = str(error.problem)
    hint = ""
    if "tab" in reason or "".join(text.splitlines()[line - 1 : line]).lstrip(" ").startswith("\t"):
        hint = "indent with spaces, not with tabs"
    elif reason == "mapping values are not allowed in this context":
        hint = "check the indentation; text with ': ' in it needs quotes"
    elif reason == "found character that cannot start any token":
        hint = "text that starts with one of @ ` % needs quotes"
    context = f"{error.context}: " if error.context else ""
    return Problem(line, (), f"not YAML: {context}{reason}", hint)


def _decode(data: str | bytes, problems: list[Problem]) -> str:
    if len(data) > MAX_BYTES:
        problems.append(Problem(1, (), f"the file is larger than {MAX_BYTES} bytes"))
        return ""
    if isinstance(data, bytes):
        try:
            text = data.removeprefix(codecs.BOM_UTF8).decode()
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            problems.append(Problem(line, (), f"byte 0x{data[error.start]:02x} is not UTF-8", "save the file as UTF-8"))
            return ""
    else:
        text = data.removeprefix("\ufeff")
    line, last = 1, 0
    for match in _FORBIDDEN.finditer(text):
        line += text.count("\n", last, match.start())
        if not problems or problems[-1].line != line:
            code = f"U+{ord(match[0]):04X}"
            problems.append(Problem(line, (), f"the character {code} is not allowed", f'write it as "\\u{code[2:]}"'))
        last = match.start()
    return text


class _Composer:
    """Builds nodes from events and collects what is refused."""

    def __init__(self, text: str, problems: list[Problem]) -> None:
        self._events: Iterator[yaml.Event] = yaml.parse(text, Loader=yaml.CSafeLoader)
        self._problems = problems

    def close(self) -> None:
        close = getattr(self._events, "close", None)
        if close is not None:
            close()

    def document(self) -> Node | None:
        root: Node | None = None
        for number, event in enumerate(self._documents()):
            if number:
                hint = "one descriptor a file: remove '---' and what follows"
                self._report(_line(event), (), "a second document", hint)
                raise _Stop
            if event.version or event.tags:
                self._report(_line(event), (), "a directive (%YAML, %TAG) is not allowed", "remove the line")
            root = self._node(next(self._events), (), 1)
            next(self._events)
        if root is None:
            self._report(1, (), "the file is empty", "a descriptor starts with 'kind:' and 'schema: 1'")
        return root

    def _documents(self) -> Iterator[yaml.DocumentStartEvent]:
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                yield event

    def _report(self, line: int, key: Key, message: str, hint: str = "") -> None:
        self._problems.append(Problem(line, key, message, hint))

    def _node(self, event: yaml.Event, key: Key, depth: int) -> Node:
        line = _line(event)
        if isinstance(event, yaml.AliasEvent):
            self._report(line, key, f"the alias *{event.anchor} is not allowed", "write the value out")
            return Broken(line)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        refused = self._refuse_properties(event, line, key)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event, line, key)
        elif depth > MAX_DEPTH:
            self._report(line, key[:4], f"nested deeper than {MAX_DEPTH} levels")
            raise _Stop
        elif isinstance(event, yaml.SequenceStartEvent):
            node = Sequence(line)
            while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
                node.items.append(self._node(event, (*key, len(node.items)), depth + 1))
        else:
            node = self._mapping(line, key, depth)
        return Broken(line) if refused else node

    def _refuse_properties(self, event: yaml.ScalarEvent | yaml.CollectionStartEvent, line: int, key: Key) -> bool:
        if event.anchor is not None:
            hint = "write the value out where it is used"
            self._report(line, key, f"the anchor &{event.anchor} is not allowed", hint)
        if event.tag is not None:
            self._report(line, key, f"the tag {quote(event.tag)} is not allowed", "remove it; put text in quotes")
        return event.tag is not None

    def _scalar(self, event: yaml.ScalarEvent, line: int, key: Key) -> Node:
        if event.style:
            return Scalar(line, event.value, event.value, False)
        try:
            return Scalar(line, event.value, resolve_plain(event.value), True)
        except ValueError:
            self._report(line, key, f"{quote(event.value, 40)} is too large for a number", "put text in quotes")
            return Broken(line)

    def _mapping(self, line: int, key: Key, depth: int) -> Node:
        node = Mapping(line)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            name_line = _line(event)
            name = self._key(event, key, depth)
            value = self._node(next(self._events), (*key, name) if name is not None else key, depth + 1)
            if isinstance(value, Scalar) and value.plain and not value.text:
                value = Scalar(name_line, "", None, True)  # the parser puts what is not there at the next thing
            if name is None:
                continue
            if name in node.entries:
                first = node.entries[name].line
                self._report(name_line, (*key, name), "the key is there twice", f"first in line {first}")
            else:
                node.entries[name] = Entry(name_line, value)
        return node

    def _key(self, event: yaml.Event, key: Key, depth: int) -> str | None:
        """The key as text, or None when it was refused."""
        node = self._node(event, key, depth + 1)
        if isinstance(node, Broken):
            return None
        if not isinstance(node, Scalar):
            hint = "text with [ or { in it needs quotes"
            self._report(node.line, key, "a key must be a word, not a list or a mapping", hint)
            return None
        if node.plain and node.text == "<<":
            self._report(node.line, key, "the merge key << is not allowed", "write the keys out")
            return None
        if not isinstance(node.value, str):
            self._report(node.line, (*key, node.text), "a key must be a word", f'write it in quotes: "{node.text}"')
            return None
        return node.value


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1
