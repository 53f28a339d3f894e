# SPDX-License-Identifier: AGPL-3.0-or-later
"""The fixtures of tests/sandbox, for images and plans made by an attacker."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.sandbox.conftest import probe, sandbox, shared_sandbox

__all__ = ["probe", "sandbox", "shared_sandbox"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.sandbox)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="containers are launched by root"))
