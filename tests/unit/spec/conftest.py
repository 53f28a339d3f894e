# SPDX-License-Identifier: AGPL-3.0-or-later
"""The example descriptors, and short ones to which a test adds what it is about."""

from __future__ import annotations

from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "docs/examples"


@pytest.fixture(params=["osbase", "image", "host", "service", "deployment"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def example(kind: str) -> str:
    """The text of the example of this kind."""
    return (EXAMPLES / f"{kind}.yml").read_text()


@pytest.fixture
def shipped() -> list[Path]:
    """Every descriptor in the checkout."""
    checkout = EXAMPLES.parents[1]
    found = [*EXAMPLES.glob("*.yml"), *checkout.glob("osbases/*/*/osbase.yml")]
    return [*found, *(checkout / "rootfs-overlay/usr/share/ftos").rglob("*.yml")]
