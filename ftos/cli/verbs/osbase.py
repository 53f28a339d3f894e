# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos osbase ...`."""

from __future__ import annotations

from ftos.cli.lazy import LazyGroup, Verb

command = LazyGroup(
    "osbase",
    prefix="ftos.cli.verbs.osbase_",
    verbs=(
        Verb("list", "List what images can be built on"),
        Verb("show", "Show an osbase and what its os-components mean here"),
    ),
    help="List osbases and their os-components.",
)
