# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos host show`, `ftos osbase list` and `ftos osbase show`: what this device is, and what that means for images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ftos.host.places import Places
from tests.unit.cli.conftest import NOTES, Run

HOST = """\
kind: host
schema: 1
gpu: lima
locale: de_DE.UTF-8
mirrors: {debian: "http://mirror.invalid/debian/"}
tools:
  apk: {archive: /srv/rootfs.tar.gz, sha256: "%064d"}
"""
OSBASE = """\
kind: osbase
schema: 1
name: toy/one
title: Toy 1
status: %s
engine: apk
sources: [{mirror: debian, suite: one, components: [main, more]}, {mirror: nowhere, suite: one, components: [main]}]
keys: [toy.pub]
base-packages: [busybox]
os-components:
  loader: {title: Loader, packages: [loader]}
  fast:
    title: Fast pictures
    select: ${host.gpu}
    choice:
      lima:
        packages: [mesa-lima]
        depends: [loader]
        commands: [[prepare, "${host.gpu} x"]]
        environment: {GPU: "${host.gpu}"}
"""


@pytest.fixture(autouse=True)
def device(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The device with a host.yml, and an osbase besides the shipped ones."""
    (root / "etc/ftos/host.yml").write_text(HOST % 0)
    shipped = Places(root).shipped
    monkeypatch.setattr(Places, "shipped", property(lambda places: (places.root / "usr/share/ftos", *shipped)))
    osbase(root, "supported")


def osbase(root: Path, status: str) -> None:
    path = root / "usr/share/ftos/osbases/toy/one/osbase.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(OSBASE % status)


def facts(ftos: Run) -> dict[str, tuple[object, str]]:
    rows = json.loads(ftos("host", "show", "--json").stdout)
    return {row["fact"]: (row["value"], row["origin"]) for row in rows}


def components(ftos: Run) -> dict[str, dict[str, Any]]:
    shown = json.loads(ftos("osbase", "show", "toy/one", "--json").stdout)
    return {row["name"]: row for row in shown["os-components"]}


def test_host_show_has_value_and_origin_of_each_fact(ftos: Run, root: Path) -> None:
    found, path = facts(ftos), f"{root}/etc/ftos/host.yml"
    assert found["gpu"] == ("lima", f"{path}:3")
    assert found["locale"] == ("de_DE.UTF-8", f"{path}:4")
    assert found["language"] == ("de", f"{path}:4")
    assert found["mirrors.debian"] == ("http://mirror.invalid/debian", f"{path}:5")
    assert found["architecture"][1] == found["kernel"][1] == "the running kernel"
    assert {"owner", "timezone", "tools.apt"} <= set(found)
    table = ftos("host", "show").stdout
    assert table.split("\n")[0].split() == ["FACT", "VALUE", "ORIGIN"]
    assert f"{path}:3" in table


def test_host_show_has_the_archive_of_a_tool_that_is_not_on_this_device(
    ftos: Run, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(root))
    assert shutil.which("apk") is None
    found = facts(ftos)
    assert found["tools.apk"] == ("/srv/rootfs.tar.gz", f"{root}/etc/ftos/host.yml:7")
    assert found["tools.apt"] == (None, "not on this device")


def test_host_show_works_without_a_host_yml(ftos: Run, root: Path) -> None:
    (root / "etc/ftos/host.yml").unlink()
    assert facts(ftos)["gpu"][1] != f"{root}/etc/ftos/host.yml:3"


def test_osbase_list_shows_status_successor_and_users(ftos: Run, root: Path) -> None:
    osbase(root, "deprecated\nsuccessor: toy/two")
    (root / "etc/ftos/images/notes.yml").write_text(NOTES.replace("debian/trixie", "toy/one"))
    rows = {row["name"]: row for row in json.loads(ftos("osbase", "list", "--json").stdout)}
    assert {"debian/bookworm", "debian/trixie", "toy/one"} <= set(rows)
    assert rows["toy/one"] == {
        "name": "toy/one",
        "title": "Toy 1",
        "status": "deprecated",
        "successor": "toy/two",
        "engine": "apk",
        "used-by": ["notes"],
    }
    assert "toy/one" in ftos("osbase", "list").stdout


def test_osbase_show_says_what_each_component_means_here(ftos: Run) -> None:
    assert components(ftos)["fast"] == {
        "name": "fast",
        "title": "Fast pictures",
        "depends": ["loader"],
        "packages": ["loader", "mesa-lima"],
        "commands": [["prepare", "lima x"]],
        "environment": {"GPU": "lima"},
        "problem": None,
    }
    text = ftos("osbase", "show", "toy/one").stdout
    assert "os-component fast: Fast pictures\n    depends: loader\n    packages: loader, mesa-lima\n" in text
    assert "    command: prepare 'lima x'\n    environment: GPU=lima\n" in text


def test_osbase_show_says_why_a_component_can_not_be_had(ftos: Run, root: Path) -> None:
    (root / "etc/ftos/host.yml").write_text((HOST % 0).replace("gpu: lima", "gpu: none"))
    problem = "the os-component 'fast' of toy/one can't be had on this host: its gpu is 'none'"
    assert (components(ftos)["fast"]["problem"], components(ftos)["fast"]["packages"]) == (problem, [])
    assert problem in ftos("osbase", "show", "toy/one").stdout


def test_osbase_show_has_the_mirrors_of_this_device(ftos: Run) -> None:
    shown = json.loads(ftos("osbase", "show", "toy/one", "--json").stdout)
    assert [(source["mirror"], source["url"]) for source in shown["sources"]] == [
        ("debian", "http://mirror.invalid/debian"),
        ("nowhere", None),
    ]
    assert shown["sources"][0]["components"] == ["main", "more"]
    assert (shown["keys"], shown["base-packages"], shown["successor"]) == (["toy.pub"], ["busybox"], None)


def test_an_unknown_osbase_is_refused_with_what_was_meant(ftos: Run) -> None:
    result = ftos("osbase", "show", "toy/on")
    assert (result.exit_code, result.stderr) == (2, "ftos: there is no osbase 'toy/on'\n  did you mean `toy/one`?\n")


def test_a_wrong_host_yml_is_no_error_of_an_image(ftos: Run, root: Path) -> None:
    for text in ("kind: host\nschema: 1\ngpus: x\n", "kind: host\nschema: 1\nowner: nobody-has-this\n"):
        (root / "etc/ftos/host.yml").write_text(text)
        assert ftos("validate", str(root / "etc/ftos/images/notes.yml")).exit_code == 0
        assert ftos("host", "show").exit_code == 2


def test_validate_warns_of_a_component_that_this_device_can_not_have(ftos: Run, root: Path, tmp_path: Path) -> None:
    (root / "etc/ftos/host.yml").write_text((HOST % 0).replace("gpu: lima", "gpu: none"))
    image = tmp_path / "x.yml"
    image.write_text(NOTES.replace("debian/trixie", "toy/one") + "os-components:\n  - loader\n  - fast\n")
    result = ftos("validate", str(image))
    assert result.exit_code == 0
    line = len(image.read_text().splitlines())
    assert f"{image}:{line}: os-components[1]: the os-component 'fast' of toy/one can't be had" in result.stderr
    osbase(root, "retired\nsuccessor: toy/two")
    result = ftos("validate", str(image))
    assert result.exit_code == 2
    assert f"{image}:6: osbase: the osbase 'toy/one' is retired (its successor is toy/two)" in result.stderr
