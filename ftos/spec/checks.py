# SPDX-License-Identifier: AGPL-3.0-or-later
"""What several values of one descriptor must be to each other. Pure; what concerns several files is in `cross`.

Every check yields `Finding`s, with the key of the value that is wrong. A record may have placeholders where the text
was wrong (see `walk`), so no check relies on a pattern.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterator, Mapping, Sequence

from ftos.errors import quote
from ftos.spec.components import selected_fact
from ftos.spec.paths import is_below, same_path
from ftos.spec.problems import Finding, Key, did_you_mean
from ftos.spec.records import (
    Binding,
    Choice,
    Deployment,
    Descriptor,
    EgressRule,
    File,
    Host,
    Image,
    Link,
    Osbase,
    OsComponent,
    Request,
    Right,
    Scalar,
    Service,
    Volume,
)
from ftos.spec.template import DEPLOYMENT_NAME, HOST_FACTS, references

RESERVED_INSTANCES = ("none", "empty")
"""Service instances which exist for every interface and are nobody's file."""

_HOST = tuple(f"host.{fact}" for fact in HOST_FACTS)
_KERNEL = ("/proc", "/sys", "/dev")
_SYSTEM = ("/usr", "/etc", "/run", "/tmp", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
_PRIVATE = ("/home/app", "/tmp", "/var/tmp", "/run/user/1000")
_WRITING: tuple[Right, ...] = ("write", "create", "delete", "mkdir", "rmdir")


def check(record: Descriptor) -> list[Finding]:
    """All that is wrong in a record beyond the form of single values."""
    match record:
        case Osbase():
            return list(_osbase(record))
        case Image():
            return list(_image(record))
        case Service():
            return list(_service(record))
        case Deployment():
            return list(_deployment(record))
        case Host():
            return []


def is_same_type(value: Scalar, other: Scalar) -> bool:
    """Whether two settings are of one type; whole numbers and others are both numbers, true and false are not."""
    return _type_name(value) == _type_name(other)


def _type_name(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true or false"
    return "text" if isinstance(value, str) else "a number"


# --- osbase ---------------------------------------------------------------------------------------------------------


def _osbase(osbase: Osbase) -> Iterator[Finding]:
    if osbase.successor == osbase.name:
        yield Finding(("successor",), "an osbase can't be its own successor")
    yield from _twice(("keys",), osbase.keys)
    yield from _twice(("base-packages",), osbase.base_packages)
    yield from _post_clean(osbase.post_clean)
    for name, component in osbase.os_components.items():
        yield from _component(("os-components", name), component)
        for key, part in _parts(("os-components", name), component):
            yield from _component_part(key, part, osbase)
            if any(name in {other, *_needed(osbase, other)} for other in part.depends):
                yield Finding((*key, "depends"), f"the os-component {quote(name)} depends on itself")


def _component(key: Key, component: OsComponent) -> Iterator[Finding]:
    """What selects, and what there is to be selected from."""
    fact = selected_fact(component)
    if fact is None:
        for field, there in (("choice", component.choice), ("default", component.default)):
            if there:
                yield Finding((*key, field), f"there is a `{field}`, but no `select`", "as  select: ${host.gpu}")
    elif fact not in HOST_FACTS:
        hint = did_you_mean(fact, HOST_FACTS) or f"known: {', '.join(HOST_FACTS)}"
        yield Finding((*key, "select"), f"there is no host fact {quote(fact)}", hint)
    elif not component.choice:
        yield Finding((*key, "select"), "there is a `select`, but no `choice`")


def _parts(key: Key, component: OsComponent) -> Iterator[tuple[Key, OsComponent | Choice]]:
    """A component itself and all that may be added to it, each with its key."""
    yield key, component
    for value, choice in component.choice.items():
        yield (*key, "choice", value), choice
    if component.default is not None:
        yield (*key, "default"), component.default


def _component_part(key: Key, part: OsComponent | Choice, osbase: Osbase) -> Iterator[Finding]:
    yield from _twice((*key, "packages"), part.packages)
    for number, other in enumerate(part.depends):
        if other not in osbase.os_components:
            hint = did_you_mean(other, osbase.os_components)
            yield Finding((*key, "depends", number), f"there is no os-component {quote(other)}", hint)
    for number, command in enumerate(part.commands):
        if command and not command[0]:
            yield Finding((*key, "commands", number, 0), "the program's name is empty")
        for position, word in enumerate(command):
            yield from _template((*key, "commands", number, position), word, _HOST)
    for variable, text in part.environment.items():
        yield from _template((*key, "environment", variable), text, _HOST)


def _needed(osbase: Osbase, name: str) -> set[str]:
    """The components which `name` may depend on, directly or not, whatever is chosen."""
    found: set[str] = set()
    todo = [name]
    while todo:
        component = osbase.os_components.get(todo.pop())
        parts = _parts((), component) if component else ()
        new = {other for _, part in parts for other in part.depends} - found
        found |= new
        todo += new
    return found


# --- image ----------------------------------------------------------------------------------------------------------


def _image(image: Image) -> Iterator[Finding]:
    yield from _twice(("os-components",), image.os_components)
    yield from _twice(("packages",), image.packages)
    yield from _post_clean(image.post_clean)
    if image.command and not image.command[0]:
        yield Finding(("command", 0), "the program's name is empty")
    for name, setting in image.settings.items():
        yield from _choices(("settings", name), setting.default, setting.choices)
    yield from _laid_over(image)
    for name, request in image.os_services.items():
        yield from _rights(("os-services", name, "rights"), request.rights)
    yield from _volumes(image.volumes)
    yield from _service_paths(image.os_services, image.volumes)


def _post_clean(paths: Sequence[str]) -> Iterator[Finding]:
    yield from _twice(("post-clean",), [same_path(path) for path in paths])
    for number, path in enumerate(paths):
        if same_path(path) == "/" or _kernel_directory(path):
            yield Finding(("post-clean", number), f"{quote(path)} can't be removed from an image")


def _choices(key: Key, default: Scalar, choices: Sequence[Scalar]) -> Iterator[Finding]:
    for number, choice in enumerate(choices):
        if not is_same_type(choice, choices[0]):
            message = f"choices must be of one type: this is {_type_name(choice)}, the first {_type_name(choices[0])}"
            yield Finding((*key, "choices", number), message)
    if choices and not any(choice == default and is_same_type(choice, default) for choice in choices):
        hint = f"one of: {', '.join(quote(choice, 40) for choice in choices[:20])}"
        yield Finding((*key, "default"), f"the default {quote(default, 40)} is not among the choices", hint)


def _laid_over(image: Image) -> Iterator[Finding]:
    """Files and links: no two at one place, none on the way to another, none where the kernel shows itself."""
    entries: list[tuple[Key, File | Link]] = [(("files", n), file) for n, file in enumerate(image.files)]
    entries += [(("links", n), link) for n, link in enumerate(image.links)]
    first: dict[str, Key] = {}
    for key, entry in entries:
        path = same_path(entry.path)
        if path in first:
            yield Finding((*key, "path"), f"{quote(path)} is there twice among files and links")
        first.setdefault(path, key)
        if directory := _kernel_directory(path):
            yield Finding((*key, "path"), f"nothing can be put below {directory}", "the kernel shows itself there")
        elif path == "/" or entry.path.endswith("/"):
            yield Finding((*key, "path"), f"{quote(entry.path)} names a directory")
        if isinstance(entry, File):
            yield from _template((*key, "content"), entry.content, (DEPLOYMENT_NAME, *_HOST), image.settings)
    for key, entry in entries:
        parents = same_path(entry.path).split("/")
        for length in range(2, len(parents)):
            if (parent := "/".join(parents[:length])) in first:
                yield Finding((*key, "path"), f"{quote(entry.path)} lies below {quote(parent)}, which is no directory")
        if cover := _cover(entry.path, image.volumes):
            message = f"{quote(entry.path)} would be hidden by {cover}"
            yield Finding((*key, "path"), message, "put it where no volume or private directory is")


def _cover(path: str, volumes: Sequence[Volume]) -> str:
    """What is mounted over `path` at launch, or "". The innermost counts; a discard volume shows what the image has."""
    mounts = {directory: f"the app's private {directory}" for directory in _PRIVATE}
    mounts |= {
        same_path(volume.path): "" if volume.volume_class == "discard" else f"the volume {quote(volume.name)}"
        for volume in volumes
    }
    around = [mount for mount in mounts if is_below(path, mount)]
    return mounts[max(around, key=len)] if around else ""


def _template(
    key: Key, content: str, known: Sequence[str], settings: Collection[str] | None = None
) -> Iterator[Finding]:
    """References in a text. `known`: names that it may have; `settings`: those of the image, where it may have them."""
    for name in references(content):
        if name is None:
            yield Finding(key, "a '${' is not closed", "write $${ for a literal ${")
        elif settings is not None and name.startswith("settings."):
            setting = name.removeprefix("settings.")
            if setting not in settings:
                hint = did_you_mean(setting, settings) or "add it to `settings`"
                yield Finding(key, f"there is no setting {quote(setting)}", hint)
        elif name not in known:
            listed = ", ".join(known if settings is None else ("settings.NAME", *known))
            hint = did_you_mean(name, known) or f"known: {listed}; $${{ is a literal ${{"
            yield Finding(key, f"{quote('${' + name + '}')} is not known", hint)


def _volumes(volumes: Sequence[Volume]) -> Iterator[Finding]:
    yield from _twice(("volumes",), [volume.name for volume in volumes], "name")
    yield from _twice(("volumes",), [same_path(volume.path) for volume in volumes], "path")
    for number, volume in enumerate(volumes):
        yield from _mountable(("volumes", number, "path"), volume.path)
        if volume.ttl is not None and volume.volume_class != "cache":
            hint = "only what is in a cache can be made again"
            yield Finding(("volumes", number, "ttl"), f"a volume of class {volume.volume_class} has no ttl", hint)


def _service_paths(requests: Mapping[str, Request], volumes: Sequence[Volume]) -> Iterator[Finding]:
    taken = {same_path(volume.path): f"the volume {quote(volume.name)}" for volume in volumes}
    for name, request in requests.items():
        if request.path is not None:
            yield from _own_place(("os-services", name, "path"), name, request.path, taken)


# --- service --------------------------------------------------------------------------------------------------------


def _service(service: Service) -> Iterator[Finding]:
    if service.name in RESERVED_INSTANCES:
        yield Finding(("name",), f"the name {quote(service.name)} is reserved", "it exists for every interface")


# --- deployment -----------------------------------------------------------------------------------------------------


def _deployment(deployment: Deployment) -> Iterator[Finding]:
    yield from _twice(("volumes",), [volume.name for volume in deployment.volumes], "name")
    taken: dict[str, str] = {}
    for name, binding in deployment.os_services.items():
        key: Key = ("os-services", name)
        yield from _rights((*key, "rights"), binding.rights or ())
        if binding.path is not None:
            yield from _own_place((*key, "path"), name, binding.path, taken)
        yield from _egress(key, binding)


def _egress(key: Key, binding: Binding) -> Iterator[Finding]:
    for number, rule in enumerate(binding.egress):
        rule_key: Key = (*key, "egress", number)
        yield from _destination((*rule_key, "to"), rule)
        for position, ports in enumerate(rule.ports):
            low, _, high = ports.partition("/")[0].partition("-")
            if not (low.isdigit() and 1 <= int(low) <= int(high or low) <= 65535):
                hint = "ports go from 1 to 65535, the lower one first"
                yield Finding((*rule_key, "ports", position), f"{quote(ports)} is not a range of ports", hint)
        if rule.locked and rule.action != "deny":
            yield Finding((*rule_key, "locked"), "only a deny can be locked", "write action: deny")


def _destination(key: Key, rule: EgressRule) -> Iterator[Finding]:
    domain, cidr = rule.to.domain, rule.to.cidr
    if (domain is None) == (cidr is None):
        yield Finding(key, "exactly one of `domain` and `cidr` is needed")
    if cidr is not None:
        try:
            network = ipaddress.ip_network(cidr, strict=False)
        except ValueError:
            yield Finding((*key, "cidr"), f"{quote(cidr)} is not a range of addresses", "as 192.168.0.0/16 or fd00::/8")
        else:
            if "/" in cidr and str(network.network_address) != str(ipaddress.ip_address(cidr.partition("/")[0])):
                yield Finding((*key, "cidr"), f"{quote(cidr)} has bits behind its prefix", f"did you mean `{network}`?")
    if domain is not None and any(not 0 < len(label) <= 63 for label in domain.removeprefix("*.").split(".")):
        yield Finding((*key, "domain"), f"{quote(domain)} is not a domain name", "between dots are 1 to 63 characters")


# --- common ---------------------------------------------------------------------------------------------------------


def _twice(key: Key, values: Sequence[str], field: str = "") -> Iterator[Finding]:
    """A finding for every value that was there before; `field` is the key of the value in its list entry, if any."""
    seen: set[str] = set()
    for number, value in enumerate(values):
        if value in seen:
            what = f"the {field} {quote(value)}" if field else quote(value)
            yield Finding((*key, number, field) if field else (*key, number), f"{what} is there twice")
        seen.add(value)


def _rights(key: Key, rights: Sequence[Right]) -> Iterator[Finding]:
    yield from _twice(key, rights)
    if "create" in rights and "write" not in rights:
        yield Finding(key, "`create` needs `write`", "a new file that can't be written stays empty")
    if "dummy-write" in rights and (writing := [right for right in _WRITING if right in rights]):
        hint = "with dummy-write the app only believes that it writes"
        yield Finding(key, f"`dummy-write` excludes {', '.join(f'`{right}`' for right in writing)}", hint)


def _kernel_directory(path: str) -> str:
    """The one of /proc, /sys and /dev which the path is or lies below, or ""."""
    return next((directory for directory in _KERNEL if is_below(path, directory)), "")


def _mountable(key: Key, path: str) -> Iterator[Finding]:
    """Whether something may be mounted at `path` in an app's world."""
    if not path:
        return
    if directory := _kernel_directory(path):
        yield Finding(key, f"nothing can be mounted at or below {directory}", "the kernel shows itself there")
    elif same_path(path) == "/" or same_path(path) in _SYSTEM:
        hint = "take a directory below it"
        yield Finding(key, f"{quote(path)} belongs to the system and can't be mounted over", hint)


def _own_place(key: Key, name: str, path: str, taken: dict[str, str]) -> Iterator[Finding]:
    """Whether an os-service may appear at `path`; adds it to what is taken."""
    yield from _mountable(key, path)
    owner = taken.setdefault(same_path(path), f"the os-service {quote(name)}")
    if owner != f"the os-service {quote(name)}":
        yield Finding(key, f"{quote(path)} is taken by {owner}")
