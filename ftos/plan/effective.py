# SPDX-License-Identifier: AGPL-3.0-or-later
"""What holds for a deployment in the end, value by value, and who said so: `ftos show --origin`.

Values come from the deployment, else the image, else its osbase, else the host, else FlyingTux itself; grants come from
the deployment alone. In: the records and the texts they were read from, the host's facts. Out: one `Value` for each.
Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from msgspec import to_builtins

from ftos.host.facts import DEFAULT, HostFacts
from ftos.plan.compile import DEFAULT_PROCESSES
from ftos.spec import yamltext
from ftos.spec.components import Components, resolve_components
from ftos.spec.defaults import READING, default_path
from ftos.spec.problems import Key
from ftos.spec.records import Deployment, Image, Osbase

BUILT_IN = DEFAULT
NONE = "none"


@dataclass(frozen=True, slots=True)
class Value:
    """`key` as a path of words; `value` in plain types; `origin` is FILE:LINE or words."""

    key: tuple[str, ...]
    value: object
    origin: str


class Source:
    """A descriptor's text, for finding the line of a key in it."""

    def __init__(self, path: Path, text: str | bytes) -> None:
        self.path = path
        self._root, _ = yamltext.compose(text)

    def line(self, key: Key) -> int | None:
        """The line where `key` is, None when it is not there."""
        node, line = self._root, None
        for part in key:
            if isinstance(node, yamltext.Mapping) and isinstance(part, str) and part in node.entries:
                line, node = node.entries[part].line, node.entries[part].node
            elif isinstance(node, yamltext.Sequence) and isinstance(part, int) and 0 <= part < len(node.items):
                node = node.items[part]
                line = node.line
            else:
                return None
        return line


Origin = tuple[str, Key]
"""A kind of descriptor, and where in it a value may be."""


def effective(
    deployment: Deployment,
    image: Image,
    osbase: Osbase,
    host: HostFacts,
    sources: Mapping[str, Source],
) -> list[Value]:
    """All effective values, in the order of the descriptors. sources: the texts by kind; `host` may be missing.

    Raises BadInput or Unsupported for an os-component that can't be had.
    """
    collected = _Collected(sources)
    _add_plain(collected, deployment, image)
    _add_environment(collected, image, osbase, resolve_components(image, osbase, host.values()))
    for name, setting in image.settings.items():
        value = deployment.settings.get(name, setting.default)
        key = ("settings", name)
        collected.add(key, value, ("deployment", key), ("image", (*key, "default")))
    for name in dict.fromkeys((*image.os_services, *deployment.os_services)):
        _add_binding(collected, deployment, image, name)
    _add_volumes(collected, deployment, image)
    limits = deployment.limits
    for name, limit in (
        ("memory", limits.memory), ("pids", limits.pids or DEFAULT_PROCESSES), ("cpu-weight", limits.cpu_weight)
    ):  # fmt: skip
        collected.add(("limits", name), limit, ("deployment", ("limits", name)))
    collected.add(("autostart",), deployment.autostart, ("deployment", ("autostart",)))
    return collected.values + host_values(host, sources)


def host_values(host: HostFacts, sources: Mapping[str, Source]) -> list[Value]:
    """The host's facts, but for the mirrors. sources: `host` has the text of host.yml, if there is one."""
    collected = _Collected(sources)
    for name, value in {"owner": host.owner and host.owner.name, **host.values()}.items():
        known_as = "locale" if name == "language" else name
        otherwise = host.origins.get(known_as, BUILT_IN)
        collected.add(("host", name), value, ("host", (known_as,)), otherwise=otherwise)
    return collected.values


class _Collected:
    def __init__(self, sources: Mapping[str, Source]) -> None:
        self._sources = sources
        self.values: list[Value] = []

    def add(self, key: tuple[str, ...], value: object, *origins: Origin, otherwise: str = BUILT_IN) -> None:
        """Add a value, with the first of `origins` that is written somewhere."""
        self.values.append(Value(key, to_builtins(value), self._origin(origins) or otherwise))

    def _origin(self, origins: tuple[Origin, ...]) -> str | None:
        for kind, key in origins:
            source = self._sources.get(kind)
            line = source.line(key) if source else None
            if source and line is not None:
                return f"{source.path}:{line}"
        return None


def _add_plain(collected: _Collected, deployment: Deployment, image: Image) -> None:
    for name in ("name", "id", "image"):
        collected.add((name,), getattr(deployment, name), ("deployment", (name,)))
    for name in (
        "title", "version", "osbase", "os-components", "packages", "command", "working-directory", "writable-root"
    ):  # fmt: skip
        collected.add((name,), getattr(image, name.replace("-", "_")), ("image", (name,)))


def _add_environment(collected: _Collected, image: Image, osbase: Osbase, components: Components) -> None:
    """What others than FlyingTux itself put there: the osbase, then its os-components, then the image."""
    for name in dict.fromkeys((*osbase.environment, *components.environment, *image.environment)):
        key = ("environment", name)
        if name in image.environment:
            collected.add(key, image.environment[name], ("image", key))
        elif name in components.environment:
            collected.add(key, components.environment[name], ("osbase", components.origins[name]))
        else:
            collected.add(key, osbase.environment[name], ("osbase", key))


def _add_binding(collected: _Collected, deployment: Deployment, image: Image, name: str) -> None:
    request, binding = image.os_services.get(name), deployment.os_services.get(name)
    key = ("os-services", name)
    interface = (request.interface if request else None) or name
    collected.add((*key, "interface"), interface, ("image", (*key, "interface")), ("image", key), ("deployment", key))
    collected.add((*key, "instance"), binding.instance if binding else NONE, ("deployment", (*key, "instance")))
    if binding is None or binding.instance == NONE:
        return
    is_directory = interface == "user-dir"
    rights = READING if binding.rights is None and is_directory else binding.rights
    if rights is not None:
        collected.add((*key, "rights"), rights, ("deployment", (*key, "rights")))
    path = binding.path or (request.path if request else None) or (default_path(name) if is_directory else None)
    if path:
        collected.add((*key, "path"), path, ("deployment", (*key, "path")), ("image", (*key, "path")))
    for field in ("scope", "default", "enforcement", "egress"):
        if value := getattr(binding, field):
            collected.add((*key, field), value, ("deployment", (*key, field)))


def _add_volumes(collected: _Collected, deployment: Deployment, image: Image) -> None:
    chosen = {volume.name: (index, volume) for index, volume in enumerate(deployment.volumes)}
    for index, volume in enumerate(image.volumes):
        key, there = ("volumes", volume.name), ("volumes", index)
        collected.add((*key, "class"), volume.volume_class, ("image", (*there, "class")))
        collected.add((*key, "path"), volume.path, ("image", (*there, "path")))
        own, choice = chosen.get(volume.name, (-1, None))
        here = ("volumes", own)
        quota = choice.quota if choice and choice.quota else volume.quota
        if quota:
            collected.add((*key, "quota"), quota, ("deployment", (*here, "quota")), ("image", (*there, "quota")))
        if volume.ttl:
            collected.add((*key, "ttl"), volume.ttl, ("image", (*there, "ttl")))
        if volume.volume_class in ("data", "settings"):
            backup = choice.backup if choice else True
            collected.add((*key, "backup"), backup, ("deployment", (*here, "backup")))
