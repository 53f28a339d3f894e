# SPDX-License-Identifier: AGPL-3.0-or-later
"""The fixtures of tests/sandbox, for images and plans made by an attacker."""

from __future__ import annotations

from tests.sandbox.conftest import probe, sandbox, shared_sandbox

__all__ = ["probe", "sandbox", "shared_sandbox"]
