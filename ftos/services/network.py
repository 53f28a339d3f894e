# SPDX-License-Identifier: AGPL-3.0-or-later
"""Interface `network`.

Without a binding (`none`) an app has a network namespace of its own with nothing but its loopback interface; `empty` is
the same: a network that is down. `host-shared` puts the app into the host's network: no firewall, the host's own
loopback services in reach. It is the loud one.
"""

from __future__ import annotations

from pathlib import Path

from ftos.plan.containers import host_bind
from ftos.plan.records import Directives, LayerEntry, MountFlag, Namespace
from ftos.services.interface import Binder, Interface, Provider
from ftos.spec.records import Service

RESOLVER = "/etc/resolv.conf"


def _host_shared(binder: Binder, service: Service) -> Directives:
    return Directives(
        shared=Namespace.NET,
        mounts=(host_bind(Path(RESOLVER), RESOLVER, MountFlag.FILE | MountFlag.OPTIONAL),),
        layer=(LayerEntry(path=RESOLVER, kind="file", mode=0o644),),
    )


INTERFACE = Interface(
    title="network",
    providers={"host-shared": Provider(title="the host's own network, unfiltered", resolve=_host_shared)},
    empty=lambda binder: Directives(),
)
