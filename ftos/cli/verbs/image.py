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
        Verb("sbom", "Print the bill of materials of a built image: CycloneDX 1.6"),
        Verb("export", "Write built images to a directory from which other devices pull them"),
        Verb("purge", "Remove built images; no data is lost"),
        Verb("gc", "Remove from store and cache what nothing names"),
        Verb("df", "Show what images take of the disk, and what sharing saves"),
        Verb("fsck", "Check store and package cache, and name what is damaged"),
        Verb("repair", "Remove what is damaged in store and package cache, and make it again"),
    ),
    help="Build, update, list, check and purge images.",
)
