# SPDX-License-Identifier: AGPL-3.0-or-later
"""Imports point one way, from the command down to the records. Imports inside functions and for types count too."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

LAYERS = (
    ("errors",),
    ("host", "_native"),
    ("spec",),
    ("plan",),
    ("services", "image", "volumes"),
    ("runtime",),
    ("cli",),
)
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}


def imported(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Each module of ftos that the text of a module in `package` imports, with its line; dotted, without `ftos.`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            found = [f"{base}.{alias.name}" for alias in node.names] if base == "ftos" else [base]
        else:
            continue
        yield from ((node.lineno, name.removeprefix("ftos.")) for name in found if name.startswith("ftos."))


def imports_of_cython(source: str) -> str:
    """The import statements of a Cython module as Python, each on its line; the rest is left out."""
    found = re.compile(r"\s*(?:from\s+([\w.]+)\s+)?c?import\s+\(?\s*([\w.]*)")
    matches = (found.match(line) for line in source.splitlines())
    return "\n".join((f"from {m[1]} " if m[1] else "") + f"import {m[2] or '_'}" if m else "" for m in matches)


def violations(source: str, package: str) -> list[str]:
    """What a module's imports break, one line each."""
    here = package.split(".")[1]
    broken = []
    for line, name in imported(source, package):
        there = name.split(".")[0]
        if there != here and LEVEL[there] >= LEVEL[here]:
            broken.append(f"line {line}: {here} imports {there}")
    return broken


def test_every_package_has_its_layer(checkout: Path) -> None:
    packages = {p.stem for p in (checkout / "ftos").iterdir() if p.suffix == ".py" or (p / "__init__.py").is_file()}
    assert packages - {"__init__"} == set(LEVEL)


def test_imports_point_one_way(checkout: Path) -> None:
    broken = {}
    for path in (checkout / "ftos").rglob("*.py*"):
        module = path.relative_to(checkout)
        if path.suffix in (".py", ".pyi", ".pyx") and module != Path("ftos/__init__.py"):
            text = path.read_text() if path.suffix != ".pyx" else imports_of_cython(path.read_text())
            package = ".".join((module.parent if module.parent != Path("ftos") else module.with_suffix("")).parts)
            if found := violations(text, package):
                broken[str(module)] = found
    assert broken == {}


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("ftos.spec", "from ftos.plan.records import LaunchPlan"),
        ("ftos.plan", "import ftos.runtime.launch"),
        ("ftos.services", "from ftos import image"),
        ("ftos.image", "from ftos.volumes import classes"),
        ("ftos.image.engines", "from ...cli import main"),
        ("ftos.host", "def f():\n    from ftos.spec import load"),
        ("ftos.host", "from ftos._native import launch"),
        ("ftos._native", "from .. import spec"),
        ("ftos.runtime", "if TYPE_CHECKING:\n    from ftos.cli.context import App"),
    ],
)
def test_an_import_upwards_or_sideways_is_found(package: str, source: str) -> None:
    assert len(violations(source, package)) == 1


@pytest.mark.parametrize(
    ("package", "source"),
    [
        ("ftos.cli", "from ftos.runtime.launch import launch"),
        ("ftos.image.engines", "from ..recipe import Recipe"),
        ("ftos.plan", "from ftos.plan import records\nfrom ftos.errors import quote"),
        ("ftos.host", "from ftos.errors import FtosError"),
        ("ftos.spec", "import os, ftosomething"),
    ],
)
def test_an_import_downwards_is_allowed(package: str, source: str) -> None:
    assert violations(source, package) == []


def test_an_import_in_cython_is_found() -> None:
    source = "cimport cython\ncdef int f() nogil:\n    return 1\nfrom ftos.plan cimport (\n    encode)\n"
    assert violations(imports_of_cython(source), "ftos._native") == ["line 4: _native imports plan"]
