# SPDX-License-Identifier: AGPL-3.0-or-later
"""The configuration layer: what lies over the image in a container."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from ftos.plan.layer import MOUNT_POINTS, layer_digest, scalar_text
from ftos.plan.records import LayerEntry
from ftos.spec.records import File, Image, Scalar
from tests.unit.plan.golden import CASES, build, load

MINIMAL = load("minimal")
SETTINGS = load("settings")


def entry(layer: tuple[LayerEntry, ...], path: str) -> LayerEntry:
    (found,) = [each for each in layer if each.path == path]
    return found


def layer_of(image: Image) -> tuple[LayerEntry, ...]:
    return build(image, MINIMAL.deployment).layer


def test_settings_are_filled_in_the_deployments_before_the_images() -> None:
    assert entry(SETTINGS.layer, "/etc/probe.conf").content == "theme=light size=11 sound=true\n"
    assert entry(SETTINGS.layer, "/etc/probe.conf").mode == 0o640


def test_host_values_are_filled_in_and_an_escaped_dollar_stays() -> None:
    words = "x86_64 virtio-gpu en en_GB.UTF-8 probe-one Europe/Berlin ${HOME}"
    assert entry(SETTINGS.layer, "/usr/bin/where").content == f"#!/bin/sh\necho {words}\n"


@pytest.mark.parametrize(
    ("value", "text"), [(True, "true"), (False, "false"), (1, "1"), (1.5, "1.5"), ("", ""), ("True", "True")]
)
def test_scalars_are_written_as_in_yaml(value: Scalar, text: str) -> None:
    assert scalar_text(value) == text


def test_the_container_has_names_of_its_own() -> None:
    assert entry(MINIMAL.layer, "/etc/hostname").content == "probe-one\n"
    assert entry(MINIMAL.layer, "/etc/hosts").content.startswith("127.0.0.1 localhost probe-one\n")


def test_the_machine_id_is_the_deployments_own_and_stays() -> None:
    other = build(MINIMAL.image, replace(MINIMAL.deployment, id="d-0000000b"))
    renamed = build(MINIMAL.image, replace(MINIMAL.deployment, name="other"))
    machine_id = entry(MINIMAL.layer, "/etc/machine-id").content
    assert len(machine_id) == 33
    assert int(machine_id, 16) > 0
    assert entry(other.layer, "/etc/machine-id").content != machine_id
    assert entry(renamed.layer, "/etc/machine-id").content == machine_id


def test_of_two_entries_with_one_path_the_later_wins() -> None:
    own_hosts = File(path="/etc/hosts", content="mine\n")
    assert entry(layer_of(replace(MINIMAL.image, files=(own_hosts,))), "/etc/hosts").content == "mine\n"


@pytest.mark.parametrize("case", CASES)
def test_every_mount_point_that_no_mount_hides_is_there(case: str) -> None:
    """Else the launch would depend on what the image has there."""
    loaded = load(case)
    entries = {each.path: each.kind for each in loaded.layer}
    for path in (*MOUNT_POINTS, *(volume.path for volume in loaded.image.volumes)):
        assert entries[path] == "directory"
    for mount in loaded.plan.mounts:
        assert not mount.target or mount.target in entries or mount.target.startswith(("/proc/", "/dev"))


@pytest.mark.parametrize("case", CASES)
def test_entries_are_sorted_and_unique(case: str) -> None:
    paths = [each.path for each in load(case).layer]
    assert paths == sorted(set(paths))


def test_the_digest_names_the_content() -> None:
    assert layer_digest(MINIMAL.layer) == layer_digest(build(MINIMAL.image, MINIMAL.deployment).layer)
    changed = [replace(MINIMAL.layer[-1], mode=0o700), *MINIMAL.layer[:-1]]
    assert layer_digest(changed) != layer_digest(MINIMAL.layer)
    assert len({layer_digest(load(case).layer) for case in CASES}) > 5
