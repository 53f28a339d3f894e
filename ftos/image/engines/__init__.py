# SPDX-License-Identifier: AGPL-3.0-or-later
"""Package managers: what an osbase's `engine:` names. A static registry, no plug-ins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ftos.errors import Unsupported
from ftos.image.packages import PackageCache, PackageLock
from ftos.image.store import InstalledPackage
from ftos.image.tree import Leftovers
from ftos.image.workshop import Workshop


@dataclass(frozen=True, slots=True)
class PackageSource:
    """One suite of a repository. `keys` are names of key files; one of them must have signed it."""

    url: str
    suite: str
    components: tuple[str, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """What to get. `architecture` in the kernel's words; `keys`: file name → content."""

    architecture: str
    sources: tuple[PackageSource, ...]
    keys: Mapping[str, bytes]
    packages: tuple[str, ...]
    base_tree: Path | None
    """Packages which this tree has are not fetched. None: the base tree itself is asked for, with all it needs."""
    base: str
    """Goes into the lock: digest of the base tree's packages, or ""."""
    indexes: Path
    """Directory of all indexes that were ever fetched for this osbase, the newest of each; the new ones go there."""


class Engine(Protocol):
    """One package manager. Every method may raise BuildError; what it runs, it runs in containers of the workshop."""

    leftovers: Leftovers

    def fetch(self, workshop: Workshop, cache: PackageCache, request: FetchRequest) -> PackageLock:
        """Refresh the indexes, find out which packages are needed, and bring their files into `cache`."""

    def bootstrap(self, workshop: Workshop, lock: PackageLock, architecture: str) -> None:
        """Make a base tree in the workshop out of nothing but the lock's packages."""

    def install(self, workshop: Workshop, lock: PackageLock, layers: Sequence[Path]) -> None:
        """Install the lock's packages over `layers`."""

    def installed(self, tree: int) -> tuple[InstalledPackage, ...]:
        """The packages of a tree (a directory's fd), by name."""


def engine(name: str) -> Engine:
    """The engine of an osbase. Raises Unsupported."""
    from ftos.image.engines.apt import Apt

    known: dict[str, type[Engine]] = {"apt": Apt}
    if name not in known:
        raise Unsupported(f"this version of FlyingTux can't build with {name}", f"it has: {', '.join(known)}")
    return known[name]()
