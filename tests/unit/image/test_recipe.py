# SPDX-License-Identifier: AGPL-3.0-or-later
"""Digests of recipes change with what decides the content of a tree, and with nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from msgspec.structs import replace

from ftos.errors import BadInput, Unsupported
from ftos.host.facts import HostFacts
from ftos.image.recipe import Recipe, base_recipe, image_recipe
from ftos.spec.records import Choice, File, Image, Link, Osbase, OsComponent, Repository, Source

PHONE = HostFacts("aarch64", "lima", "de_DE.UTF-8", "Europe/Berlin", None)
_LIMA, _MSM = Choice(packages=("mesa-lima",)), Choice(packages=("mesa-msm",))
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
        "gles2": OsComponent(title="GL", packages=("gl",), select="${host.gpu}", choice={"lima": _LIMA, "msm": _MSM}),
        "locale": OsComponent(
            title="Locale", commands=(("generate", "${host.locale}"),), environment={"LANG": "${host.locale}"}
        ),
        "timezone": OsComponent(title="Zone", packages=("tzdata",), environment={"TZ": "${host.timezone}"}),
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


def recipe(
    image: Image = IMAGE,
    osbase: Osbase = OSBASE,
    machine: str = "x86_64",
    key: bytes = b"key",
    host: HostFacts = PHONE,
) -> Recipe:
    return image_recipe(image, osbase, base_recipe(osbase, machine, {"archive.asc": key}), {}, host.values())


def with_components(*names: str, host: HostFacts = PHONE) -> Recipe:
    return recipe(replace(IMAGE, os_components=names), host=host)


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
    assert caught.value.hint == "did you mean `fonts`?"


def test_components_are_those_of_this_host() -> None:
    made = with_components("gles2", "locale")
    assert made.packages == ("gl", "gnote", "mesa-lima", "nano")
    assert made.commands == (("generate", "de_DE.UTF-8"),)


def test_a_component_that_this_host_can_not_have_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"image 'notes': the os-component 'gles2' .* its gpu is 'none'"):
        with_components("gles2", host=dataclasses.replace(PHONE, gpu="none"))


@pytest.mark.parametrize(
    ("other", "stale"),
    [
        (dataclasses.replace(PHONE, gpu="msm"), {"gles2", "gles2+locale"}),
        (dataclasses.replace(PHONE, locale="fr_FR.UTF-8"), {"locale", "gles2+locale"}),
        # Of the time zone only the environment depends, and that is made at each launch.
        (dataclasses.replace(PHONE, timezone="Europe/Paris"), set()),
    ],
)
def test_a_changed_fact_outdates_exactly_the_images_that_depend_on_it(other: HostFacts, stale: set[str]) -> None:
    images = ("fonts", "desktop", "gles2", "locale", "timezone", "gles2+locale")
    assert stale == {
        image
        for image in images
        if with_components(*image.split("+")).digest != with_components(*image.split("+"), host=other).digest
    }


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
    assert recipe().digest == "2dd53196960f0b9a6f32271ceb69c4ada1a8201102d9d99c65b40ac940404518"
