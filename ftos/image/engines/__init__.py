# SPDX-License-Identifier: AGPL-3.0-or-later
"""Package managers: what an osbase's `engine:` names. A static registry, no plug-ins.

An engine has two halves. A `Fetcher` works with network and without privileges: it reads signed indexes, finds out
which packages are needed, and brings their files into the cache. The `Engine` itself works without network: it makes
trees out of those files.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ftos.errors import BuildError, Unsupported, quote
from ftos.image.manifest import InstalledPackage, LockedPackage
from ftos.image.packages import PackageCache
from ftos.image.tree import Leftovers
from ftos.image.workshop import Workshop
from ftos.spec.records import Tool

_MOST_PACKAGES = 100_000
OWN_KEY = "image-"
"""Before the names of an image's own key files in a request: the osbase's may have the same ones."""


@dataclass(frozen=True, slots=True)
class PackageSource:
    """One suite of a repository. `keys` are names of key files; one of them must have signed it."""

    url: str
    suite: str
    components: tuple[str, ...]
    keys: tuple[str, ...]
    extra: bool = False
    """It is the image's own, not the osbase's."""


@dataclass(frozen=True, slots=True)
class FetchRequest:
    """Where packages come from."""

    osbase: str
    """DISTRO/RELEASE. An extra source of another one is refused."""
    architecture: str
    """In the kernel's words."""
    sources: tuple[PackageSource, ...]
    keys: Mapping[str, bytes]
    """File name → content."""
    indexes: Path
    """Directory of all indexes that were ever fetched for this osbase, the newest of each; the new ones go there."""
    tools: Mapping[str, Tool] = field(default_factory=dict)
    """Package managers for a host that has none of its own, as host.yml names them."""


class Fetcher(Protocol):
    """Gets packages in one workshop. Every method may raise BuildError, and be called again."""

    def refresh(self) -> dict[str, str]:
        """Fetch the indexes of all sources; name of each signed one → SHA-256 of it.

        Raises BuildError, and keeps what was known, when one is not signed by a key of its source, is older than the
        one known, or when an extra source belongs to another distro or release.
        """

    def resolve(self, packages: Sequence[str], installed: bytes) -> tuple[LockedPackage, ...]:
        """The packages, by file name, that must be installed to have `packages` where `installed` is there already.

        installed: a package database as `Engine.database` and `database_of` give; b"" for a base tree, which gets what
        the distro calls essential besides. Reads the indexes of the last refresh (of this or an earlier workshop); no
        network.
        """

    def database_of(self, packages: Sequence[LockedPackage]) -> bytes:
        """What the database of a tree will be that is made of these packages only, as far as `resolve` reads it."""

    def download(self, cache: PackageCache, packages: Sequence[LockedPackage]) -> None:
        """Bring the files that `cache` has not yet into it, each verified. Needs no refresh before."""


class Engine(Protocol):
    """One package manager. Every method may raise BuildError; what it runs, it runs in containers of the workshop."""

    leftovers: Leftovers

    def fetcher(self, workshop: Workshop, request: FetchRequest) -> Fetcher:
        """Made once in a workshop."""

    def bootstrap(self, workshop: Workshop, packages: Sequence[LockedPackage], architecture: str) -> None:
        """Make a base tree in the workshop out of nothing but `packages`, whose files are in `workshop.packages`."""

    def install(self, workshop: Workshop, packages: Sequence[LockedPackage], layers: Sequence[Path]) -> None:
        """Install `packages`, whose files are in `workshop.packages`, over `layers`."""

    def database(self, tree: int) -> bytes:
        """The package database of a tree (a directory's fd)."""

    def installed(self, database: bytes) -> tuple[InstalledPackage, ...]:
        """The packages in a database, by name."""


def installed(tool: Engine, tree: int) -> tuple[InstalledPackage, ...]:
    """The packages in a tree (a directory's fd), by name. Raises BuildError, also for more than memory may hold."""
    database = tool.database(tree)
    if database.count(b"\n\n") > _MOST_PACKAGES:  # each of them is a paragraph
        raise BuildError(f"the tree's package database has more than {_MOST_PACKAGES} packages")
    return tool.installed(database)


def engine(name: str) -> Engine:
    """The engine of an osbase. Raises Unsupported."""
    match name:
        case "apk":
            from ftos.image.engines.apk import Apk

            return Apk()
        case "apt":
            from ftos.image.engines.apt import Apt

            return Apt()
    raise Unsupported(f"this version of FlyingTux can't build with {quote(name)}", "it has: apk, apt")
