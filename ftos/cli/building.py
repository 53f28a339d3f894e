# SPDX-License-Identifier: AGPL-3.0-or-later
"""The image builder as the verbs use it: with our own launcher for its containers, and what runs now kept."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftos.cli.context import App
    from ftos.host.facts import HostFacts
    from ftos.image.build import ImageBuilder
    from ftos.image.progress import Progress
    from ftos.image.store import BuiltImage, Store
    from ftos.spec.records import Image


def builder(app: App, facts: HostFacts, progress: Progress) -> ImageBuilder:
    """An image builder for the places of this run."""
    from ftos.image.build import ImageBuilder
    from ftos.runtime.container import run_to_end
    from ftos.runtime.instances import in_use

    return ImageBuilder(
        places=app.places,
        catalog=app.catalog,
        facts=facts,
        runner=partial(run_to_end, app.places),
        progress=progress,
        in_use=lambda: in_use(app.places)[0],
    )


def store(app: App) -> Store:
    """The store of this run; what running containers need is kept."""
    from ftos.image.store import Store
    from ftos.runtime.instances import in_use

    return Store(app.places, lambda: in_use(app.places)[0])


def launched(app: App) -> dict[str, BuiltImage]:
    """Of each image in the store the build that a launch takes now, by name."""
    images = quiet_builder(app)
    builds: dict[str, list[BuiltImage]] = {}
    for built in images.store.images():  # the newest first
        builds.setdefault(built.name, []).append(built)
    return {name: _choice(images, name, found) for name, found in builds.items()}


def _choice(images: ImageBuilder, name: str, builds: list[BuiltImage]) -> BuiltImage:
    """That by the recipe which the image is pinned to, or has now; else the first of `builds`."""
    from ftos.errors import FtosError

    hold = images.holds.get(name)
    try:
        digest = hold.recipe if hold.pinned and hold.recipe else images.recipe(images.catalog.image(name)).digest
    except FtosError:
        digest = ""
    return next((built for built in builds if built.digest == digest), builds[0])


def quiet_builder(app: App) -> ImageBuilder:
    """A builder for who only looks."""
    from ftos.cli.progress import LineProgress
    from ftos.host.facts import gather

    return builder(app, gather(app.catalog.host()), LineProgress())


def is_current(images: ImageBuilder, image: Image) -> bool:
    """Whether the store has the image by its present recipe."""
    from ftos.errors import FtosError

    try:
        return images.find(image) is not None
    except FtosError:
        return False  # its osbase or a key is missing, so it can't be built; building says why
