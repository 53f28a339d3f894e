# SPDX-License-Identifier: AGPL-3.0-or-later
"""What os-components mean on a host: packages, commands and environment, by the host's facts.

In: names of os-components, their osbase, the facts (`ftos.host.facts.HostFacts.values`). Out: `Components`. The same
resolution decides what is built, what environment an app gets, and what `ftos osbase show` tells. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from ftos.errors import BadInput, Unsupported, quote
from ftos.spec.problems import Key, did_you_mean
from ftos.spec.records import Choice, Image, Osbase, OsComponent
from ftos.spec.template import references, render


class Components(Struct, frozen=True, kw_only=True):
    """Os-components as resolved for one host."""

    names: tuple[str, ...] = ()
    """Those asked for and all that they depend on, each after those it depends on."""
    packages: tuple[str, ...] = ()
    """Sorted, each once."""
    commands: tuple[tuple[str, ...], ...] = ()
    """In the order of the names, host facts filled in."""
    environment: dict[str, str] = {}
    """Host facts filled in; of two components with one variable, the one whose name is later wins."""
    origins: dict[str, Key] = {}
    """Variable of the environment → its key in the osbase."""


def selected_fact(component: OsComponent) -> str | None:
    """`gpu` where `select` is `${host.gpu}`; None where nothing is selected."""
    return next(((name or "").removeprefix("host.") for name in references(component.select or "")), None)


def resolve(names: Sequence[str], osbase: Osbase, facts: Mapping[str, str]) -> Components:
    """The os-components `names` and those they depend on. The order of `names` does not matter.

    Raises BadInput when the osbase has no such component, Unsupported when it can't be had with these facts.
    """
    found: list[str] = []
    packages: set[str] = set()
    commands: list[tuple[str, ...]] = []
    environment: dict[str, str] = {}
    origins: dict[str, Key] = {}
    values = {f"host.{name}": value for name, value in facts.items()}

    def add(name: str, above: tuple[str, ...]) -> None:
        if name in found or name in above:
            return
        parts = list(_parts(name, osbase, facts))
        for _, part in parts:
            for other in part.depends:
                add(other, (*above, name))
        found.append(name)
        for key, part in parts:
            packages.update(part.packages)
            commands.extend(tuple(render(word, values) for word in command) for command in part.commands)
            environment.update({variable: render(text, values) for variable, text in part.environment.items()})
            origins.update({variable: (*key, "environment", variable) for variable in part.environment})

    for name in sorted(names):
        add(name, ())
    return Components(
        names=tuple(found),
        packages=tuple(sorted(packages)),
        commands=tuple(commands),
        environment=environment,
        origins=origins,
    )


def resolve_components(image: Image, osbase: Osbase, facts: Mapping[str, str]) -> Components:
    """As `resolve`, for the os-components of an image, which errors name."""
    try:
        return resolve(image.os_components, osbase, facts)
    except (BadInput, Unsupported) as error:
        raise type(error)(f"image {quote(image.name)}: {error.message}", error.hint) from None


def _parts(name: str, osbase: Osbase, facts: Mapping[str, str]) -> Iterator[tuple[Key, OsComponent | Choice]]:
    """The component itself, and what its choice adds; each with its key in the osbase."""
    component = osbase.os_components.get(name)
    if component is None:
        known = f"it has: {', '.join(sorted(osbase.os_components)) or 'none'}"
        hint = did_you_mean(name, osbase.os_components) or known
        raise BadInput(f"the osbase {osbase.name} has no os-component {quote(name)}", hint)
    key: Key = ("os-components", name)
    yield key, component
    fact = selected_fact(component)
    if fact is None:
        return
    value = facts[fact]
    if value in component.choice:
        yield (*key, "choice", value), component.choice[value]
    elif component.default is not None:
        yield (*key, "default"), component.default
    else:
        message = f"the os-component {quote(name)} of {osbase.name} can't be had on this host: its {fact} is "
        hint = f"it is there for: {', '.join(sorted(component.choice))}; `ftos host show` says where the fact is from"
        raise Unsupported(message + quote(value), hint)
