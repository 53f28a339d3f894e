# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image export`, on a real store with a tiny image in it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ftos.cli.building import store
from ftos.cli.context import App
from tests.image.remotes import Key
from tests.unit.cli.conftest import Run
from tests.unit.image.test_store import DIGEST, publish

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="the store belongs to root"),
    pytest.mark.skipif(shutil.which("gpg") is None, reason="gpg is missing"),
]


@pytest.fixture
def key(tmp_path: Path) -> Iterator[Key]:
    made = Key(tmp_path / "key")
    yield made
    made.close()


def test_an_export_says_what_is_new_and_a_dry_run_writes_nothing(
    ftos: Run, root: Path, tmp_path: Path, key: Key
) -> None:
    built = publish(store(App(None)), "notes", "1")
    target = tmp_path / "served"
    command = ("image", "export", str(target), "--sign-key", key.id, "--gpg-homedir", str(key.home), "--json")
    expected = {"name": "notes", "digest": DIGEST, "commit": built.commit, "new": True}
    dry = json.loads(ftos(*command, "--dry-run").stdout)
    assert [{name: row[name] for name in expected} for row in dry] == [expected]
    assert not target.exists()
    assert json.loads(ftos(*command).stdout) == dry
    assert (target / "summary.sig").is_file()
    again = ftos("image", "export", str(target), "notes", "--sign-key", key.id, "--gpg-homedir", str(key.home))
    assert again.stdout.splitlines()[1].split()[0::4] == ["notes", "no"]


def test_an_image_that_is_not_built_is_told(ftos: Run, root: Path, tmp_path: Path) -> None:
    done = ftos("image", "export", str(tmp_path / "served"), "notes", "--sign-key", "x")
    assert done.exit_code == 2
    assert "'notes' is not built" in done.stderr
