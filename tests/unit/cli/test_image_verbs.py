# SPDX-License-Identifier: AGPL-3.0-or-later
"""The verbs about images, on a real store with a tiny image in it. Real builds are tests of their own."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ftos.cli.building import builder, store
from ftos.cli.context import App
from ftos.cli.output import human_size
from ftos.cli.progress import LineProgress
from ftos.host.facts import gather
from ftos.image.holds import Hold, Holds
from ftos.image.manifest import InstalledPackage, Manifest, PackageLock
from ftos.image.usage import usage
from tests.unit.cli.conftest import NOTES, Run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the store belongs to root")


@pytest.fixture
def built(root: Path) -> str:
    """The image `notes` in the store, by its present recipe. Returns the commit."""
    return publish()


def publish(version: str = "8.4-1", digest: str = "", built_at: str = "2026-01-31T12:00:00Z") -> str:
    app = App(None)
    images = builder(app, gather(app.catalog.host()), LineProgress())
    manifest = Manifest(
        kind="image",
        name="notes",
        osbase="debian/trixie",
        components=("fonts",),
        lock=PackageLock(base=(), indexes={}),
        digest=digest or images.recipe(app.catalog.image("notes")).digest,
        base="",
        packages=(InstalledPackage(name="nano", version=version, architecture="amd64"),),
        size=1468006,
        built_at=built_at,
    )
    with images.store.build_directory() as work:
        (work / "files").mkdir()
        (work / "files/hello").write_text("hello\n")
        (work / "skip").write_text("")
        return images.store.publish(manifest, [work / "files"], work / "skip", work).commit


def rows(ftos: Run) -> dict[str, dict[str, object]]:
    return {row["name"]: row for row in json.loads(ftos("image", "list", "--json").stdout)}


def test_list_shows_built_and_not_built_images_and_their_users(ftos: Run, built: str, root: Path) -> None:
    (root / "etc/ftos/images/other.yml").write_text(NOTES.replace("name: notes\ntitle", "name: other\ntitle"))
    ftos("deploy", "notes", "--yes")
    found = rows(ftos)
    taken = found["notes"].pop("size")
    assert isinstance(taken, int)
    assert 4096 <= taken <= 16384  # a file and a directory
    assert found["notes"].pop("unique") == taken
    assert found["notes"] == {
        "name": "notes",
        "title": "Notes",
        "osbase": "debian/trixie",
        "os-components": ["fonts"],
        "state": "built",
        "pinned": False,
        "packages": 1,
        "built-at": "2026-01-31T12:00:00Z",
        "last-used": None,
        "used-by": ["notes"],
    }
    assert (found["other"]["state"], found["other"]["packages"], found["other"]["used-by"]) == (None, None, [])
    line = next(line for line in ftos("image", "list").stdout.splitlines() if line.startswith("notes"))
    words = line.split()
    assert words[:5] == ["notes", "debian/trixie", "fonts", "built", "1"]
    assert words[5] == words[6] == human_size(taken)
    assert words[8:] == ["ago", "-", "notes"]


def test_list_shows_last_use_pin_and_damage(ftos: Run, built: str, root: Path) -> None:
    holds = Holds(App(None).places)
    holds.mark_used("notes")
    os.utime(root / "var/lib/ftos/state/used/notes", (1_790_000_000, 1_790_000_000))
    holds.put("notes", Hold(pinned=True))
    assert rows(ftos)["notes"]["last-used"] == "2026-09-21T14:13:20Z"
    assert rows(ftos)["notes"]["pinned"] is True
    assert " built, pinned " in ftos("image", "list").stdout
    (root / f"var/lib/ftos/store/manifests/{built}.json").write_text("{")
    assert rows(ftos)["notes"]["state"] == "damaged"


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
    assert (rows(ftos)["notes"]["osbase"], rows(ftos)["notes"]["state"]) == ("debian/trixie", "outdated")
    assert ftos("image", "purge", "notes").stdout.startswith("purged notes: ")
    assert rows(ftos) == {}


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
    size = human_size(usage(store(App(None)), [built]).unique)
    assert ftos("image", "purge", "--dry-run", "notes").stdout == f"would purge notes: {size}\n"
    assert tree.is_dir()
    assert ftos("image", "purge", "notes").stdout == f"purged notes: {size}\n"
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


def test_purge_of_what_was_not_used_for_a_time(ftos: Run, built: str, root: Path) -> None:
    Holds(App(None).places).mark_used("notes")
    assert ftos("image", "purge", "--unused-for", "30d").stdout == ""
    os.utime(root / "var/lib/ftos/state/used/notes", (1_770_000_000, 1_770_000_000))
    assert ftos("image", "purge", "--unused-for", "30d", "--dry-run").stdout.startswith("would purge notes: ")
    Holds(App(None).places).put("notes", Hold(pinned=True))
    assert ftos("image", "purge", "--unused-for", "30d").stdout == ""
    Holds(App(None).places).put("notes", Hold())
    assert ftos("image", "purge", "--unused-for", "30d").stdout.startswith("purged notes: ")
    assert rows(ftos)["notes"]["state"] is None


@pytest.mark.parametrize("words", [(), ("--unused-for", "30"), ("--unused-for", "0d"), ("--unused-for", "a month")])
def test_purge_wants_names_or_a_time(ftos: Run, words: tuple[str, ...]) -> None:
    assert ftos("image", "purge", *words).exit_code == 2


def test_gc_removes_stale_builds_and_says_what_it_frees(ftos: Run, built: str, root: Path) -> None:
    assert ftos("image", "gc").stdout == "freed 0\n"
    (root / "etc/ftos/images/notes.yml").write_text(NOTES.replace("[nano]", "[nano, less]"))
    assert ftos("image", "gc").stdout == "freed 0\n"  # there is nothing newer to launch
    (root / "etc/ftos/images/notes.yml").unlink()
    size = usage(store(App(None)), [built]).unique
    would = ftos("image", "gc", "--dry-run").stdout
    assert would.startswith("would remove image/notes/")
    assert would.endswith(f"\nwould free {human_size(size)}\n")
    assert (root / "var/lib/ftos/store/trees" / built).is_dir()
    event = json.loads(ftos("image", "gc", "--json").stdout)
    assert (event["purged"], len(event["refs"]), event["freed"], event["notes"]) == ([], 1, size, [])
    assert not (root / "var/lib/ftos/store/trees" / built).exists()


def test_gc_by_host_yml_and_what_it_keeps(ftos: Run, built: str, root: Path) -> None:
    (root / "etc/ftos/host.yml").write_text("kind: host\nschema: 1\nimages: {purge-after: 1d}\n")
    (root / "etc/ftos/images/broken.yml").write_text("kind: image\n")
    assert ftos("image", "gc", "--auto", "--dry-run").stdout.startswith("would purge notes\n")
    result = ftos("image", "gc", "--auto")
    assert result.stdout.startswith("purged notes\nfreed ")
    assert "builds of broken, and all packages, are kept: " in result.stderr


def test_df_shows_what_sharing_saves(ftos: Run, built: str) -> None:
    facts = json.loads(ftos("image", "df", "--json").stdout)
    size = usage(store(App(None)), [built]).size
    assert facts.pop("images") == [{"name": "notes", "size": size, "unique": size}]
    assert facts.pop("store") > size
    assert facts.pop("free") > 0
    assert facts == {"separate": size, "saved": 0, "saved-percent": 0.0, "packages": 0, "indexes": 0}
    assert "saves 0 (0.0%)" in ftos("image", "df").stdout


def test_df_of_nothing_divides_by_nothing(ftos: Run) -> None:
    assert json.loads(ftos("image", "df", "--json").stdout)["images"] == []
    assert "no image is built" in ftos("image", "df").stderr


def test_fsck_and_repair_name_what_is_damaged_and_make_it_whole(ftos: Run, built: str, root: Path) -> None:
    sound = ftos("image", "fsck")
    assert (sound.exit_code, sound.stdout, sound.stderr) == (0, "", "nothing is damaged\n")
    tree = root / "var/lib/ftos/store/trees" / built
    (tree / "\x1b[2Jadded").touch()
    (root / f"var/lib/ftos/store/manifests/{built}.json").write_text("{")
    damaged = ftos("image", "fsck")
    assert damaged.exit_code == 1
    digest = next((root / "var/lib/ftos/store/repo/refs/heads/image/notes").iterdir()).name
    assert damaged.stdout == (
        f"tree of image/notes/{digest}: '/\\x1b[2Jadded' does not belong there\n"
        f"manifest of image/notes/{digest} can't be read\n"
    )
    assert "`ftos image repair`" in damaged.stderr
    event = ftos("image", "fsck", "--json")
    assert event.exit_code == 1
    assert json.loads(event.stdout)["trees"] == {built: ["'/\\x1b[2Jadded' does not belong there"]}
    assert ftos("image", "repair", "--dry-run").stdout == damaged.stdout
    assert ftos("image", "fsck").exit_code == 1
    repaired = ftos("image", "repair")
    assert (repaired.exit_code, repaired.stdout) == (0, damaged.stdout)
    assert repaired.stderr.endswith("all is whole again\n")
    assert ftos("image", "fsck").exit_code == 0
    assert ftos("image", "repair").stderr.endswith("nothing is damaged\n")


def test_what_is_described_is_the_build_that_a_launch_takes(ftos: Run, built: str, root: Path) -> None:
    """By the present recipe, which may be older than another: a fact of the host was another one for a while."""
    publish("9.0", "e" * 64, "2026-02-01T12:00:00Z")

    def versions() -> set[str]:
        shown = json.loads(ftos("image", "show", "notes", "--json").stdout)["packages"][0]["version"]
        bom = json.loads(ftos("image", "sbom", "notes").stdout)["components"][0]["version"]
        return {shown, bom}

    assert versions() == {"8.4-1"}
    assert rows(ftos)["notes"]["built-at"] == "2026-01-31T12:00:00Z"
    Holds(App(None).places).put("notes", Hold(pinned=True, recipe="e" * 64))
    assert versions() == {"9.0"}
    Holds(App(None).places).put("notes", Hold())
    (root / "etc/ftos/images/notes.yml").write_text(NOTES.replace("[nano]", "[nano, less]"))
    assert versions() == {"9.0"}  # none is by the present recipe


def test_sbom_of_what_is_built_and_of_what_is_not(ftos: Run, built: str) -> None:
    bom = json.loads(ftos("image", "sbom", "notes").stdout)
    assert bom["specVersion"] == "1.6"
    assert [component["purl"] for component in bom["components"]] == [
        "pkg:deb/debian/nano@8.4-1?arch=amd64&distro=trixie"
    ]
    assert ftos("image", "sbom", "--format", "json", "notes").stdout == ftos("image", "sbom", "notes").stdout
    ftos("image", "purge", "notes")
    result = ftos("image", "sbom", "notes")
    assert (result.exit_code, result.stderr) == (
        2,
        "ftos: notes is not built\n  build it with `ftos image build notes`\n",
    )
    assert ftos("image", "sbom", "nodes").stderr == "ftos: there is no image 'nodes'\n  did you mean `notes`?\n"
