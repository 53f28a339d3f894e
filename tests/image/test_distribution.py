# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real image, built once, exported, and pulled by a device that could not build it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ftos.host.places import Places
from ftos.image.export import export
from tests.image.harness import Recorder, builder, image
from tests.image.remotes import Key, Phone, Server


def test_a_real_image_is_pulled_where_it_could_not_be_built_and_works(shared: Places, tmp_path: Path) -> None:
    wanted = image("distributed", packages=("nano",), post_clean=("/usr/share", "/usr/lib/apt"))
    built = builder(shared).ensure(wanted)
    served, key = tmp_path / "served", Key(tmp_path / "key")
    try:
        export(builder(shared).store, [built], served, key.id, key.home, Recorder())
    finally:
        key.close()
    with Server(served).running() as server:
        phone = Phone(tmp_path / "phone", server.url, key)
        pulled = builder(phone.places, phone.progress, offline=True).ensure(wanted)
        assert phone.progress.notes == []
        assert server.count(".filez") == 0
        assert server.sent < built.size / 3
    assert (pulled.commit, pulled.manifest) == (built.commit, built.manifest)
    assert builder(phone.places, offline=True).ensure(wanted) == pulled
    assert list((phone.places.cache / "packages").glob("*")) == []
    done = subprocess.run(["chroot", str(pulled.tree), "/usr/bin/nano", "--version"], capture_output=True, check=False)
    assert b"GNU nano" in done.stdout, done.stderr
