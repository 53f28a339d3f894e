# SPDX-License-Identifier: AGPL-3.0-or-later
"""Digests of recipes change with what decides the content of a tree, and with nothing else."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ftos.errors import BadInput, Unsupported
from ftos.image.recipe import Recipe, base_recipe, image_recipe
from ftos.spec.records import File, Image, Link, Osbase, OsComponent, Repository, Source

KEYS = {"archive.asc": b"key"}
OSBASE = Osbase(
    kind="osbase",
    schema=1,
    name="debian/trixie",
    title="Debian 13",
    status="supported",
    engine="apt",
    sources=(Source(mirror="debian", suite="trixie", components=("main",)),),
    keys=("archive.asc",),
    os_components={
        "fonts": OsComponent(title="Fonts", packages=("fonts-x", "fontconfig")),
        "desktop": OsComponent(title="All", packages=("xdg",), depends=("fonts", "desktop")),
    },
    post_clean=("/usr/share/man",),
)
IMAGE = Image(
    kind="image",
    schema=1,
    name="notes",
    title="Notes",
    version="1",
    osbase="debian/trixie",
    packages=("nano", "gnote"),
    command=("/usr/bin/gnote",),
)


def recipe(image: Image = IMAGE, osbase: Osbase = OSBASE, machine: str = "x86_64", key: bytes = b"key") -> Recipe:
    return image_recipe(image, osbase, base_recipe(osbase, machine, {"archive.asc": key}), {})


def test_components_become_packages_with_those_they_depend_on() -> None:
    assert recipe(replace(IMAGE, os_components=("desktop",))).packages == (
        "fontconfig",
        "fonts-x",
        "gnote",
        "nano",
        "xdg",
    )


def test_an_unknown_component_is_refused_and_the_known_ones_named() -> None:
    with pytest.raises(BadInput, match=r"'notes'.*no os-component 'font'") as caught:
        recipe(replace(IMAGE, os_components=("font",)))
    assert caught.value.hint == "it has: desktop, fonts"


def test_a_retired_osbase_is_refused_and_its_successor_named() -> None:
    with pytest.raises(Unsupported, match="debian/trixie is retired") as caught:
        recipe(osbase=replace(OSBASE, status="retired", successor="debian/forky"))
    assert caught.value.hint == "use debian/forky"


def test_order_and_repetition_do_not_change_the_digest() -> None:
    assert recipe(replace(IMAGE, packages=("gnote", "nano", "gnote"))).digest == recipe().digest


def test_what_is_rendered_for_each_deployment_does_not_change_the_digest() -> None:
    other = replace(IMAGE, files=(File(path="/etc/x", content="y"),), command=("/bin/sh",), title="N", version="2")
    assert recipe(other).digest == recipe().digest


@pytest.mark.parametrize(
    "other",
    [
        recipe(replace(IMAGE, packages=("nano",))),
        recipe(replace(IMAGE, os_components=("fonts",))),
        recipe(replace(IMAGE, post_clean=("/usr/share/doc",))),
        recipe(replace(IMAGE, links=(Link(path="/usr/bin/editor", target="nano"),))),
        recipe(replace(IMAGE, repositories=(Repository(url="http://x.invalid/", suite="s", key="k.asc"),))),
        recipe(osbase=replace(OSBASE, base_packages=("usr-is-merged",))),
        recipe(osbase=replace(OSBASE, sources=(Source(mirror="debian", suite="forky", components=("main",)),))),
        recipe(osbase=replace(OSBASE, post_clean=())),
        recipe(machine="aarch64"),
        recipe(key=b"another key"),
    ],
)
def test_what_decides_the_content_changes_the_digest(other: Recipe) -> None:
    assert other.digest != recipe().digest


def test_a_digest_is_the_same_on_every_machine_and_day() -> None:
    assert recipe().digest == "8e291d704ac1d352dc1942473dcec56bf49be02f7c10f9f751465c60bcaefb24"
