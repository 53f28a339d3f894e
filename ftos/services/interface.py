# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an interface and a provider are: the forms which the modules of this package fill in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ftos.plan.records import Directives
from ftos.spec.records import Binding, Request, Service


@dataclass(frozen=True, slots=True)
class Binder:
    """One binding with all that resolving it may need."""

    where: str
    """For messages: deployment and key."""
    name: str
    """Of the request in the image."""
    request: Request
    binding: Binding
    services: Mapping[str, Service]
    owner: tuple[int, int, str] | None
    """uid, gid and home of the owner's account."""


@dataclass(frozen=True, slots=True)
class Provider:
    """A built-in implementation. `settings`: name → type; `required`: those that have no default."""

    title: str
    resolve: Callable[[Binder, Service], Directives]
    settings: Mapping[str, type] = field(default_factory=dict)
    required: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Interface:
    """A kind of os-service. `empty` makes the reserved instance of that name: present, but nothing in it."""

    title: str
    providers: Mapping[str, Provider]
    empty: Callable[[Binder], Directives]
