# SPDX-License-Identifier: AGPL-3.0-or-later
"""Fixtures of the tests that build real images (tests/image/harness.py).

They share one root, with its package cache, over all runs: FTOS_TEST_CACHE, or .state/test-cache in the checkout.
"""

from __future__ import annotations

import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftos.host.facts import gather
from ftos.host.places import Places
from ftos.spec.catalog import Catalog
from tests.image import alpine as of_alpine
from tests.image.harness import LocalRepository, fresh


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def shared(checkout: Path) -> Places:
    """The root that all tests share. What is in its cache needs no network."""
    places = Places(Path(os.environ.get("FTOS_TEST_CACHE") or checkout / ".state/test-cache").absolute())
    mirror = gather(Catalog(places).host()).mirrors.get("debian")
    if not list(places.cache.glob("locks/*.json")):
        if mirror is None:
            pytest.skip("neither the host's apt configuration nor host.yml names a mirror, and no package is cached")
        try:
            urllib.request.urlopen(f"{mirror}/dists/trixie/InRelease", timeout=20).close()
        except (urllib.error.URLError, TimeoutError) as error:
            pytest.skip(f"the mirror is out of reach ({error}), and no package is cached")
    return places


@pytest.fixture
def places(shared: Places, tmp_path: Path) -> Places:
    """An empty store, with the shared package cache."""
    return fresh(tmp_path / "root", shared)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalRepository]:
    """A signed repository in a directory, for packages that misbehave."""
    if shutil.which("gpg") is None:
        pytest.skip("there is no gpg to sign a repository")
    made = LocalRepository(tmp_path_factory.mktemp("repository"))
    yield made
    made.close()


@pytest.fixture(scope="session")
def alpine(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> of_alpine.Alpine:
    """Real packages of Alpine in a signed repository."""
    source = of_alpine.archive(checkout, "x86_64")
    if source is None:
        pytest.skip("there are no release archives of Alpine: set FTOS_TEST_ALPINE to their directory")
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl to sign a repository")
    return of_alpine.Alpine.below(tmp_path_factory.mktemp("alpine"), source)


@pytest.fixture
def world(alpine: of_alpine.Alpine, tmp_path: Path) -> of_alpine.World:
    """A repository, an osbase and places of the test's own."""
    return alpine.at(tmp_path)


@pytest.fixture(scope="module")
def common(alpine: of_alpine.Alpine, tmp_path_factory: pytest.TempPathFactory) -> of_alpine.World:
    """The same for tests that only add to it: the base tree is made once."""
    return alpine.at(tmp_path_factory.mktemp("world"))
