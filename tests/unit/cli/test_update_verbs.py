# SPDX-License-Identifier: AGPL-3.0-or-later
"""image history, rollback, pin, unpin and update, as far as no package is needed: on a store with tiny images in it."""

from __future__ import annotations

import json
import os
from hashlib import sha256
from pathlib import Path

import pytest

from ftos.cli.building import builder
from ftos.cli.context import App
from ftos.cli.progress import LineProgress
from ftos.host.facts import gather
from ftos.image.holds import Holds
from ftos.image.manifest import InstalledPackage, LockedPackage, Manifest, PackageLock
from tests.unit.cli.conftest import NOTES, Run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="the store belongs to root")


def publish(nano: str, built_at: str, *others: str) -> str:
    """A build of the image `notes` with this version of nano. Returns the commit."""
    app = App(None)
    images = builder(app, gather(app.catalog.host()), LineProgress())
    digest = images.recipe(app.catalog.image("notes")).digest
    before = images.store.find("image", "notes", digest)
    versions = {"nano": nano, **dict.fromkeys(others, "1")}
    manifest = Manifest(
        kind="image",
        name="notes",
        digest=digest,
        osbase="debian/trixie",
        base="",
        parent=before.commit if before else "",
        components=(),
        packages=tuple(InstalledPackage(name=n, version=v, architecture="all") for n, v in versions.items()),
        lock=PackageLock(
            base=(),
            packages=tuple(
                LockedPackage(
                    name=n,
                    version=v,
                    architecture="all",
                    file=n,
                    size=1,
                    checksum=f"sha256:{sha256(v.encode()).hexdigest()}",
                    url="",
                )
                for n, v in versions.items()
            ),
            indexes={},
        ),
        size=1,
        built_at=built_at,
    )
    with images.store.build_directory() as work:
        (work / "files").mkdir()
        (work / "files/version").write_text(nano)
        (work / "skip").write_text("")
        return images.store.publish(manifest, [work / "files"], work / "skip", work).commit


def test_history_tells_builds_and_what_changed(ftos: Run) -> None:
    assert ftos("image", "history", "notes").stderr.startswith("notes was never built")
    first = publish("8.3", "2026-01-31T12:00:00Z", "old")
    second = publish("8.4", "2026-02-28T12:00:00Z", "new")
    assert ftos("image", "history", "notes").stdout.splitlines() == [
        f"2026-02-28T12:00:00Z  {second[:12]}  current, 2 packages",
        "    nano 8.3 → 8.4",
        "  + new 1",
        "  - old 1",
        f"2026-01-31T12:00:00Z  {first[:12]}  former, 2 packages",
    ]
    rows = json.loads(ftos("image", "history", "notes", "--json").stdout)
    assert [(row["commit"], row["state"], len(row["changes"])) for row in rows] == [
        (second, "current", 3),
        (first, "former", 0),
    ]
    assert ftos("image", "history", "unknown").exit_code == 2


def test_rollback_swaps_and_tells_what_changes(ftos: Run) -> None:
    refused = ftos("image", "rollback", "notes")
    assert (refused.exit_code, "there is no former build of notes" in refused.stderr) == (2, True)
    publish("8.3", "2026-01-31T12:00:00Z")
    publish("8.4", "2026-02-28T12:00:00Z")
    planned = ftos("image", "rollback", "notes", "--dry-run").stdout
    assert planned == "would roll notes back to the build of 2026-01-31T12:00:00Z\n    nano 8.4 → 8.3\n"
    assert ftos("image", "rollback", "notes").stdout == planned.replace("would roll", "rolled")
    assert json.loads(ftos("image", "show", "notes", "--json").stdout)["packages"][0]["version"] == "8.3"
    assert ftos("image", "rollback", "notes").stdout.endswith("nano 8.3 → 8.4\n")


def test_pin_and_unpin_are_remembered(ftos: Run, root: Path) -> None:
    holds = Holds(App(None).places)
    assert ftos("image", "pin", "notes", "--dry-run").stdout == "notes would be pinned\n"
    assert not holds.get("notes").pinned
    assert ftos("image", "pin", "notes").stdout == "notes is pinned\n"
    assert holds.get("notes").pinned
    assert ftos("image", "unpin", "notes").stdout == "notes is free to be updated\n"
    assert not holds.get("notes").pinned
    unknown = ftos("image", "pin", "notes", "note")
    assert (unknown.exit_code, "did you mean" in unknown.stderr) == (2, True)
    assert not holds.get("notes").pinned


def test_update_wants_names_or_all(ftos: Run) -> None:
    for words in ([], ["notes", "--all"]):
        refused = ftos("image", "update", *words)
        assert (refused.exit_code, "name some, or say --all" in refused.stderr) == (2, True)
    assert ftos("image", "update", "--all").exit_code == 0, "nothing is built, so nothing is fetched"


def test_what_a_newer_image_asks_for_is_none_and_listed(ftos: Run, root: Path, notes: Path) -> None:
    from ftos.cli.updates import unanswered

    app = App(None)
    assert unanswered(app, [app.catalog.image("notes")]) == {}
    wants = "  camera: {reason: puts pictures into notes}\nvolumes:"
    (root / "etc/ftos/images/notes.yml").write_text(NOTES.replace("volumes:", wants))
    assert unanswered(app, [app.catalog.image("notes")]) == {"notes": ["camera"]}
