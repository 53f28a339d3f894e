# SPDX-License-Identifier: AGPL-3.0-or-later
"""What decides the content of an image, and its digest: the name of the image's branch in the store.

In: the records of image and osbase, the host's facts, and the contents of the key files. Out: a `Recipe`. Of the facts
only what the image's os-components make of them is in it: a host that changes outdates the images which depend on what
changed, and no others. Two equal recipes mean that nothing needs to be built. Files and settings don't count: they are
rendered for each deployment and laid over the image; nor does the environment, which each launch gets anew. Versions of
packages don't either: an update is a new commit on the same branch. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from ftos.spec.components import resolve_components
from ftos.spec.records import Image, Link, Osbase, Repository, Source

FORMAT = 1
"""Raised when the way of building changes what the same recipe gives."""


class BaseRecipe(Struct, frozen=True, kw_only=True):
    """What a base tree is made of."""

    name: str
    architecture: str
    engine: str
    sources: tuple[Source, ...]
    keys: dict[str, str]
    """File name → SHA-256 of the content."""
    packages: tuple[str, ...]
    post_clean: tuple[str, ...]
    format: int = FORMAT

    @property
    def digest(self) -> str:
        """64 hex digits."""
        return _digest(self)


class Recipe(Struct, frozen=True, kw_only=True):
    """What an image is made of, on top of its base tree."""

    base: BaseRecipe
    packages: tuple[str, ...]
    """Those of the os-components included; sorted, each once."""
    commands: tuple[tuple[str, ...], ...]
    """Of the os-components; run after the installation, in this order."""
    repositories: tuple[Repository, ...]
    keys: dict[str, str]
    """Of the repositories: file name → SHA-256 of the content."""
    links: tuple[Link, ...]
    post_clean: tuple[str, ...]

    @property
    def digest(self) -> str:
        """64 hex digits."""
        return _digest(self)


def base_recipe(osbase: Osbase, architecture: str, keys: Mapping[str, bytes]) -> BaseRecipe:
    """`keys`: content of each key file that `osbase` names."""
    return BaseRecipe(
        name=osbase.name,
        architecture=architecture,
        engine=osbase.engine,
        sources=osbase.sources,
        keys=_digests(keys),
        packages=_sorted(osbase.base_packages),
        post_clean=_sorted(osbase.post_clean),
    )


def image_recipe(
    image: Image, osbase: Osbase, base: BaseRecipe, keys: Mapping[str, bytes], facts: Mapping[str, str]
) -> Recipe:
    """`keys`: content of each key file that the image's repositories name. `facts`: `HostFacts.values`.

    Raises BadInput when the image wants an os-component which its osbase has not, Unsupported when this host can't have
    it.
    """
    components = resolve_components(image, osbase, facts)
    return Recipe(
        base=base,
        packages=_sorted((*image.packages, *components.packages)),
        commands=components.commands,
        repositories=image.repositories,
        keys=_digests(keys),
        links=tuple(sorted(image.links, key=lambda link: link.path)),
        post_clean=_sorted((*osbase.post_clean, *image.post_clean)),
    )


def _sorted(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(names)))


def _digests(keys: Mapping[str, bytes]) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(keys.items())}


def _digest(recipe: Struct) -> str:
    return hashlib.sha256(msgspec.json.encode(recipe, order="deterministic")).hexdigest()
