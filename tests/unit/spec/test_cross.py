# SPDX-License-Identifier: AGPL-3.0-or-later
"""What descriptors must be to each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftos.host.facts import HostFacts
from ftos.spec.cross import check_deployment, check_image
from ftos.spec.load import load_text
from ftos.spec.problems import Finding, key_text
from ftos.spec.records import Deployment, Image, Osbase, Service

HERE = Path("x.yml")
IMAGE = """\
kind: image
schema: 1
name: notes
title: Notes
version: "1"
osbase: debian/trixie
os-components: [fonts, gles]
command: [notes]
settings:
  theme: {default: dark, choices: [dark, light]}
  size: {default: 12}
  zoom: {default: 1.5}
  loud: {default: false}
os-services:
  display: {required: true, reason: shows its window}
  documents: {interface: user-dir, reason: imports files}
  web: {interface: network, reason: looks things up}
volumes:
  - {name: notes, class: data, path: /notes}
"""
FACTS = HostFacts("aarch64", "lima", "C.UTF-8", "Etc/UTC", None).values()
OSBASE = """\
kind: osbase
schema: 1
name: debian/trixie
title: Debian 13
status: %s
engine: apt
sources: [{mirror: debian, suite: trixie, components: [main]}]
keys: [k]
os-components: {fonts: {title: F}, gles2: {title: G}}
"""
INSTANCES = {"wayland": "display", "album": "user-dir", "internet": "network"}


def record(text: str) -> Image:
    image = load_text(text, HERE, "image")
    assert isinstance(image, Image)
    return image


def shown(findings: list[Finding]) -> list[str]:
    lines = [f"{key_text(f.key)}: {f.message}" + (f" ({f.hint})" if f.hint else "") for f in findings]
    return [("warning: " if finding.warning else "") + line for finding, line in zip(findings, lines, strict=True)]


def checked(text: str, display: bool = True, image: str = IMAGE) -> list[str]:
    bound = "os-services:\n  display: {instance: wayland}\n" if display else ""
    deployment = load_text(
        f"kind: deployment\nschema: 1\nname: a\nid: d-00000000\nimage: notes\n{bound}{text}", HERE, "deployment"
    )
    assert isinstance(deployment, Deployment)
    services = {
        name: Service(kind="service", schema=1, name=name, interface=interface, provider="p")
        for name, interface in INSTANCES.items()
    }
    return shown(check_deployment(deployment, record(image), services))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("settings: {them: a}", "settings.them: the image has no setting 'them' (did you mean `theme`?)"),
        ("settings: {x: a}", "settings.x: the image has no setting 'x' (known: theme, size, zoom, loud)"),
        ("settings: {theme: blue}", "settings.theme: 'blue' is not a choice of the setting (one of: 'dark', 'light')"),
        ("settings: {theme: lihgt}", "settings.theme: 'lihgt' is not a choice of the setting (did you mean `light`?)"),
        ("settings: {theme: 1}", "settings.theme: '1' is of another type than the setting (the default is 'dark')"),
        ("settings: {size: '1'}", "settings.size: '1' is of another type than the setting (the default is '12')"),
        ("settings: {size: true}", "settings.size: 'True' is of another type than the setting (the default is '12')"),
        ("settings: {loud: 1}", "settings.loud: '1' is of another type than the setting (the default is 'False')"),
        ("  docs: {instance: none}", "os-services.docs: the image does not ask for an os-service 'docs'"),
        (
            "  documents: {instance: albun}",
            "os-services.documents.instance: there is no service instance 'albun' (did you mean `album`?)",
        ),
        (
            "  documents: {instance: zzz}",
            "os-services.documents.instance: there is no service instance 'zzz' (known: none, empty, album)",
        ),
        (
            "  documents: {instance: internet}",
            "os-services.documents.instance: 'internet' is of interface network, the image asks for user-dir",
        ),
        (
            "  documents: {instance: album, default: deny}",
            "os-services.documents.default: `default` is for networks only, this is of interface user-dir",
        ),
        (
            "  documents: {instance: album, enforcement: audit}",
            "os-services.documents.enforcement: `enforcement` is for networks only, this is of interface user-dir",
        ),
        (
            "  documents: {instance: none, egress: [{to: {domain: a.b}}]}",
            "os-services.documents.egress: `egress` is for networks only, this is of interface user-dir",
        ),
        ("volumes: [{name: note}]", "volumes[0].name: the image has no volume 'note' (did you mean `notes`?)"),
        ("volumes: [{name: x}]", "volumes[0].name: the image has no volume 'x' (known: notes)"),
    ],
)
def test_what_the_image_or_the_device_does_not_have_is_found(text: str, expected: str) -> None:
    found = checked(text)
    assert len(found) == 1
    assert found[0].startswith(expected)


def test_what_an_image_asks_for_is_named_when_something_else_is_bound() -> None:
    assert checked("  zzz: {instance: none}") == [
        "os-services.zzz: the image does not ask for an os-service 'zzz' (known: display, documents, web)"
    ]


def test_an_image_without_settings_has_none_to_hint_at() -> None:
    bare = "\n".join(line for line in IMAGE.splitlines() if "default" not in line and line != "settings:") + "\n"
    assert checked("settings: {x: 1}", image=bare) == ["settings.x: the image has no setting 'x'"]


NOT_GRANTED = "the image needs the os-service 'display', and it is not granted (the image says: shows its window)"


def test_a_needed_os_service_that_is_not_granted_is_a_warning() -> None:
    assert checked("", display=False) == [f"warning: os-services.display: {NOT_GRANTED}"]
    text = "os-services: {display: {instance: none}}"
    assert checked(text, display=False) == [f"warning: os-services.display.instance: {NOT_GRANTED}"]


@pytest.mark.parametrize(
    "text",
    [
        "settings: {theme: light, size: 12.5, zoom: 2, loud: true}",
        "  documents: {instance: empty}",
        "  documents: {instance: album, rights: [list, read, write]}",
        "  web: {instance: internet, default: deny, enforcement: audit, egress: [{to: {domain: a.b}}]}",
        "volumes: [{name: notes, backup: false}]",
    ],
)
def test_what_fits_has_no_findings(text: str) -> None:
    assert checked(text) == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("supported", []),
        ("deprecated", ["warning: osbase: the osbase 'debian/trixie' is deprecated"]),
        (
            "retired\nsuccessor: debian/forky",
            ["osbase: the osbase 'debian/trixie' is retired (its successor is debian/forky)"],
        ),
    ],
)
def test_an_image_is_held_against_its_osbase(status: str, expected: list[str]) -> None:
    osbase = load_text(OSBASE % status, HERE)
    assert isinstance(osbase, Osbase)
    missing = "os-components[1]: 'debian/trixie' has no os-component 'gles' (did you mean `gles2`?)"
    assert shown(check_image(record(IMAGE), osbase, FACTS)) == [missing, *expected]
    far = record(IMAGE.replace("gles", "zzz"))
    known = "os-components[1]: 'debian/trixie' has no os-component 'zzz' (known: fonts, gles2)"
    assert shown(check_image(far, osbase, FACTS)) == [known, *expected]


def test_an_os_component_which_this_host_can_not_have_is_a_warning() -> None:
    text = OSBASE % "supported"
    osbase = load_text(
        text.replace("gles2: {title: G}", "gles: {title: G, select: '${host.gpu}', choice: {lima: {}, msm: {}}}"), HERE
    )
    assert isinstance(osbase, Osbase)
    assert check_image(record(IMAGE), osbase, FACTS) == []
    words = "the os-component 'gles' of debian/trixie can't be had on this host: its gpu is 'none'"
    hint = "it is there for: lima, msm; `ftos host show` says where the fact is from"
    found = shown(check_image(record(IMAGE), osbase, {**FACTS, "gpu": "none"}))
    assert found == [f"warning: os-components[1]: {words} ({hint})"]
