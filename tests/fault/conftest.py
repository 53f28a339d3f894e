# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests of faults have in common: they are for root, and some build images as those of tests/image do."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.image.conftest import alpine, common, world

__all__ = ["alpine", "common", "world"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.fault)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="images are built by root"))
            if shutil.which("ostree") is None:
                item.add_marker(pytest.mark.skip(reason="there is no ostree"))
