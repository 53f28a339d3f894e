# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fixtures of the tests that launch real containers (tests/sandbox/harness.py)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftos.runtime.cgroups import hierarchy
from tests.sandbox.harness import Sandbox


def assert_nothing_left(sandbox: Sandbox) -> None:
    """No directory of an instance and no cgroup of the deployment."""
    instances = sandbox.places.run / "instances"
    assert not instances.exists() or list(instances.iterdir()) == [], "an instance was left behind"
    top = hierarchy()
    assert top is None or not (top / "ftos" / sandbox.id).exists(), "a cgroup was left behind"


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    made = Sandbox.below(tmp_path)
    yield made
    assert_nothing_left(made)


@pytest.fixture(scope="module")
def shared_sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    """One for all tests of a module that only look."""
    made = Sandbox.below(tmp_path_factory.mktemp("shared"))
    yield made
    assert_nothing_left(made)


@pytest.fixture(scope="session")
def probe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory with the static program `probe`."""
    directory = tmp_path_factory.mktemp("probe")
    compiler = shutil.which("gcc") or pytest.skip("no C compiler")
    source = Path(__file__).with_name("probe.c")
    flags = ["-static", "-O1", "-Wall", "-Wextra", "-Werror", "-pthread"]
    subprocess.run([compiler, *flags, "-o", directory / "probe", source], check=True)
    for parent in (directory, directory / "probe"):
        parent.chmod(0o755)
    return directory
