# SPDX-License-Identifier: AGPL-3.0-or-later
"""What descriptors must be to each other: an image to its osbase, a deployment to its image and to the services.

Pure: records in, findings out, each with its key in the first record. `ftos.spec.load.locate` gives them their lines.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ftos.errors import Unsupported, quote
from ftos.spec.checks import RESERVED_INSTANCES, is_same_type
from ftos.spec.components import resolve
from ftos.spec.problems import Finding, Key, did_you_mean
from ftos.spec.records import Binding, Deployment, Image, Osbase, Service


def check_image(image: Image, osbase: Osbase, facts: Mapping[str, str]) -> list[Finding]:
    """What the image asks of its osbase in vain.

    A warning where the osbase is deprecated, and for an os-component that a host with these facts
    (`HostFacts.values`) can't have: another may.
    """
    findings = [
        Finding(
            ("os-components", number),
            f"{quote(osbase.name)} has no os-component {quote(name)}",
            did_you_mean(name, osbase.os_components) or _known(osbase.os_components),
        )
        for number, name in enumerate(image.os_components)
        if name not in osbase.os_components
    ]
    for number, name in enumerate(image.os_components):
        if name in osbase.os_components:
            try:
                resolve([name], osbase, facts)
            except Unsupported as error:
                findings.append(Finding(("os-components", number), error.message, error.hint, warning=True))
    if osbase.status != "supported":
        hint = f"its successor is {osbase.successor}" if osbase.successor else ""
        retired = osbase.status == "retired"
        findings.append(Finding(("osbase",), f"the osbase {quote(osbase.name)} is {osbase.status}", hint, not retired))
    return findings


def check_deployment(deployment: Deployment, image: Image, services: Mapping[str, Service]) -> list[Finding]:
    """What the deployment says of things that its image or the device does not have.

    services: all service instances by name. A required os-service that is not granted is a warning: the owner may.
    """
    return [
        *_settings(deployment, image),
        *_bindings(deployment, image, services),
        *_not_granted(deployment, image),
        *_volumes(deployment, image),
    ]


def unanswered_requests(deployment: Deployment, image: Image) -> list[str]:
    """What the image asks for and the deployment says nothing of: it is `none`. `ftos deploy` answers all there is, so
    these came with a newer version of the image."""
    return [name for name in image.os_services if name not in deployment.os_services]


def _settings(deployment: Deployment, image: Image) -> Iterator[Finding]:
    for name, value in deployment.settings.items():
        key: Key = ("settings", name)
        setting = image.settings.get(name)
        if setting is None:
            hint = did_you_mean(name, image.settings) or _known(image.settings)
            yield Finding(key, f"the image has no setting {quote(name)}", hint)
        elif not is_same_type(value, setting.default):
            hint = f"the default is {quote(setting.default, 40)}"
            yield Finding(key, f"{quote(value, 40)} is of another type than the setting", hint)
        elif setting.choices and value not in setting.choices:
            choices = [str(choice) for choice in setting.choices]
            hint = did_you_mean(str(value), choices) or f"one of: {', '.join(quote(choice, 40) for choice in choices)}"
            yield Finding(key, f"{quote(value, 40)} is not a choice of the setting", hint)


def _bindings(deployment: Deployment, image: Image, services: Mapping[str, Service]) -> Iterator[Finding]:
    for name, binding in deployment.os_services.items():
        key: Key = ("os-services", name)
        request = image.os_services.get(name)
        if request is None:
            hint = did_you_mean(name, image.os_services) or _known(image.os_services)
            yield Finding(key, f"the image does not ask for an os-service {quote(name)}", hint)
            continue
        interface = request.interface or name
        if interface != "network":
            yield from _network_only(key, binding, interface)
        if binding.instance in RESERVED_INSTANCES:
            continue
        service = services.get(binding.instance)
        if service is None:
            fitting = [other.name for other in services.values() if other.interface == interface]
            hint = did_you_mean(binding.instance, services) or _known([*RESERVED_INSTANCES, *fitting])
            yield Finding((*key, "instance"), f"there is no service instance {quote(binding.instance)}", hint)
        elif service.interface != interface:
            message = f"{quote(service.name)} is of interface {service.interface}, the image asks for {interface}"
            yield Finding((*key, "instance"), message)


def _network_only(key: Key, binding: Binding, interface: str) -> Iterator[Finding]:
    for field, present in (
        ("default", binding.default is not None),
        ("enforcement", binding.enforcement is not None),
        ("egress", bool(binding.egress)),
    ):
        if present:
            yield Finding((*key, field), f"`{field}` is for networks only, this is of interface {interface}")


def _not_granted(deployment: Deployment, image: Image) -> Iterator[Finding]:
    for name, request in image.os_services.items():
        binding = deployment.os_services.get(name)
        if request.required and (binding is None or binding.instance == "none"):
            key: Key = ("os-services", name) if binding is None else ("os-services", name, "instance")
            message = f"the image needs the os-service {quote(name)}, and it is not granted"
            yield Finding(key, message, f"the image says: {request.reason}", warning=True)


def _volumes(deployment: Deployment, image: Image) -> Iterator[Finding]:
    known = [volume.name for volume in image.volumes]
    for number, volume in enumerate(deployment.volumes):
        if volume.name not in known:
            hint = did_you_mean(volume.name, known) or _known(known)
            yield Finding(("volumes", number, "name"), f"the image has no volume {quote(volume.name)}", hint)


def _known(names: Mapping[str, object] | list[str]) -> str:
    return f"known: {', '.join(names)}" if names else ""
