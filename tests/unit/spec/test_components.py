# SPDX-License-Identifier: AGPL-3.0-or-later
"""What os-components mean on hosts with different facts."""

from __future__ import annotations

import pytest

from ftos.errors import BadInput, Unsupported
from ftos.host.facts import HostFacts
from ftos.spec.components import resolve, resolve_components
from ftos.spec.records import Choice, Image, Osbase, OsComponent, Source
from ftos.spec.template import HOST_FACTS

PHONE = HostFacts("aarch64", "lima", "de_DE.UTF-8", "Europe/Berlin", None).values()
OSBASE = Osbase(
    kind="osbase",
    schema=1,
    name="alpine/edge",
    title="Alpine",
    status="supported",
    engine="apk",
    sources=(Source(mirror="alpine", suite="edge", components=("main",)),),
    keys=("k",),
    os_components={
        "loader": OsComponent(title="L", packages=("loader", "shared"), commands=(("first",),)),
        "vulkan": OsComponent(
            title="V",
            packages=("shared",),
            commands=(("second", "a${host.gpu}", "$${x}"),),
            environment={"GPU": "own", "OWN": "${host.architecture}"},
            select="${host.gpu}",
            choice={
                "lima": Choice(
                    packages=("mesa-lima",),
                    depends=("loader",),
                    commands=(("third",),),
                    environment={"GPU": "${host.gpu}-${host.language}"},
                ),
                "msm": Choice(packages=("mesa-msm",)),
            },
        ),
        "locale": OsComponent(
            title="L",
            select="${host.locale}",
            choice={"C.UTF-8": Choice()},
            default=Choice(packages=("locales",), environment={"LANG": "${host.locale}", "GPU": "locale"}),
        ),
        "circle": OsComponent(title="C", packages=("c",), depends=("circle",)),
    },
)
IMAGE = Image(
    kind="image",
    schema=1,
    name="notes",
    title="N",
    version="1",
    osbase="alpine/edge",
    os_components=("vulkan",),
    command=("/bin/true",),
)


def test_the_facts_of_a_host_are_those_that_may_be_named() -> None:
    assert tuple(PHONE) == HOST_FACTS


def test_a_choice_adds_to_what_the_component_has_anyway() -> None:
    found = resolve(["vulkan"], OSBASE, PHONE)
    assert found.names == ("loader", "vulkan")
    assert found.packages == ("loader", "mesa-lima", "shared")
    assert found.commands == (("first",), ("second", "alima", "${x}"), ("third",))
    assert found.environment == {"GPU": "lima-de", "OWN": "aarch64"}
    assert found.origins == {
        "GPU": ("os-components", "vulkan", "choice", "lima", "environment", "GPU"),
        "OWN": ("os-components", "vulkan", "environment", "OWN"),
    }


def test_another_host_gets_another_choice_and_what_that_depends_on() -> None:
    found = resolve(["vulkan"], OSBASE, {**PHONE, "gpu": "msm"})
    assert (found.names, found.packages) == (("vulkan",), ("mesa-msm", "shared"))
    assert found.environment["GPU"] == "own"


def test_the_default_is_for_all_values_without_a_choice() -> None:
    found = resolve(["locale"], OSBASE, PHONE)
    assert found.packages == ("locales",)
    assert found.environment["LANG"] == "de_DE.UTF-8"
    assert found.origins["LANG"] == ("os-components", "locale", "default", "environment", "LANG")
    nothing = resolve(["locale"], OSBASE, {**PHONE, "locale": "C.UTF-8"})
    assert (nothing.packages, nothing.commands, nothing.environment) == ((), (), {})


def test_without_choice_and_default_component_fact_value_and_choices_are_named() -> None:
    with pytest.raises(Unsupported) as caught:
        resolve_components(IMAGE, OSBASE, {**PHONE, "gpu": "none"})
    assert caught.value.message == (
        "image 'notes': the os-component 'vulkan' of alpine/edge can't be had on this host: its gpu is 'none'"
    )
    assert caught.value.hint == "it is there for: lima, msm; `ftos host show` says where the fact is from"


def test_the_order_in_which_components_are_asked_for_does_not_matter() -> None:
    one, other = (resolve(names, OSBASE, PHONE) for names in (["vulkan", "locale"], ["locale", "vulkan"]))
    assert one == other
    assert one.names == ("locale", "loader", "vulkan")
    assert one.environment["GPU"] == "lima-de"


def test_an_unknown_component_is_refused_and_what_may_have_been_meant_is_named() -> None:
    with pytest.raises(BadInput, match="the osbase alpine/edge has no os-component 'vulcan'") as caught:
        resolve(["vulcan"], OSBASE, PHONE)
    assert caught.value.hint == "did you mean `vulkan`?"
    with pytest.raises(BadInput) as caught:
        resolve(["zzz"], OSBASE, PHONE)
    assert caught.value.hint == "it has: circle, loader, locale, vulkan"


def test_a_circle_that_no_check_has_seen_ends() -> None:
    assert resolve(["circle"], OSBASE, PHONE).packages == ("c",)
