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


def newest(app: App) -> dict[str, BuiltImage]:
    """The newest build of each image in the store, by name."""
    found: dict[str, BuiltImage] = {}
    for built in store(app).images():
        found.setdefault(built.name, built)
    return found


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
