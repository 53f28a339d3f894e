# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds for all tests: cheap ones run first, and none touches the machine's own FlyingTux.

Where a test is says what it needs: `unit` and `native` run anywhere; `sandbox`, `hostile`, `image` and `fault` launch
containers and need root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
ORDER = ("unit", "native", "sandbox", "hostile", "image", "fault")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    def place(item: pytest.Item) -> int:
        return ORDER.index(item.path.relative_to(CHECKOUT / "tests").parts[0])

    items.sort(key=place)


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
