# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the tests of faults have in common: they are for root, and some build images as those of tests/image do."""

from __future__ import annotations

from tests.image.conftest import alpine, common, world

__all__ = ["alpine", "common", "world"]
