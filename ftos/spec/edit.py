# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changes to a descriptor that a person may have written: one value changes, comments, order and quotes stay.

Text and a dotted key in, text out. ruamel.yaml changes the document, with the same core schema as `yamltext`; `layout`
then takes from its output only the lines which the change concerns, so that comments, blank lines and alignment stay
where they are. Whether the result is a valid descriptor is for the caller to ask `ftos.spec.load` before it is saved.

A key is `settings.theme`; in a list of things with names, the name follows: `volumes.notes.backup`.
"""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path
from typing import Any

from msgspec import inspect
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import ScalarNode
from ruamel.yaml.resolver import VersionedResolver
from ruamel.yaml.scalarstring import DoubleQuotedScalarString, SingleQuotedScalarString
from ruamel.yaml.tag import Tag

from ftos.errors import BadInput, quote
from ftos.spec.layout import content, indent_of, merge
from ftos.spec.problems import DescriptorError, DescriptorErrors, did_you_mean, key_text
from ftos.spec.records import KINDS
from ftos.spec.walk import struct_type, without_metadata
from ftos.spec.yamltext import compose, resolve_plain

_TAGS = {type(None): "null", bool: "bool", int: "int", float: "float", str: "str"}


def set_value(text: str, key: str, value: str) -> str:
    """`text` with the value at `key` set; mappings on the way (and named list entries) are made when missing.

    value: YAML in one line, as `true`, `0.5`, `[list, read]`; where the key wants text (`700M`), the text itself.
    Raises BadInput for a key that the kind does not have and for a value that is no YAML, DescriptorErrors for a
    text that is none.
    """
    document = _load(text)
    before = _dump(document, text)
    way = _way(document, key)
    node: Any = document
    for part, kind in way[:-1]:
        node = _enter(node, part, kind)
        if not isinstance(node, CommentedSeq if isinstance(kind, inspect.VarTupleType) else CommentedMap):
            raise BadInput(f"{quote(part)} in {quote(key)} is something else in the file", "correct the file first")
    name, kind = way[-1]
    if isinstance(node, CommentedSeq):
        raise BadInput(f"{quote(key)} names a whole entry of a list", f"set its keys one by one: {key}.KEY=VALUE")
    new = _parse(value, kind, key)
    if isinstance(new, str) and isinstance(node.get(name), DoubleQuotedScalarString | SingleQuotedScalarString):
        new = type(node[name])(new)
    node[name] = new
    return _change(text, before, _dump(document, text))


def remove_value(text: str, key: str) -> str:
    """`text` without the value at `key`, and without the mappings and lists that are empty then. Errors as above."""
    document = _load(text)
    before = _dump(document, text)
    places: list[tuple[Any, Any]] = []
    node: Any = document
    for part, _ in _way(document, key):
        place = _find(node, part)
        if place is None:
            raise BadInput(f"{quote(key)} is not set")
        places.append((node, place))
        node = node[place]
    for container, place in reversed(places):
        del container[place]
        if container:
            break
    return _change(text, before, _dump(document, text))


# --- keys and values ------------------------------------------------------------------------------------------------


def _way(document: CommentedMap, key: str) -> list[tuple[str, inspect.Type]]:
    """Each part of the key, with the type of the value there. Raises BadInput for a key that the kind does not have."""
    kind: inspect.Type = struct_type(KINDS[str(document["kind"])])
    way: list[tuple[str, inspect.Type]] = []
    for part in key.split("."):
        if isinstance(kind, inspect.VarTupleType):
            item = without_metadata(kind.item_type)
            if not isinstance(item, inspect.StructType) or "name" not in item.cls.__struct_fields__:
                raise BadInput(f"{quote(key)} leads into a list", "set the list as a whole: KEY=[a, b]")
            kind = item
        elif isinstance(kind, inspect.DictType):
            kind = without_metadata(kind.value_type)
        elif isinstance(kind, inspect.StructType):
            fields = {field.encode_name: field.type for field in kind.fields}
            if part not in fields:
                hint = did_you_mean(part, fields) or f"known keys: {', '.join(fields)}"
                raise BadInput(f"{quote(part)} in {quote(key)} is not a key", hint)
            kind = without_metadata(fields[part])
        else:
            raise BadInput(f"{quote(key)} leads into a single value")
        way.append((part, kind))
    return way


def _find(node: Any, part: str) -> str | int | None:
    """Where `part` is in a mapping (its key) or in a list of named things (its index), None when it is not there."""
    if isinstance(node, CommentedSeq):
        names = [entry.get("name") if isinstance(entry, CommentedMap) else None for entry in node]
        return names.index(part) if part in names else None
    return part if isinstance(node, CommentedMap) and part in node else None


def _enter(node: Any, part: str, kind: inspect.Type) -> Any:
    """The mapping or list at `part`, made when there is none."""
    place = _find(node, part)
    if place is None or node[place] is None:
        if isinstance(node, CommentedSeq):
            node.append(CommentedMap(name=part))
            place = len(node) - 1
        else:
            place = part
            node[place] = CommentedSeq() if isinstance(kind, inspect.VarTupleType) else CommentedMap()
    return node[place]


def _parse(value: str, kind: inspect.Type, key: str) -> Any:
    if _wants_text(kind):
        quoted = re.fullmatch(r"""\s*("(?:[^"\\]|\\.)*"|'(?:[^']|'')*')\s*""", value, re.DOTALL)
        return _as_text(str(_yaml().load(value)) if quoted and compose(value)[1] == [] else value)
    stripped = value.strip()
    if not stripped:
        raise BadInput(f"the value for {quote(key)} is empty")
    if stripped[0] not in "[{\"'":
        try:
            plain = resolve_plain(stripped)
        except ValueError:
            raise BadInput(f"{quote(value)} is too large for a number") from None
        return _as_text(plain) if isinstance(plain, str) else plain
    _, problems = compose(value)
    if problems:
        raise BadInput(f"{quote(value)} is not a YAML value: {problems[0].message}", problems[0].hint)
    return _yaml().load(value)


def _wants_text(kind: inspect.Type) -> bool:
    if isinstance(kind, inspect.LiteralType):
        return isinstance(kind.values[0], str)
    return isinstance(kind, inspect.StrType)


def _as_text(text: str) -> str:
    """Text of several lines is written in one, with escapes."""
    return text if text.isprintable() else DoubleQuotedScalarString(text)


# --- the round trip -------------------------------------------------------------------------------------------------


class CoreResolver(VersionedResolver):
    """Lets ruamel.yaml take unquoted scalars for what `yamltext` takes them for."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is not ScalarNode or not implicit[0]:
            return super().resolve(kind, value, (False, False))
        try:
            name = _TAGS[type(resolve_plain(str(value)))]
        except ValueError:
            name = "int"
        return Tag(suffix=f"tag:yaml.org,2002:{name}")


def _yaml() -> YAML:
    editor = YAML()
    editor.Resolver = CoreResolver
    editor.preserve_quotes = True
    editor.width = 1 << 20
    return editor


def _load(text: str) -> CommentedMap:
    """The document without its comment lines, which `layout` brings back. Raises DescriptorErrors."""
    _, problems = compose(text)
    if problems:
        file = Path("<text>")
        raise DescriptorErrors(DescriptorError(file, p.line, key_text(p.key), p.message, p.hint) for p in problems)
    lines = content(text)[0]
    try:
        document = _yaml().load("\n".join(lines) + "\n")
    except MarkedYAMLError as error:  # ruamel.yaml takes fewer tabs than the reader
        shown = quote("".join(lines[error.problem_mark.line :][:1]).strip(), 60)
        raise BadInput(
            f"the editor can't read {shown}: {error.problem}", "write spaces for tabs, or use `ftos edit`"
        ) from error
    if not isinstance(document, CommentedMap) or document.get("kind") not in KINDS:
        raise BadInput("this is not a descriptor", f"it needs a line as `kind: deployment`; kinds: {', '.join(KINDS)}")
    return document


def _dump(document: CommentedMap, text: str) -> list[str]:
    """The lines of the document, indented as `text` is."""
    editor = _yaml()
    mapping, offset = 2, 2
    lines = content(text)[0]
    for line, following in itertools.pairwise(lines):
        step = indent_of(following) - indent_of(line)
        if not re.match(r" *[\w-]+: *(#.*)?$", line):
            continue
        if following.lstrip().startswith("- "):
            offset = max(step, 0)
        elif step > 0:
            mapping = step
    editor.indent(mapping=mapping, sequence=offset + 2, offset=offset)
    editor.explicit_start = bool(lines) and lines[0].startswith("---")
    stream = io.StringIO()
    editor.dump(document, stream)
    return stream.getvalue().splitlines()


def _change(text: str, before: list[str], after: list[str]) -> str:
    """The text with the change from `before` to `after`: as it was written, but never at the price of data."""
    merged = merge(text, before, after)
    plain = "\n".join(after) + "\n"
    return merged if _data(merged) == _data(plain) else plain


def _data(text: str) -> Any:
    return None if compose(text)[1] else _yaml().load(text)
