# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipped osbases: complete, and with the keys that Debian's own package of them has."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ftos.host.facts import HostFacts
from ftos.host.places import Places
from ftos.spec.catalog import Catalog
from ftos.spec.components import Components, resolve

RELEASES = ("bookworm", "trixie")
KEYRINGS = Path("/usr/share/keyrings")


def fingerprints(file: Path, home: Path) -> list[str]:
    command = ["gpg", "--homedir", str(home), "--no-options", "--show-keys", "--with-colons", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [line.split(":")[9] for line in done.stdout.splitlines() if line.startswith("fpr:")]


@pytest.mark.parametrize("release", RELEASES)
def test_an_osbase_names_exactly_the_keys_beside_it(tmp_path: Path, release: str) -> None:
    catalog = Catalog(Places(tmp_path))
    osbase = catalog.osbase(f"debian/{release}")
    keys = catalog.path("osbase", osbase.name).parent / "keys"
    assert sorted(osbase.keys) == sorted(path.name for path in keys.iterdir())
    for name in osbase.keys:
        assert (keys / name).read_text().startswith("-----BEGIN PGP PUBLIC KEY BLOCK-----\n")


@pytest.mark.skipif(shutil.which("gpg") is None, reason="there is no gpg")
@pytest.mark.parametrize("release", RELEASES)
@pytest.mark.parametrize("key", ["automatic", "security-automatic", "stable"])
def test_a_key_is_the_one_of_debians_own_keyring(checkout: Path, tmp_path: Path, release: str, key: str) -> None:
    name = f"debian-archive-{release}-{key}"
    own = next((KEYRINGS / f"{name}{end}" for end in (".gpg", ".pgp") if (KEYRINGS / f"{name}{end}").exists()), None)
    if own is None:
        pytest.skip(f"the host has no {name}")
    (tmp_path / "home").mkdir(mode=0o700)
    shipped = fingerprints(checkout / f"osbases/debian/{release}/keys/{name}.asc", tmp_path / "home")
    assert shipped == fingerprints(own, tmp_path / "home") != []


def test_both_releases_have_the_same_components(tmp_path: Path) -> None:
    catalog = Catalog(Places(tmp_path))
    old, new = (catalog.osbase(f"debian/{release}").os_components for release in RELEASES)
    assert old == new
    assert set(old) == COMPONENTS


OSBASES = Catalog(Places(Path("/nonexistent"))).names("osbase")
COMPONENTS = {"certificates", "fonts", "gles2", "icons", "locale", "timezone", "vulkan"}
GPUS = ("amdgpu", "i915", "lima", "msm", "none", "nouveau", "nvidia", "panfrost", "virtio-gpu")


def meaning(osbase: str, component: str, **facts: str) -> Components:
    """What a component of a shipped osbase means on a host with these facts."""
    host = HostFacts("aarch64", "none", "C.UTF-8", "Etc/UTC", None).values() | facts
    return resolve([component], Catalog(Places(Path("/nonexistent"))).osbase(osbase), host)


@pytest.mark.parametrize("osbase", OSBASES)
def test_every_osbase_has_every_component_for_every_gpu(osbase: str) -> None:
    for component in sorted(COMPONENTS):
        for gpu in GPUS:
            assert meaning(osbase, component, gpu=gpu).names == (component,)


@pytest.mark.parametrize("osbase", OSBASES)
def test_only_vulkan_depends_on_the_gpu_and_has_one_driver(osbase: str) -> None:
    for component in sorted(COMPONENTS):
        phone, desktop = (meaning(osbase, component, gpu=gpu) for gpu in ("msm", "amdgpu"))
        assert (phone == desktop) == (component != "vulkan")
    if osbase.startswith("alpine/"):
        assert meaning(osbase, "vulkan", gpu="msm").packages == ("mesa-vulkan-freedreno", "vulkan-loader")
        assert meaning(osbase, "vulkan", gpu="lima").packages == ("mesa-vulkan-swrast", "vulkan-loader")


@pytest.mark.parametrize("osbase", OSBASES)
def test_the_locale_is_this_hosts_and_costs_nothing_where_there_is_none(osbase: str) -> None:
    for plain in ("C", "C.UTF-8", "POSIX"):
        found = meaning(osbase, "locale", locale=plain)
        assert (found.packages, found.commands, found.environment) == ((), (), {})
    found = meaning(osbase, "locale", locale="de_DE.UTF-8")
    assert len(found.packages) == 1
    assert found.environment["LANG"] == "de_DE.UTF-8"
    assert meaning(osbase, "timezone", timezone="Europe/Berlin").environment == {"TZ": "Europe/Berlin"}


@pytest.mark.parametrize("osbase", OSBASES)
def test_fonts_have_the_script_of_the_language(osbase: str) -> None:
    plain = set(meaning(osbase, "fonts", language="de").packages)
    (more,) = {
        name for language in ("ja", "ko", "zh") for name in meaning(osbase, "fonts", language=language).packages
    } - plain
    assert more.endswith("noto-cjk")
