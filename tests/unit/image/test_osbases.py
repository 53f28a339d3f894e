# SPDX-License-Identifier: AGPL-3.0-or-later
"""The shipped osbases: complete, and with the keys that Debian's own package of them has."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ftos.host.places import Places
from ftos.spec.catalog import Catalog

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
    assert set(old) == {"certificates", "fonts", "gles2", "locale"}
