# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where the packages of an image come from, on this host: repositories by their mirrors, key files by their content."""

from __future__ import annotations

from pathlib import Path

from ftos.errors import BadInput, quote
from ftos.host.facts import HostFacts
from ftos.host.files import read_limited
from ftos.image.engines import OWN_KEY, FetchRequest, PackageSource
from ftos.spec.catalog import Catalog
from ftos.spec.records import Image, Osbase

_KEY_LIMIT = 1 << 20


class Sources:
    """Reads key files when asked. Raises FtosError when a mirror or a key is missing."""

    def __init__(self, catalog: Catalog, facts: HostFacts) -> None:
        self._catalog = catalog
        self._facts = facts

    def base_keys(self, osbase: Osbase) -> dict[str, bytes]:
        """Content of each key file that the osbase names."""
        beside = self._catalog.path("osbase", osbase.name).parent / "keys"
        return {name: read_limited(beside / name, _KEY_LIMIT) for name in osbase.keys}

    def image_keys(self, image: Image) -> dict[str, bytes]:
        """Content of each key file that the image's repositories name."""
        if not image.repositories:
            return {}
        beside = self._catalog.path("image", image.name).parent
        return {repository.key: read_limited(beside / repository.key, _KEY_LIMIT) for repository in image.repositories}

    def request(self, osbase: Osbase, image: Image | None, indexes: Path) -> FetchRequest:
        """What an engine must know to get packages from the osbase's repositories, and those of `image`."""
        sources = [
            PackageSource(self._mirror(osbase, source.mirror), source.suite, source.components, osbase.keys)
            for source in osbase.sources
        ]
        keys = self.base_keys(osbase)
        for own in image.repositories if image is not None else ():
            sources.append(PackageSource(own.url, own.suite, own.components, (OWN_KEY + own.key,), extra=True))
        if image is not None:
            keys |= {OWN_KEY + name: content for name, content in self.image_keys(image).items()}
        return FetchRequest(
            osbase=osbase.name,
            architecture=self._facts.architecture,
            sources=tuple(sources),
            keys=keys,
            indexes=indexes,
            tools=dict(self._catalog.host().tools.items()),
        )

    def _mirror(self, osbase: Osbase, role: str) -> str:
        url = self._facts.mirror(role)
        if url is None:
            raise BadInput(
                f"no mirror is known for {quote(role)}, which {osbase.name} needs",
                f"write its URL into host.yml, as  mirrors: {{{role}: URL}}",
            )
        return url
