# SPDX-License-Identifier: AGPL-3.0-or-later
"""The network: nothing, or, loudly, the host's own."""

from __future__ import annotations

from ftos.plan.records import Directives, MountFlag, MountKind, Namespace
from ftos.services.interface import Binder
from ftos.services.network import INTERFACE
from ftos.spec.records import Binding, Request, Service

BINDER = Binder(
    where="notes: os-services.network",
    name="network",
    request=Request(reason="x"),
    binding=Binding(instance="host-shared"),
    services={},
    owner=None,
)
HOST_SHARED = Service(kind="service", schema=1, name="host-shared", interface="network", provider="host-shared")


def test_an_empty_network_shares_nothing() -> None:
    assert INTERFACE.empty(BINDER) == Directives()


def test_host_shared_gives_up_the_network_namespace_and_no_other() -> None:
    assert INTERFACE.providers["host-shared"].resolve(BINDER, HOST_SHARED).shared == Namespace.NET


def test_of_the_hosts_files_host_shared_shows_the_resolvers_addresses_alone_and_read_only() -> None:
    directives = INTERFACE.providers["host-shared"].resolve(BINDER, HOST_SHARED)
    (mount,) = directives.mounts
    assert (mount.kind, mount.source, mount.target) == (MountKind.BIND, "/etc/resolv.conf", "/etc/resolv.conf")
    assert mount.flags == MountFlag.READ_ONLY | MountFlag.FILE | MountFlag.OPTIONAL
    assert [(entry.path, entry.kind) for entry in directives.layer] == [("/etc/resolv.conf", "file")]


def test_it_has_no_settings() -> None:
    assert INTERFACE.providers["host-shared"].settings == {}
