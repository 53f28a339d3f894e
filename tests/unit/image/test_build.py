# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a build asks for, and in which order; real builds are in tests/image."""

from __future__ import annotations

import pytest

from ftos.errors import BuildError
from tests.unit.image.conftest import Device


def test_a_build_from_what_is_at_hand_waits_for_no_remote(device: Device) -> None:
    """There are no containers here, so it ends at the first one; a remote that is asked is told of in a note."""
    device.host("remotes:\n  away: {url: 'file:///nowhere', key: missing.asc}")
    built = device.image("notes", {"usr/notes": "1"}, base=device.base())
    device.store.purge("notes")
    wanted = device.builder.catalog.image("notes")
    with pytest.raises(BuildError, match="there are no containers here"):
        device.builder.ensure(wanted)
    assert device.progress.notes == []
    (package,) = built.manifest.lock.packages
    device.cache.files()[package.checksum].unlink()
    with pytest.raises(BuildError):
        device.builder.ensure(wanted)
    assert [note[:43] for note in device.progress.notes][:1] == ["notes is not taken from the remote away: th"]
