# SPDX-License-Identifier: AGPL-3.0-or-later
"""`docs/descriptors.md`: every kind of descriptor with its keys, what they mean, their form and default.

Made from the records and `ftos.spec.describe`, so that it can't be wrong. `python -m ftos.spec.reference` prints it;
a test holds that the file is up to date.
"""

from __future__ import annotations

import msgspec
from msgspec import inspect

from ftos.spec.checks import RESERVED_INSTANCES
from ftos.spec.describe import KEYS
from ftos.spec.records import KINDS, Record
from ftos.spec.template import DEPLOYMENT_NAME, HOST_FACTS
from ftos.spec.walk import description, struct_type, without_metadata
from ftos.spec.yamltext import MAX_BYTES, MAX_DEPTH

_FACTS = ", ".join(f"`${{host.{fact}}}`" for fact in HOST_FACTS)
_RESERVED = " and ".join(f"`{name}`" for name in RESERVED_INSTANCES)
_INTRODUCTION = f"""\
# Descriptors

One YAML file describes one thing. `ftos validate FILE...` tells all that is wrong with files, `ftos schema KIND` prints
a JSON schema for editors, and [examples/](examples/) has one file of each kind.

* `kind:` and `schema: 1` come first. A key that is not listed here is an error, and so is one that is there twice.
* YAML 1.2: `no`, `yes`, `on` and `22:22` are text, `0644` is the number 644. What must be text but looks like a number
  or like `true` needs quotes: `version: "1"`.
* No tags (`!…`), anchors, aliases, merge keys and directives; one document a file, at most {MAX_BYTES // 1024} KiB,
  nested at most {MAX_DEPTH} deep.
* A path is absolute, without `.`, `..` and `//` in it.
* Facts of the host, as `ftos host show` tells them, are filled in where a text names them:
  {_FACTS}.
  That is so for the `content` of an image's `files`, and for `commands` and `environment` of an os-component. `files`
  may also name `${{settings.NAME}}` and `${{{DEPLOYMENT_NAME}}}`: they are rendered for each deployment.
  `$${{` is a literal `${{`.
* The service instances {_RESERVED} exist for every interface: the app sees nothing of it, or sees it empty. What a
  deployment does not bind is `none`.
"""


def markdown() -> str:
    """The whole page."""
    sections = [_INTRODUCTION]
    for kind, record in KINDS.items():
        where = "osbases/DISTRO/RELEASE/osbase.yml" if kind == "osbase" else f"{kind}s/NAME.yml"
        where = "/etc/ftos/host.yml" if kind == "host" else where
        sections.append(f"## {kind}\n\n`{where}`, example: [{kind}.yml](examples/{kind}.yml)\n")
        sections.append(_table(record))
        sections += [f"### {kind}: {path}\n\n{_table(inner)}" for path, inner in _inner(struct_type(record), "")]
    return "\n".join(sections)


def _inner(info: inspect.StructType, prefix: str) -> list[tuple[str, type[Record]]]:
    """The records inside a record, each with the key that leads to it."""
    found: list[tuple[str, type[Record]]] = []
    for field in info.fields:
        kind, path = without_metadata(field.type), f"{prefix}{field.encode_name}"
        if isinstance(kind, inspect.DictType):
            kind, path = without_metadata(kind.value_type), f"{path}.NAME"
        elif isinstance(kind, inspect.VarTupleType):
            kind, path = without_metadata(kind.item_type), f"{path}[]"
        if isinstance(kind, inspect.StructType) and issubclass(kind.cls, Record):
            found += [(path, kind.cls), *_inner(kind, f"{path}.")]
    return found


def _table(record: type[Record]) -> str:
    lines = ["| key | meaning | form | default |", "|---|---|---|---|"]
    lines += [
        f"| `{field.encode_name}` | {KEYS[record][field.encode_name]} | {_form(field.type)} | {_default(field)} |"
        for field in struct_type(record).fields
    ]
    return "\n".join(lines) + "\n"


def _form(kind: inspect.Type) -> str:
    words = description(kind)
    kind = without_metadata(kind)
    if isinstance(kind, inspect.LiteralType):
        return ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, inspect.VarTupleType):
        return f"list: {_form(kind.item_type)}"
    if isinstance(kind, inspect.DictType):
        return f"mapping: {_form(kind.value_type)}"
    if isinstance(kind, inspect.StructType):
        return "see below"
    if isinstance(kind, inspect.IntType):
        return f"{kind.ge} to {kind.le}"
    if isinstance(kind, inspect.UnionType):
        return "text, a number, true or false"
    return "true or false" if isinstance(kind, inspect.BoolType) else words or "text"


def _default(field: inspect.Field) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT or not isinstance(field.default, bool | str) or field.default == "":
        return ""
    return f"`{str(field.default).lower()}`" if isinstance(field.default, bool) else f"`{field.default}`"


if __name__ == "__main__":
    print(markdown(), end="")
