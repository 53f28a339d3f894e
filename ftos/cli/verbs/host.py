# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos host ...`."""

from __future__ import annotations

from ftos.cli.lazy import LazyGroup, Verb

command = LazyGroup(
    "host",
    prefix="ftos.cli.verbs.host_",
    verbs=(Verb("show", "Show what is known about this device, and from where"),),
    help="Show facts of this device.",
)
