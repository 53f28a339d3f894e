# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known of an image: the packages that went in (the lock), and the record beside each commit (the manifest).

A lock is complete: with it and the files that it names, base tree and image are made again without any index. It goes
with the image wherever that goes. Pure records.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

_LONGEST = 1024
_Words = Annotated[str, Meta(max_length=_LONGEST)]


class InstalledPackage(Struct, frozen=True, kw_only=True):
    """A package in a tree, as the tree's own package database describes it."""

    name: _Words
    version: _Words
    architecture: _Words
    source: _Words = ""
    """Source package which it was built from."""
    license: _Words = ""
    """As the package states it; "" where it does not."""

    @classmethod
    def cut(cls, **fields: str) -> InstalledPackage:
        """Of fields which may have any length: a database is written by scripts of packages."""
        return cls(**{name: text[:_LONGEST] for name, text in fields.items()})


class LockedPackage(Struct, frozen=True, kw_only=True):
    """One package file, as the signed index describes it."""

    name: str
    version: str
    architecture: str
    file: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9.+_~%:@-]{0,254}\Z")]
    """File name under which the package manager knows it."""
    size: int
    checksum: Annotated[str, Meta(pattern=r"\A(sha256:[0-9a-f]{64}|q1:[0-9a-f]{40})\Z")]
    """`sha256:HEX` of the file, or `q1:HEX` (SHA-1 of the control segment, as in an Alpine index)."""
    url: str


class PackageLock(Struct, frozen=True, kw_only=True):
    """What one build installs."""

    base: tuple[LockedPackage, ...]
    """The packages of the base tree, by file name."""
    packages: tuple[LockedPackage, ...] = ()
    """Those over it, by file name; none for a base tree itself."""
    indexes: dict[str, str]
    """Name of a signed index → SHA-256 of it."""

    @property
    def digest(self) -> str:
        """64 hex digits: equal for locks with the same packages, whatever mirror and index they were found in."""
        return packages_digest((*self.base, *self.packages))


class Manifest(Struct, frozen=True, kw_only=True):
    """What is known of one commit."""

    kind: str
    """`image` or `osbase`."""
    name: str
    digest: str
    """Of the recipe."""
    osbase: str
    base: str
    """Commit of the base tree that it was built on; "" for a base tree."""
    parent: str = ""
    """Commit of what the image was before; "" when that is not known."""
    components: tuple[str, ...]
    """os-components, those included that others depend on."""
    packages: tuple[InstalledPackage, ...]
    """All that is installed, those of the base tree included; by name."""
    lock: PackageLock
    size: int
    """Bytes of all files, each counted once. Trees share equal files, so the disk may hold less."""
    built_at: str
    """UTC, as 2026-01-31T12:00:00Z."""


def packages_digest(packages: Iterable[LockedPackage]) -> str:
    """64 hex digits: equal for the same packages."""
    lines = sorted(f"{package.file} {package.checksum}" for package in packages)
    return hashlib.sha256(msgspec.json.encode(lines)).hexdigest()
