# SPDX-License-Identifier: AGPL-3.0-or-later
"""Updates from a repository of the test's own: what would change, the change, the way back."""

from __future__ import annotations

import pytest

from ftos.errors import BuildError, NotFound
from ftos.host.places import Places
from ftos.image.build import ImageBuilder
from ftos.image.holds import Hold
from ftos.image.recipe import Recipe
from ftos.image.update import PackageChange, Update, Updater, former, rollback
from ftos.spec.records import Image, Repository
from tests.image.harness import LocalRepository, Recorder, builder, describe, image


class Place:
    """A repository with a package `tool`, and an image that has it."""

    def __init__(self, shared: Places, repository: LocalRepository, name: str) -> None:
        self.shared, self.repository, self.name = shared, repository, name
        self.offer("1", "Sat, 01 Aug 2026 00:00:00 UTC")
        keys = shared.etc / "images"
        keys.mkdir(parents=True, exist_ok=True)
        (keys / "updates.asc").write_bytes(repository.key)
        self.image = describe(shared, self.wanted())
        for known in self.builder().cache.indexes(self.recipe.base.digest).glob("*_ftos_local_*"):
            known.unlink()
        self.builder().store.purge(name)
        self.builder().holds.put(name, Hold())
        (shared.cache / f"locks/{self.recipe.digest}.json").unlink(missing_ok=True)

    def wanted(self) -> Image:
        source = Repository(
            url=f"file://{self.repository.directory}", suite="local", components=("main",), key="updates.asc"
        )
        return image(self.name, packages=("tool",), repositories=(source,))

    def builder(self, progress: Recorder | None = None) -> ImageBuilder:
        return builder(self.shared, progress)

    @property
    def recipe(self) -> Recipe:
        return self.builder().recipe(self.image)

    def offer(self, version: str, date: str) -> None:
        for old in (self.repository.directory / "pool").glob("tool_*"):
            old.unlink()
        self.repository.add("tool", f"echo {version} > /opt/version", version)
        self.repository.publish(date)

    def version(self) -> str:
        built = self.builder().find(self.image)
        assert built is not None
        return (built.tree / "opt/version").read_text().strip()

    def look(self) -> Update:
        with Updater(self.builder()) as updater:
            return updater.look(self.image)

    def update(self) -> Update:
        with Updater(self.builder()) as updater:
            update = updater.look(self.image)
            if update.state == "changed":
                updater.make(update)
            return update


@pytest.fixture
def place(shared: Places, repository: LocalRepository) -> Place:
    return Place(shared, repository, "updated")


def test_an_image_is_updated_rolled_back_held_and_updated_again(place: Place) -> None:
    first = place.builder().ensure(place.image)
    assert (place.version(), place.look().state, place.look().changes) == ("1", "current", ())
    with pytest.raises(NotFound, match="there is no former build of updated"):
        rollback(place.builder(), place.image)

    place.offer("2", "Sun, 02 Aug 2026 00:00:00 UTC")
    seen = place.look()
    assert (seen.state, seen.changes) == ("changed", (PackageChange("tool", "1", "2"),))
    assert (place.version(), place.builder().find(place.image)) == ("1", first)

    assert place.update().changes == seen.changes
    second = place.builder().find(place.image)
    assert second is not None
    assert (place.version(), second.manifest.parent) == ("2", first.commit)
    assert second.manifest.lock.digest == seen.lock.digest
    assert place.update().state == "current"
    assert first.tree.is_dir(), "what runs on it keeps it, and there is a way back"
    assert [commit for commit, _ in place.builder().store.history("updated")] == [second.commit, first.commit]

    assert former(place.builder(), place.image) == rollback(place.builder(), place.image) == (second, first)
    assert place.version() == "1"
    assert place.update().state == "rolled back"
    assert place.version() == "1"
    place.builder().purge("updated")
    place.builder().ensure(place.image)
    assert place.version() == "1", "a purge does not bring back what was rolled back"

    place.offer("3", "Mon, 03 Aug 2026 00:00:00 UTC")
    place.builder().holds.put("updated", Hold(pinned=True))
    pinned = place.update()
    assert (pinned.state, pinned.changes) == ("pinned", (PackageChange("tool", "1", "3"),))
    assert place.version() == "1"
    place.builder().holds.put("updated", Hold())
    assert place.update().state == "changed"
    assert place.version() == "3"
    place.builder().store.ostree.check()


def test_a_replayed_index_brings_nothing_old_back(place: Place) -> None:
    place.builder().ensure(place.image)
    place.offer("2", "Sun, 02 Aug 2026 00:00:00 UTC")
    place.update()
    place.offer("1", "Sat, 01 Aug 2026 00:00:00 UTC")
    assert place.update().state == "current"
    assert place.version() == "2"


def test_an_update_that_fails_leaves_the_image_and_its_packages_as_they_were(place: Place) -> None:
    first = place.builder().ensure(place.image)
    place.repository.add("tool", "exit 3", "2")
    place.repository.publish("Sun, 02 Aug 2026 00:00:00 UTC")
    with pytest.raises(BuildError, match="installation of the packages"):
        place.update()
    assert place.builder().find(place.image) == first
    assert place.builder().cache.lock(first.digest) == first.manifest.lock
    (place.repository.directory / "pool/tool_2_all.deb").unlink()


def test_an_image_that_is_not_built_takes_the_newest_at_its_next_build(place: Place) -> None:
    place.builder().ensure(place.image)
    place.builder().purge("updated")
    place.offer("2", "Sun, 02 Aug 2026 00:00:00 UTC")
    with Updater(place.builder()) as updater:
        update = updater.look(place.image)
        assert update.state == "not built"
        updater.remember(update)
    place.builder().ensure(place.image)
    assert place.version() == "2"


def test_packages_that_are_gone_are_replaced_by_newer_ones_unless_the_image_is_pinned(place: Place) -> None:
    built = place.builder().ensure(place.image)
    place.builder().purge("updated")
    place.offer("2", "Sun, 02 Aug 2026 00:00:00 UTC")
    for package in built.manifest.lock.packages:
        (place.shared.cache / "packages" / package.checksum.replace(":", "-")).unlink()
    place.builder().holds.put("updated", Hold(pinned=True))
    with pytest.raises(BuildError, match="updated is pinned, and packages of it can't be had any more") as caught:
        place.builder().ensure(place.image)
    assert "ftos image unpin updated" in caught.value.hint
    place.builder().holds.put("updated", Hold())
    progress = Recorder()
    place.builder(progress).ensure(place.image)
    assert progress.notes == ["the packages of the last build of updated are gone; newer ones are taken"]
    assert place.version() == "2"


@pytest.mark.parametrize(
    ("words", "what"),
    [("Origin: Ubuntu\nCodename: noble", "Ubuntu noble"), ("Origin: Test\nCodename: bookworm", "Debian bookworm")],
)
def test_a_repository_of_another_distro_or_release_is_refused(place: Place, words: str, what: str) -> None:
    place.repository.publish("Tue, 04 Aug 2026 00:00:00 UTC", words)
    with pytest.raises(BuildError, match=f"belongs to {what}, not to debian/trixie"):
        place.builder().ensure(place.image)
    assert place.builder().find(place.image) is None
