# SPDX-License-Identifier: AGPL-3.0-or-later
"""The house style, as far as a machine can judge it. `make format` repairs most of it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

FOLDERS = ("ftos", "tests", "osbases", "rootfs-overlay", "demo", "docs", ".ci")
CODE = (".py", ".pyi", ".pyx", ".pxd", ".pxi", ".c", ".h", ".sh", ".yml")
TEXT = (*CODE, ".md", ".toml", ".lock", "")
LONGEST = 600
"""Lines of the longest file of code; most have fewer than 300."""
SPDX = "SPDX-License-Identifier: AGPL-3.0-or-later"


def files(checkout: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    """Our own files of these suffixes, without what the build made, foreign keys, and descriptors for tests: they may
    be wrong on purpose.
    """
    for path in [*checkout.iterdir(), *(file for folder in FOLDERS for file in (checkout / folder).rglob("*"))]:
        inside = path.relative_to(checkout)
        made = "__pycache__" in inside.parts or inside.match("ftos/_native/ftos-*")
        foreign = "keys" in inside.parts or (inside.parts[0] == "tests" and path.suffix == ".yml")
        if path.is_file() and path.suffix in suffixes and not made and not foreign:
            yield inside


def code(checkout: Path) -> Iterator[Path]:
    """Source files, and scripts that have no suffix but a `#!`."""
    for path in files(checkout, (*CODE, "")):
        if path.suffix or (checkout / path).read_bytes().startswith(b"#!"):
            yield path


def test_every_source_file_names_its_licence_in_its_first_lines(checkout: Path) -> None:
    missing = [str(p) for p in code(checkout) if not any(SPDX in line for line in lines(checkout / p)[:2])]
    assert missing == []


def test_no_source_file_is_too_long(checkout: Path) -> None:
    assert {str(p): n for p in code(checkout) if (n := len(lines(checkout / p))) > LONGEST} == {}


def test_no_line_ends_in_blanks_and_every_file_ends_its_last_line(checkout: Path) -> None:
    wrong = []
    for path in files(checkout, TEXT):
        text = (checkout / path).read_text()
        wrong += [f"{path}:{text.count(chr(10), 0, m.start()) + 1}" for m in re.finditer(r"[ \t\r]+$", text, re.M)]
        wrong += [str(path)] * (text != "" and (not text.endswith("\n") or text.endswith("\n\n")))
    assert wrong == []


def test_every_module_says_why_it_exists(checkout: Path) -> None:
    silent = [str(p) for p in files(checkout, (".py",)) if p.name != "__init__.py" and not docstring(checkout / p)]
    assert silent == []


@pytest.mark.parametrize(
    "tool",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=" ".join,
)
def test_tool_has_nothing_to_say(checkout: Path, tool: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", *tool], cwd=checkout, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_c_has_the_house_form(checkout: Path) -> None:
    sources = [str(p) for p in files(checkout, (".c", ".h"))]
    formatter = Path(sys.executable).with_name("clang-format")
    done = subprocess.run(
        [formatter, "--dry-run", "--Werror", *sources], cwd=checkout, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_scripts_can_be_executed_and_parse(checkout: Path) -> None:
    for path in code(checkout):
        interpreter = lines(checkout / path)[0]
        if interpreter.startswith("#!"):
            assert os.access(checkout / path, os.X_OK), path
        if interpreter.endswith(("sh", "bash")):
            subprocess.run(["bash", "-n", path], cwd=checkout, check=True)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() or [""]


def docstring(path: Path) -> bool:
    return re.match(r'(#.*\n)*\n*r?"""\S', path.read_text()) is not None
