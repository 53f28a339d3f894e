# SPDX-License-Identifier: AGPL-3.0-or-later
"""Which of several descriptors a value comes from."""

from __future__ import annotations

from pathlib import Path

from ftos.host.facts import HostFacts
from ftos.plan.effective import Source, Value, effective
from ftos.spec.load import load_text
from ftos.spec.records import Deployment, Image, Osbase

TEXTS = {
    "osbase": """\
kind: osbase
schema: 1
name: debian/trixie
title: Debian 13
status: supported
engine: apt
sources:
  - {mirror: debian, suite: trixie, components: [main]}
keys: [debian.asc]
environment:
  PATH: /usr/bin
  PAGER: less
  LANG: C.UTF-8
os-components:
  locale:
    title: Language
    select: ${host.locale}
    choice: {C.UTF-8: {}}
    default:
      environment:
        LANG: ${host.locale}
  timezone: {title: Zone, environment: {TZ: "${host.timezone}", ZONE: here}}
""",
    "image": """\
kind: image
schema: 1
name: notes
title: Notes
version: "1"
osbase: debian/trixie
os-components: [locale, timezone]
environment:
  PAGER: more
  TZ: Etc/GMT
command: [/bin/true]
settings:
  theme: {default: dark}
  size: {default: 7}
os-services:
  documents: {interface: user-dir, rights: [list, read], reason: reads}
  music: {interface: user-dir, reason: plays}
volumes:
  - {name: notes, class: data, path: /notes, quota: 1G}
  - {name: cache, class: cache, path: /cache, quota: 2G}
""",
    "deployment": """\
kind: deployment
schema: 1
name: work
id: d-01234567
image: notes
settings: {theme: light}
os-services:
  documents:
    instance: documents
volumes:
  - name: cache
    quota: 5M
limits:
  memory: 1G
""",
}
FACTS = HostFacts(
    "aarch64", "lima", "de_DE.UTF-8", "Europe/Berlin", None, origins={"gpu": "/sys/class/drm/renderD128", "locale": "?"}
)


def values() -> dict[str, Value]:
    records = {kind: load_text(text, Path(kind), kind) for kind, text in TEXTS.items()}
    deployment, image, osbase = records["deployment"], records["image"], records["osbase"]
    assert isinstance(deployment, Deployment)
    assert isinstance(image, Image)
    assert isinstance(osbase, Osbase)
    sources = {kind: Source(Path(kind), text) for kind, text in TEXTS.items()}
    sources["host"] = Source(Path("host"), "kind: host\nschema: 1\nlocale: de_DE.UTF-8\n")
    return {".".join(value.key): value for value in effective(deployment, image, osbase, FACTS, sources)}


def shown(key: str) -> tuple[object, str]:
    value = values()[key]
    return value.value, value.origin


def test_deployment_wins_over_the_image() -> None:
    assert shown("settings.theme") == ("light", "deployment:6")
    assert shown("settings.size") == (7, "image:14")
    assert shown("volumes.cache.quota") == ("5M", "deployment:12")
    assert shown("volumes.notes.quota") == ("1G", "image:19")


def test_environment_comes_from_osbase_then_its_components_then_image() -> None:
    assert shown("environment.PATH") == ("/usr/bin", "osbase:11")
    assert shown("environment.PAGER") == ("more", "image:9")
    assert shown("environment.TZ") == ("Etc/GMT", "image:10")
    assert shown("environment.LANG") == ("de_DE.UTF-8", "osbase:21")
    assert shown("environment.ZONE") == ("here", "osbase:22")


def test_only_the_deployment_grants() -> None:
    assert shown("os-services.documents.instance") == ("documents", "deployment:9")
    assert shown("os-services.music.instance") == ("none", "built-in default")
    assert "os-services.music.rights" not in values()
    assert "os-services.music.path" not in values()


def test_a_directory_granted_without_rights_and_path_shows_what_it_gets() -> None:
    assert shown("os-services.documents.rights") == (("list", "read"), "built-in default")
    assert shown("os-services.documents.path") == ("/home/app/Documents", "built-in default")


def test_what_nobody_wrote_is_built_in_or_found() -> None:
    assert shown("limits.memory") == ("1G", "deployment:14")
    assert shown("limits.cpu-weight") == (None, "built-in default")
    assert shown("volumes.notes.backup") == (True, "built-in default")
    assert shown("host.timezone") == ("Europe/Berlin", "built-in default")
    assert shown("host.gpu") == ("lima", "/sys/class/drm/renderD128")
    assert shown("host.locale") == ("de_DE.UTF-8", "host:3")
    assert shown("host.language") == ("de", "host:3")
    assert shown("host.owner") == (None, "built-in default")
