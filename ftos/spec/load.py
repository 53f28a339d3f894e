# SPDX-License-Identifier: AGPL-3.0-or-later
"""Descriptor text → validated record, or all errors of the file at once.

Four steps: `yamltext` reads the plain part of YAML, `walk` holds it against the record type, `checks` looks at what
concerns several values, and msgspec's own strict conversion has the last word. `load_text` is pure; whatever the
bytes are, it returns a record or raises DescriptorErrors.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import msgspec

from ftos.errors import quote
from ftos.host.files import read_limited
from ftos.spec.checks import check
from ftos.spec.problems import DescriptorError, DescriptorErrors, Finding, Key, did_you_mean, key_text
from ftos.spec.records import KINDS, Deployment, Descriptor, Host, Image, Osbase, Service
from ftos.spec.walk import Walker
from ftos.spec.yamltext import MAX_BYTES, Broken, Mapping, Node, Problem, Scalar, Sequence, compose

__all__ = ["SCHEMA", "DescriptorError", "DescriptorErrors", "load_as", "load_file", "load_text", "locate"]

SCHEMA = 1
"""The version of the descriptor format that this code knows."""

T = TypeVar("T", Osbase, Image, Host, Service, Deployment)


def load_text(text: str | bytes, path: Path, kind: str | None = None) -> Descriptor:
    """The record that `text` describes. `path` is for messages; `kind`: what it must be, any when None.

    Raises DescriptorErrors.
    """
    root, problems = compose(text)
    if root is not None:
        if isinstance(root, Mapping):
            record = _read(root, kind, problems)
            if record is not None and not problems:
                return msgspec.convert(msgspec.to_builtins(record), type(record), strict=True)
        elif not isinstance(root, Broken):
            found = "a list" if isinstance(root, Sequence) else "a single value"
            hint = "a descriptor starts with 'kind:' and 'schema: 1'"
            problems.append(Problem(root.line, (), f"keys with values are expected, not {found}", hint))
    raise DescriptorErrors(DescriptorError(path, p.line, key_text(p.key), p.message, p.hint) for p in problems)


def load_file(path: Path, kind: str | None = None) -> Descriptor:
    """As `load_text`, from a file. Raises NotFound and BadInput for what is no readable file, too."""
    return load_text(read_limited(path, MAX_BYTES), path, kind)


def load_as(path: Path, record: type[T]) -> T:
    """As `load_file`, for one type of record: `load_as(path, Image)`."""
    loaded = load_file(path, next(kind for kind, known in KINDS.items() if known is record))
    assert isinstance(loaded, record)
    return loaded


def locate(text: str | bytes, path: Path, findings: list[Finding]) -> tuple[DescriptorError, ...]:
    """The places in a valid descriptor's text which findings (of `ftos.spec.cross`) are about."""
    root, _ = compose(text)
    return tuple(
        DescriptorError(path, _line_of(root, finding.key), key_text(finding.key), finding.message, finding.hint)
        for finding in findings
    )


def _line_of(node: Node | None, key: Key) -> int:
    """The line of the key, or of the innermost thing around it that is there."""
    line = node.line if node else 1
    for part in key:
        if isinstance(node, Mapping) and isinstance(part, str) and part in node.entries:
            line, node = node.entries[part].line, node.entries[part].node
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            line = node.line
        else:
            break
    return line


def _read(root: Mapping, kind: str | None, problems: list[Problem]) -> Descriptor | None:
    """The record, with what is wrong added to `problems`; None when it can't be known what the file should be."""
    known = _kind(root, kind, problems)
    if known is None or not _schema_is_known(root, problems):
        return None
    walker = Walker()
    record = walker.record(root, KINDS[known])
    assert isinstance(record, Osbase | Image | Host | Service | Deployment)
    problems += walker.problems
    broken = [problem.key for problem in problems]
    for finding in check(record):
        # What is at or around a value that was refused was looked at with a placeholder in its place.
        if not any(_overlap(finding.key, key) for key in broken if key):
            problems.append(Problem(_line_of(root, finding.key), finding.key, finding.message, finding.hint))
    return record


def _overlap(one: Key, other: Key) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]


def _kind(root: Mapping, wanted: str | None, problems: list[Problem]) -> str | None:
    """The kind to read the file as. Missing or wrong: what was wanted, if anything was."""
    entry = root.entries.get("kind")
    if entry is None:
        if wanted is None:
            problems.append(Problem(root.line, ("kind",), "missing", f"one of: {', '.join(KINDS)}"))
        return wanted
    node = entry.node
    if isinstance(node, Broken):
        return wanted
    if not isinstance(node, Scalar) or not isinstance(node.value, str) or node.value not in KINDS:
        shown = quote(node.text) if isinstance(node, Scalar) else "this"
        hint = (isinstance(node, Scalar) and did_you_mean(node.text, KINDS)) or f"one of: {', '.join(KINDS)}"
        problems.append(Problem(entry.line, ("kind",), f"{shown} is not a kind of descriptor", hint))
        return None
    if wanted is not None and node.value != wanted:
        message = f"a descriptor of kind {wanted} is expected here, not of kind {node.value}"
        problems.append(Problem(entry.line, ("kind",), message))
        return None
    return node.value


def _schema_is_known(root: Mapping, problems: list[Problem]) -> bool:
    """False, with a problem added, when the file is of another version, so that nothing in it can be judged."""
    entry = root.entries.get("schema")
    if entry is None or not isinstance(entry.node, Scalar):
        return True
    value = entry.node.value
    if isinstance(value, int) and not isinstance(value, bool) and value != SCHEMA:
        message = f"schema {value} is not known: this ftos knows schema {SCHEMA}"
        hint = "update ftos" if value > SCHEMA else f"write schema: {SCHEMA}"
        problems.append(Problem(entry.line, ("schema",), message, hint))
        return False
    return True
