# SPDX-License-Identifier: AGPL-3.0-or-later
"""The interfaces that FlyingTux knows and their built-in providers: a static table.

`resolve` turns one binding of a deployment into directives for its plan. It is pure. The reserved instances are handled
here: `none` contributes nothing; `empty` is what the interface says it is.
"""

from __future__ import annotations

from collections.abc import Mapping

from ftos.errors import BadInput, NotFound, Unsupported, quote
from ftos.plan.records import Directives
from ftos.services import network, user_dir
from ftos.services.interface import Binder, Interface
from ftos.spec.records import Binding, Deployment, Image, Request, Service

INTERFACES: Mapping[str, Interface] = {
    "user-dir": user_dir.INTERFACE,
    "network": network.INTERFACE,
}


def resolve_all(
    deployment: Deployment, image: Image, services: Mapping[str, Service], owner: tuple[int, int, str] | None
) -> dict[str, Directives]:
    """Directives of every binding, by the name of the request.

    services: all service instances by name. owner: uid, gid and home of the owner's account, if there is one.
    Raises BadInput, NotFound or Unsupported, naming the binding.
    """
    return {
        name: _resolve(deployment, name, binding, image.os_services.get(name), services, owner)
        for name, binding in deployment.os_services.items()
        if binding.instance != "none"
    }


def _resolve(
    deployment: Deployment,
    name: str,
    binding: Binding,
    request: Request | None,
    services: Mapping[str, Service],
    owner: tuple[int, int, str] | None,
) -> Directives:
    where = f"{deployment.name}: os-services.{name}"
    if request is None:
        raise BadInput(f"{where}: the image does not ask for it", f"ftos unbind {deployment.name} {name}")
    interface_name = request.interface or name
    interface = INTERFACES.get(interface_name)
    if interface is None:
        raise Unsupported(
            f"{where}: this ftos has no provider of the interface {quote(interface_name)}",
            f"bind it to none: ftos unbind {deployment.name} {name}",
        )
    for word, present in (("scope", binding.scope), ("egress", binding.egress), ("enforcement", binding.enforcement)):
        if present:
            raise Unsupported(
                f"{where}.{word}: this ftos can't enforce it for the interface {interface_name}",
                "what can't be enforced is not granted: remove it, or bind to none",
            )
    if binding.default == "deny":
        raise Unsupported(f"{where}.default: this ftos has no firewall for {quote(binding.instance)}", "bind to none")
    binder = Binder(where=where, name=name, request=request, binding=binding, services=services, owner=owner)
    if binding.instance == "empty":
        return interface.empty(binder)
    service = services.get(binding.instance)
    if service is None:
        raise NotFound(f"{where}: there is no service instance {quote(binding.instance)}", "see: ftos service list")
    if service.interface != interface_name:
        raise BadInput(f"{where}: {quote(service.name)} is of interface {service.interface}, not {interface_name}")
    check_service(service)
    return interface.providers[service.provider].resolve(binder, service)


def check_service(service: Service) -> None:
    """Raise BadInput or Unsupported when a service instance names what its interface does not have."""
    interface = INTERFACES.get(service.interface)
    if interface is None:
        raise Unsupported(
            f"service {quote(service.name)}: this ftos does not know the interface {quote(service.interface)}",
            f"known are {', '.join(INTERFACES)}",
        )
    provider = interface.providers.get(service.provider)
    if provider is None:
        raise BadInput(
            f"service {quote(service.name)}: {service.interface} has no provider {quote(service.provider)}",
            f"known are {', '.join(interface.providers)}",
        )
    for key, value in service.settings.items():
        wanted = provider.settings.get(key)
        if wanted is None:
            known = ", ".join(provider.settings) or "none"
            raise BadInput(f"service {quote(service.name)}: unknown setting {quote(key)}", f"known are: {known}")
        if type(value) is not wanted:
            raise BadInput(f"service {quote(service.name)}: settings.{key} must be {wanted.__name__}")
    missing = [key for key in provider.required if key not in service.settings]
    if missing:
        raise BadInput(f"service {quote(service.name)}: settings.{missing[0]} is missing")
