# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the owner's directories really are, so that instances which lie within one another are known as such.

`ftos.services.user_dir` compares paths as text. Two of them may name one place, by a symlink of the owner's; here each
path is followed through the file system as far as no app can have written: up to the first directory that is itself an
instance. What lies behind stays as it was written, and no symlink is followed there at launch.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from msgspec.structs import replace

from ftos.spec.records import Service

Identity = tuple[int, int]
"""st_dev and st_ino of a directory."""


def located(services: Iterable[Service], home: str | None) -> dict[str, Service]:
    """All services by name; those of directories with their path as found. `home` of the owner, if there is one."""
    known = {service.name: service for service in services}
    paths = {name: path for name, service in known.items() if (path := _path(service, home)) is not None}
    identities = {name: _identity(path) for name, path in paths.items()}
    for name, path in paths.items():
        others = {identity for other, identity in identities.items() if other != name and identity is not None}
        service = known[name]
        known[name] = replace(service, settings={**service.settings, "path": str(_follow(path, others))})
    return known


def _path(service: Service, home: str | None) -> Path | None:
    """The path as written; None where there is none that could be followed."""
    written = service.settings.get("path")
    if service.interface != "user-dir" or not isinstance(written, str) or ".." in written.split("/"):
        return None
    if written.startswith("~/") and home is not None:
        return Path(home, written[2:].lstrip("/"))
    return Path(written) if written.startswith("/") else None


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except OSError:  # missing, or out of reach: then no app has it either
        return None
    return status.st_dev, status.st_ino


def _follow(path: Path, others: Collection[Identity]) -> Path:
    at = Path("/")
    parts = path.parts[1:]
    for index, part in enumerate(parts):
        if _identity(at) in others:
            return at.joinpath(*parts[index:])
        at = Path(os.path.realpath(at / part))
    return at
