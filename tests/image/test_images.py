# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images of both releases, built by the distro's own package manager."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ftos.errors import BadInput, BuildError
from ftos.host.facts import HostFacts
from ftos.host.places import Places
from ftos.image.build import ImageBuilder
from ftos.image.ostree import Ostree
from ftos.image.store import BuiltImage
from ftos.plan.records import LaunchPlan
from ftos.spec.catalog import Catalog
from ftos.spec.records import Link
from tests.image.harness import Recorder, assert_nothing_dangerous, builder, image

RELEASES = ("debian/bookworm", "debian/trixie")


def content(places: Places, built: BuiltImage) -> str:
    return Ostree(places.store / "repo").content_checksum(built.commit)


def no_container(plan: LaunchPlan, *, stdout: int, stderr: int, watch: Callable[[], None]) -> int:
    raise AssertionError(f"a container was started: {plan.command}")


@pytest.mark.parametrize("osbase", RELEASES)
def test_an_image_has_its_packages_and_nothing_dangerous(shared: Places, osbase: str) -> None:
    progress = Recorder()
    name = "tiny-" + osbase.rpartition("/")[2]
    built = builder(shared, progress).ensure(
        image(
            name,
            osbase,
            packages=("nano",),
            os_components=("certificates",),
            post_clean=("/usr/share/doc",),
            links=(Link(path="/usr/bin/my-editor", target="nano"),),
        )
    )
    names = {package.name for package in built.packages}
    assert {"nano", "ca-certificates", "libc6", "apt", "usr-is-merged"} <= names
    assert "usrmerge" not in names
    assert all(package.version and package.architecture for package in built.packages)
    assert (built.tree / "usr/bin/nano").is_file()
    assert (built.tree / "usr/bin/my-editor").readlink() == Path("nano")
    assert (built.tree / "etc/ssl/certs/ca-certificates.crt").stat().st_size > 100_000
    assert "app:x:1000:1000:" in (built.tree / "etc/passwd").read_text()
    assert (built.tree / "etc/machine-id").read_bytes() == b""
    gone = ("usr/share/doc", "usr/share/man", ".ftos", "etc/resolv.conf", "etc/hostname", "var/log/dpkg.log")
    assert [path for path in gone if os.path.lexists(built.tree / path)] == []
    assert_nothing_dangerous(built.tree)
    if progress.stages:
        assert progress.stages[-1] == f"{name}: commit"
        assert any(0 < done <= total and what == "nano" for done, total, what in progress.updates)
    store = builder(shared).store
    store.ostree.check()
    assert built in store.images()


@pytest.mark.parametrize("osbase", RELEASES)
def test_an_unchanged_recipe_starts_nothing(shared: Places, osbase: str) -> None:
    wanted = image("twice", osbase, packages=("nano",))
    first = builder(shared).ensure(wanted)
    progress, catalog = Recorder(), Catalog(shared)
    facts = HostFacts(os.uname().machine, "none", "C.UTF-8", "Etc/UTC", None)
    again = ImageBuilder(shared, catalog, facts, no_container, progress, in_use=tuple).ensure(wanted)
    assert again == first
    assert progress == Recorder()


@pytest.mark.parametrize("osbase", RELEASES)
def test_a_purged_image_and_its_base_are_rebuilt_without_network_and_equal(
    shared: Places, places: Places, osbase: str
) -> None:
    wanted = image("twice", osbase, packages=("nano",))
    builder(shared).store.purge("twice")
    first = builder(shared).ensure(wanted)
    progress = Recorder()
    again = builder(places, progress, offline=True).ensure(wanted)
    assert not any("download" in stage or "indexes" in stage for stage in progress.stages)
    assert content(places, again) == content(shared, first)
    assert again.packages == first.packages
    builder(places).store.purge("twice")
    assert builder(places).find(wanted) is None
    assert content(places, builder(places, offline=True).ensure(wanted)) == content(shared, first)
    assert builder(places).find(wanted) is not None


def test_without_network_and_without_packages_the_reason_is_told(shared: Places) -> None:
    builder(shared).ensure(image("twice", packages=("nano",)))
    with pytest.raises(BuildError, match="offline: fetch of the package indexes: failed with status 100") as caught:
        builder(shared, offline=True).ensure(image("offline", packages=("less",)))
    assert "127.0.0.1" in caught.value.message
    assert Path(caught.value.hint.split("'")[1]).read_text().count("127.0.0.1") > 1


def test_without_a_mirror_the_owner_is_told_what_to_write(shared: Places) -> None:
    facts = HostFacts(os.uname().machine, "none", "C.UTF-8", "Etc/UTC", None)
    facts.__dict__["mirrors"] = {}
    maker = ImageBuilder(shared, Catalog(shared), facts, no_container, Recorder(), in_use=tuple)
    with pytest.raises(BadInput, match="no mirror is known for 'debian', which debian/trixie needs") as caught:
        maker.ensure(image("mirrorless", packages=("less",)))
    assert "host.yml" in caught.value.hint


def test_a_package_that_does_not_exist_is_told_and_changes_nothing(shared: Places) -> None:
    builder(shared).ensure(image("twice", packages=("nano",)))
    store = builder(shared).store
    before = store.images()
    with pytest.raises(BuildError, match="Unable to locate package no-such-package"):
        builder(shared).ensure(image("wrong", packages=("no-such-package",)))
    assert store.images() == before
    assert [path for path in (shared.store / "builds").iterdir() if path.is_dir()] == []


def test_an_image_without_packages_of_its_own_is_its_base(shared: Places) -> None:
    base = builder(shared).ensure(image("empty"))
    assert len(base.packages) > 40
    assert not (base.tree / "usr/bin/nano").exists()


def test_two_builds_of_one_image_at_once_build_it_once(shared: Places) -> None:
    builder(shared).ensure(image("twice", packages=("nano",)))
    builder(shared).store.purge("race")
    recorders = [Recorder(), Recorder()]
    built: list[BuiltImage] = []

    def build(recorder: Recorder) -> None:
        built.append(builder(shared, recorder).ensure(image("race", packages=("nano",))))

    threads = [threading.Thread(target=build, args=(recorder,)) for recorder in recorders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert built[0] == built[1]
    assert sorted(bool(recorder.stages) for recorder in recorders) == [False, True]
    waited = next(recorder for recorder in recorders if not recorder.stages)
    assert waited.notes in ([], ["waiting for another build of race"])


def test_the_tree_works(shared: Places) -> None:
    built = builder(shared).ensure(image("twice", packages=("nano",)))
    script = f"mount -t tmpfs t /mnt && chroot {built.tree} /usr/bin/nano --version"
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "GNU nano" in done.stdout, done.stderr
