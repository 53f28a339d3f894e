# SPDX-License-Identifier: AGPL-3.0-or-later
"""image build, list, show and purge, on a real store with a tiny image in it. Real builds are tests of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ftos.cli.building import builder
from ftos.cli.context import App
from ftos.cli.progress import LineProgress
from ftos.host.facts import gather
from ftos.image.manifest import InstalledPackage, Manifest, PackageLock
from tests.unit.cli.conftest import NOTES, Run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the store belongs to root")


@pytest.fixture
def built(root: Path) -> str:
    """The image `notes` in the store, by its present recipe. Returns the commit."""
    app = App(None)
    images = builder(app, gather(app.catalog.host()), LineProgress())
    manifest = Manifest(
        kind="image",
        name="notes",
        osbase="debian/trixie",
        components=(),
        lock=PackageLock(base=(), indexes={}),
        digest=images.recipe(app.catalog.image("notes")).digest,
        base="",
        packages=(InstalledPackage(name="nano", version="8.4-1", architecture="amd64"),),
        size=1468006,
        built_at="2026-01-31T12:00:00Z",
    )
    with images.store.build_directory() as work:
        (work / "files").mkdir()
        (work / "files/hello").write_text("hello\n")
        (work / "skip").write_text("")
        return images.store.publish(manifest, [str(work / "files")], work / "skip", [], work).commit


def test_list_shows_built_and_not_built_images_and_their_users(ftos: Run, built: str, root: Path) -> None:
    (root / "etc/ftos/images/other.yml").write_text(NOTES.replace("name: notes\ntitle", "name: other\ntitle"))
    ftos("deploy", "notes", "--yes")
    rows = {row["name"]: row for row in json.loads(ftos("image", "list", "--json").stdout)}
    assert rows["notes"] == {
        "name": "notes",
        "title": "Notes",
        "osbase": "debian/trixie",
        "state": "built",
        "packages": 1,
        "size": 1468006,
        "built-at": "2026-01-31T12:00:00Z",
        "used-by": ["notes"],
    }
    assert (rows["other"]["state"], rows["other"]["packages"], rows["other"]["used-by"]) == (None, None, [])
    line = next(line for line in ftos("image", "list").stdout.splitlines() if line.startswith("notes"))
    assert line.split() == ["notes", "debian/trixie", "built", "1", "1.4M", "2026-01-31T12:00:00Z", "notes"]


def test_changed_recipe_makes_a_build_outdated_and_needed_again(ftos: Run, built: str, root: Path) -> None:
    assert ftos("image", "build", "--dry-run", "notes").stdout == "notes is built already\n"
    image = root / "etc/ftos/images/notes.yml"
    image.write_text(NOTES.replace("[nano]", "[nano, less]"))
    assert " outdated " in ftos("image", "list").stdout
    assert ftos("image", "build", "--dry-run", "notes").stdout == "would build notes\n"
    event = json.loads(ftos("image", "build", "--dry-run", "--json", "notes").stdout)
    assert event == {"image": "notes", "needed": True, "commit": None}


def test_build_of_what_is_built_does_nothing(ftos: Run, built: str) -> None:
    assert ftos("image", "build", "notes").stdout == "notes is built already\n"
    assert json.loads(ftos("image", "build", "--json", "notes").stdout)["commit"] == built


def test_image_whose_descriptor_is_gone_is_listed_and_can_be_purged(ftos: Run, built: str, root: Path) -> None:
    (root / "etc/ftos/images/notes.yml").unlink()
    rows = {row["name"]: row for row in json.loads(ftos("image", "list", "--json").stdout)}
    assert (rows["notes"]["osbase"], rows["notes"]["state"]) == (None, "outdated")
    assert ftos("image", "purge", "notes").stdout == "purged notes: 1.4M\n"


def test_show_names_packages_with_versions(ftos: Run, built: str) -> None:
    text = ftos("image", "show", "notes").stdout
    assert "nano     8.4-1    amd64" in text
    assert "size                1.4M" in text
    shown = json.loads(ftos("image", "show", "notes", "--json").stdout)
    assert shown["commit"] == built
    assert shown["packages"] == [{"name": "nano", "version": "8.4-1", "architecture": "amd64"}]


def test_show_of_what_is_not_built_says_how_to_build_it(ftos: Run) -> None:
    result = ftos("image", "show", "notes")
    assert "notes is not built; build it with `ftos image build notes`" in result.stderr
    assert "requested-packages  nano" in result.stdout


def test_purge_removes_the_build_once_and_dry_run_does_not(ftos: Run, built: str, root: Path) -> None:
    tree = root / "var/lib/ftos/store/trees" / built
    assert ftos("image", "purge", "--dry-run", "notes").stdout == "would purge notes: 1.4M\n"
    assert tree.is_dir()
    assert ftos("image", "purge", "notes").stdout == "purged notes: 1.4M\n"
    assert not tree.exists()
    assert ftos("image", "purge", "notes").stdout == "notes is not built\n"


def test_one_unknown_name_stops_a_purge_before_it_begins(ftos: Run, built: str, root: Path) -> None:
    result = ftos("image", "purge", "notes", "nodes")
    assert "ftos: there is no image 'nodes'\n  did you mean `notes`?" in result.stderr
    assert (root / "var/lib/ftos/store/trees" / built).is_dir()


@pytest.mark.parametrize("verb", ["build", "show"])
def test_unknown_image_is_refused(ftos: Run, verb: str) -> None:
    result = ftos("image", verb, "nodes")
    assert (result.exit_code, result.stderr) == (2, "ftos: there is no image 'nodes'\n  did you mean `notes`?\n")
