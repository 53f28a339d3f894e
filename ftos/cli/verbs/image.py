# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos image ...`."""

from __future__ import annotations

from ftos.cli.lazy import LazyGroup, Verb

command = LazyGroup(
    "image",
    prefix="ftos.cli.verbs.image_",
    verbs=(
        Verb("build", "Build images that are not built, or changed since"),
        Verb("list", "List the images, built and not built"),
        Verb("show", "Show an image and the packages in it"),
        Verb("history", "Show the builds of an image, newest first, and what changed from one to the next"),
        Verb("update", "Update images to the newest packages of their osbase"),
        Verb("rollback", "Let an image be what it was before its last update"),
        Verb("pin", "Keep updates away from images"),
        Verb("unpin", "Let images be updated again"),
        Verb("purge", "Remove built images; no data is lost"),
    ),
    help="Build, list and purge images.",
)
