# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a hostile package database says of itself goes into a manifest that can be read again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from ftos.errors import BuildError
from ftos.host.trees import directory
from ftos.image.engines import apk_text, apt_text, engine, installed
from ftos.image.manifest import InstalledPackage

LONG = "x" * 100_000
STATUS = f"Package: {LONG}\nStatus: install ok installed\nVersion: {LONG}\nArchitecture: {LONG}\nSource: {LONG}\n"
INSTALLED = f"P:{LONG}\nV:{LONG}\nA:{LONG}\no:{LONG}\nL:{LONG}\n"


@pytest.mark.parametrize(
    "parsed", [lambda: apt_text.parse_status(STATUS), lambda: apk_text.parse_installed(INSTALLED.encode())]
)
def test_fields_of_any_length_are_cut(parsed: Callable[[], tuple[InstalledPackage, ...]]) -> None:
    packages = parsed()
    assert {len(text) for text in msgspec.structs.astuple(packages[0])} <= {0, 1024}
    assert msgspec.json.decode(msgspec.json.encode(packages), type=tuple[InstalledPackage, ...]) == packages


@pytest.mark.parametrize(
    ("name", "path", "paragraph"),
    [
        ("apt", "var/lib/dpkg/status", "Package: a\nStatus: install ok installed\n\n"),
        ("apk", "lib/apk/db/installed", "P:a\n\n"),
    ],
)
def test_more_packages_than_memory_may_hold_are_refused(tmp_path: Path, name: str, path: str, paragraph: str) -> None:
    database = tmp_path / path
    database.parent.mkdir(parents=True)
    with directory(tmp_path) as tree:
        database.write_text(paragraph * 10)
        assert len(installed(engine(name), tree)) == 10
        database.write_text(paragraph * 100_001)
        with pytest.raises(BuildError, match="has more than 100000 packages"):
            installed(engine(name), tree)
