# SPDX-License-Identifier: AGPL-3.0-or-later
"""The directories of kept volumes: volumes/<deployment id>/<name>, owned by the app's id of the foreign range.

The parents belong to root and nobody else enters them, so a name in them is what it was made as. The volumes
themselves are the app's: nothing here looks into them, except to delete them, by descriptors.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from ftos.errors import FtosError, quote
from ftos.host import trees
from ftos.host.places import Places
from ftos.plan.records import APP_ID, FOREIGN_BASE
from ftos.spec.records import Volume

KEPT = ("data", "settings", "cache")
"""Classes which live on the disk; the others are gone at exit."""


def directory(places: Places, deployment_id: str) -> Path:
    return places.volumes / deployment_id


def prepare(places: Places, deployment_id: str, volumes: Iterable[Volume]) -> Path:
    """Make what is missing of a deployment's kept volumes, and return their directory. A crash leaves nothing half."""
    parent = directory(places, deployment_id)
    for path in (places.volumes, parent):
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for volume in volumes:
        if volume.volume_class in KEPT:
            _make(parent / volume.name)
    return parent


def _make(path: Path) -> None:
    try:
        path.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise FtosError(f"the volume {quote(path)} can't be used: {error.strerror}", "look what is there") from error
    try:
        if os.fstat(fd).st_uid == os.geteuid():  # new, or a crash came before this step
            os.fchown(fd, FOREIGN_BASE + APP_ID, FOREIGN_BASE + APP_ID)
            os.fsync(fd)
    finally:
        os.close(fd)


def delete(places: Places, deployment_id: str) -> None:
    """Delete all kept volumes of a deployment, for good. First they leave their name, so none is used half deleted.

    What a crash of an earlier deletion left of any deployment goes too.
    """
    _sweep(places)
    with suppress(FileNotFoundError):
        directory(places, deployment_id).rename(places.volumes / f".deleted-{deployment_id}")
    _sweep(places)


def _sweep(places: Places) -> None:
    if not places.volumes.is_dir():
        return
    with trees.directory(places.volumes) as parent:
        for name in os.listdir(parent):
            if name.startswith(".deleted-"):
                trees.remove_tree(parent, name)
