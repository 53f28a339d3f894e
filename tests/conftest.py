# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds for all tests: cheap ones run first, and none touches the machine's own FlyingTux.

Where a test is says what it needs: `unit` and `native` run anywhere; `sandbox`, `hostile`, `image` and `fault` launch
containers and need root.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
ORDER = ("unit", "native", "sandbox", "hostile", "image", "fault")
MARKS = {"sandbox": "sandbox", "hostile": "sandbox", "image": "build", "fault": "fault"}
"""Folder of tests that launch containers, and thus need root → mark by which they are chosen."""
PROGRAMS = {"image": ("ostree", "apt-get", "dpkg-deb"), "fault": ("ostree",)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def folder(item: pytest.Item) -> str:
        return item.path.relative_to(CHECKOUT / "tests").parts[0]

    items.sort(key=lambda item: ORDER.index(folder(item)))
    for item in items:
        if folder(item) not in MARKS:
            continue
        item.add_marker(getattr(pytest.mark, MARKS[folder(item)]))
        if os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="containers are launched by root"))
        for program in PROGRAMS.get(folder(item), ()):
            if shutil.which(program) is None:
                item.add_marker(pytest.mark.skip(reason=f"there is no {program}"))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The top directory of the source."""
    return CHECKOUT


@pytest.fixture(scope="session", autouse=True)
def _own_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A test that names no root works below a fresh directory, never on the host's."""
    before = os.environ.get("FTOS_ROOT")
    os.environ["FTOS_ROOT"] = str(tmp_path_factory.mktemp("root"))
    yield
    if before is None:
        del os.environ["FTOS_ROOT"]
    else:
        os.environ["FTOS_ROOT"] = before
