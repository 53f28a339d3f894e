# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos service ...`."""

from __future__ import annotations

from ftos.cli.lazy import LazyGroup, Verb

command = LazyGroup(
    "service",
    prefix="ftos.cli.verbs.service_",
    verbs=(Verb("list", "List service instances and who uses them"),),
    help="List service instances.",
)
