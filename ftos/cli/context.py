# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a verb works with: places and catalog, made when first used.

Verbs receive the one `App` of a run by `@pass_app`. Whatever costs an import is imported inside the properties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

import click

from ftos.cli.output import note
from ftos.errors import FtosError

if TYPE_CHECKING:
    from ftos.host.places import Places
    from ftos.spec.catalog import Catalog
    from ftos.spec.records import Deployment, Image, Osbase, Service


T = TypeVar("T")


def _each(names: Iterable[str], load: Callable[[str], T]) -> tuple[list[T], int]:
    found, status = [], 0
    for name in names:
        try:
            found.append(load(name))
        except FtosError as error:
            note(error.message)
            status = error.status
    return found, status


class App:
    """`root` is the value of --root, or None."""

    def __init__(self, root: str | None) -> None:
        self.root = root

    @cached_property
    def places(self) -> Places:
        from ftos.host.places import Places

        return Places.from_environment(self.root)

    @cached_property
    def catalog(self) -> Catalog:
        from ftos.spec.catalog import Catalog

        return Catalog(self.places)

    def each_deployment(self) -> tuple[list[Deployment], int]:
        """The deployments whose files are right, and an exit status; what is wrong with the others is said."""
        return _each(self.catalog.names("deployment"), self.catalog.deployment)

    def each_service(self) -> tuple[list[Service], int]:
        """As `each_deployment`, for service instances."""
        return _each(self.catalog.names("service"), self.catalog.service)

    def each_image(self) -> tuple[list[Image], int]:
        """As `each_deployment`, for images."""
        return _each(self.catalog.names("image"), self.catalog.image)

    def each_osbase(self) -> tuple[list[Osbase], int]:
        """As `each_deployment`, for osbases."""
        return _each(self.catalog.names("osbase"), self.catalog.osbase)

    def running(self, deployment_id: str) -> bool:
        """Whether an instance of this deployment is running."""
        from ftos.runtime.instances import running

        return bool(running(self.places, deployment_id))


pass_app = click.make_pass_decorator(App)
