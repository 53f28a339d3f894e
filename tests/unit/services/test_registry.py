# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bindings resolved: what is granted, and each reason to refuse."""

from __future__ import annotations

import pytest

from ftos.errors import BadInput, FtosError, NotFound, Unsupported
from ftos.plan.records import Directives
from ftos.services.registry import INTERFACES, check_service, resolve_all
from ftos.spec.records import Binding, Deployment, Destination, EgressRule, Image, Request, Scalar, Service

OWNER = (1001, 1002, "/home/alex")


def service(
    name: str = "papers", interface: str = "user-dir", provider: str = "directory", **settings: Scalar
) -> Service:
    chosen = settings or ({"path": "/srv/papers"} if provider == "directory" else {})
    return Service(kind="service", schema=1, name=name, interface=interface, provider=provider, settings=chosen)


SERVICES = {
    s.name: s
    for s in (service(), service("host-shared", "network", "host-shared"), service("gps", "location", "fixed"))
}


def resolve(name: str, binding: Binding, request: Request | None = None) -> dict[str, Directives]:
    """One binding of `name`, which the image asks for unless `request` is None and the name is unknown."""
    requests = {"papers": Request(interface="user-dir", reason="x"), "network": Request(reason="x")}
    if request is not None:
        requests[name] = request
    image = Image(
        kind="image", schema=1, name="i", title="I", version="1", osbase="a/b", command=("x",), os_services=requests
    )
    deployment = Deployment(
        kind="deployment", schema=1, name="notes", id="d-0000000a", image="i", os_services={name: binding}
    )
    return resolve_all(deployment, image, SERVICES, OWNER)


LOCATION = Request(interface="location", reason="x")
EGRESS = (EgressRule(to=Destination(domain="example.org")),)
REFUSED: list[tuple[type[FtosError], str, str, str, Binding, Request | None]] = [
    (
        BadInput,
        "notes: os-services.other: the image does not ask for it",
        "ftos unbind notes other",
        "other",
        Binding(instance="papers"),
        None,
    ),
    (
        Unsupported,
        "notes: os-services.location: this ftos has no provider of the interface 'location'",
        "bind it to none: ftos unbind notes location",
        "location",
        Binding(instance="gps"),
        LOCATION,
    ),
    *(
        (
            Unsupported,
            f"notes: os-services.network.{word}: this ftos can't enforce it for the interface network",
            "what can't be enforced is not granted: remove it, or bind to none",
            "network",
            binding,
            None,
        )
        for word, binding in (
            ("scope", Binding(instance="host-shared", scope={"accuracy": "city"})),
            ("egress", Binding(instance="host-shared", egress=EGRESS)),
            ("enforcement", Binding(instance="host-shared", enforcement="audit")),
        )
    ),
    (
        Unsupported,
        "notes: os-services.network.default: this ftos has no firewall for 'host-shared'",
        "bind to none",
        "network",
        Binding(instance="host-shared", default="deny"),
        None,
    ),
    (
        NotFound,
        "notes: os-services.papers: there is no service instance 'paper'",
        "see: ftos service list",
        "papers",
        Binding(instance="paper"),
        None,
    ),
    (
        BadInput,
        "notes: os-services.papers: 'host-shared' is of interface network, not user-dir",
        "",
        "papers",
        Binding(instance="host-shared"),
        None,
    ),
]


@pytest.mark.parametrize(("kind", "message", "hint", "name", "binding", "request_"), REFUSED)
def test_a_binding_that_can_not_be_kept_is_refused(
    kind: type[FtosError], message: str, hint: str, name: str, binding: Binding, request_: Request | None
) -> None:
    with pytest.raises(kind) as caught:
        resolve(name, binding, request_)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_none_grants_nothing_whatever_else_is_written() -> None:
    assert resolve("network", Binding(instance="none", egress=EGRESS, default="deny")) == {}


def test_a_binding_is_resolved_under_the_name_of_its_request() -> None:
    assert list(resolve("papers", Binding(instance="papers"))) == ["papers"]


@pytest.mark.parametrize("name", ["papers", "network"])
def test_empty_is_there_for_every_interface_and_shows_nothing_of_the_host(name: str) -> None:
    directives = resolve(name, Binding(instance="empty"))[name]
    assert not directives.shared
    assert [mount.source for mount in directives.mounts if mount.source] == []


BAD_SERVICES: list[tuple[type[FtosError], str, str, Service]] = [
    (
        Unsupported,
        "service 'papers': this ftos does not know the interface 'location'",
        f"known are {', '.join(INTERFACES)}",
        service(interface="location"),
    ),
    (
        BadInput,
        "service 'papers': user-dir has no provider 'cloud'",
        "known are directory",
        service(provider="cloud"),
    ),
    (
        BadInput,
        "service 'papers': unknown setting 'pth'",
        "known are: path, uid, gid",
        service(path="/srv", pth="/srv"),
    ),
    (
        BadInput,
        "service 'papers': unknown setting 'port'",
        "known are: none",
        service("papers", "network", "host-shared", port=1),
    ),
    (BadInput, "service 'papers': settings.path must be str", "", service(path=5)),
    (BadInput, "service 'papers': settings.uid must be int", "", service(path="/srv", uid="1000")),
    (BadInput, "service 'papers': settings.uid must be int", "", service(path="/srv", uid=True)),
    (BadInput, "service 'papers': settings.path is missing", "", service(uid=1000, gid=1000)),
]


@pytest.mark.parametrize(("kind", "message", "hint", "wrong"), BAD_SERVICES)
def test_a_wrong_service_instance_is_refused(kind: type[FtosError], message: str, hint: str, wrong: Service) -> None:
    with pytest.raises(kind) as caught:
        check_service(wrong)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_right_service_instances_are_accepted() -> None:
    check_service(service())
    check_service(service(path="~/x", uid=1000, gid=1000))
    check_service(SERVICES["host-shared"])


def test_every_provider_requires_only_settings_that_it_has() -> None:
    for interface in INTERFACES.values():
        for provider in interface.providers.values():
            assert set(provider.required) <= set(provider.settings)
