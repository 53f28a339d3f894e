# SPDX-License-Identifier: AGPL-3.0-or-later
"""Brings together what one launch needs: descriptors, facts, the image's tree, the id range; and prepares the disk.

`assemble` reads and computes (and gives the deployment its id range, if it has none yet), `prepared` writes volumes and
configuration layer. The same assembly serves a launch, `ftos explain` and `ftos plan`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ftos.errors import BadInput
from ftos.host import ids
from ftos.host.facts import HostFacts
from ftos.host.places import Places
from ftos.plan.compile import LaunchContext, compile_plan
from ftos.plan.layer import render_layer
from ftos.plan.records import LaunchPlan, LayerEntry
from ftos.runtime import layers
from ftos.runtime.instances import InstanceRecord, in_use
from ftos.runtime.located import located
from ftos.services.registry import resolve_all
from ftos.spec.catalog import Catalog
from ftos.spec.checks import RESERVED_INSTANCES
from ftos.spec.records import Deployment, Image
from ftos.volumes import prepare as volumes

NOT_BUILT = "not-built"
"""Stands for the commit in the plan of an image that is not in the store."""


class Assembly(msgspec.Struct, frozen=True, kw_only=True):
    deployment: Deployment
    image: Image
    commit: str
    tree: Path
    layer: Path
    entries: tuple[LayerEntry, ...]
    plan: LaunchPlan


def assemble(
    places: Places, catalog: Catalog, facts: HostFacts, deployment: Deployment, commit: str, tree: Path
) -> Assembly:
    """Everything for a launch of `deployment` from the image's `tree`. Raises what reading and resolving raise."""
    other = catalog.same_id(deployment)
    if other is not None:
        raise BadInput(
            f"{deployment.name} and {other} have the same id {deployment.id}, so they would share all data",
            "give the newer one an id of its own",
        )
    image = catalog.image(deployment.image)
    owner = (facts.owner.uid, facts.owner.gid, str(facts.owner.home)) if facts.owner else None
    bound = any(binding.instance not in RESERVED_INSTANCES for binding in deployment.os_services.values())
    services = located(catalog.services() if bound else (), owner[2] if owner else None)
    directives = resolve_all(deployment, image, services, owner)
    entries = render_layer(deployment, image, facts.values(), list(directives.values()), deployment.name)
    layer = layers.layer_path(places, deployment.id, tree, entries)
    context = LaunchContext(
        tree=tree,
        layer=layer,
        volumes=volumes.directory(places, deployment.id),
        id_base=ids.allocate(places, deployment.id),
        facts=facts.values(),
    )
    plan = compile_plan(deployment, image, catalog.osbase(image.osbase), directives, context)
    return Assembly(
        deployment=deployment, image=image, commit=commit, tree=tree, layer=layer, entries=entries, plan=plan
    )


@contextmanager
def prepared(places: Places, assembly: Assembly) -> Iterator[InstanceRecord]:
    """Write what the launch needs on the disk; the record of the instance to be.

    Launch within: until the instance's record is there, nobody else removes what was written.
    """
    volumes.prepare(places, assembly.deployment.id, assembly.image.volumes)
    record = InstanceRecord(
        deployment=assembly.deployment.name,
        id=assembly.deployment.id,
        image=assembly.image.name,
        commit=assembly.commit,
        layer=str(assembly.layer),
        environment=assembly.plan.environment,
        working_directory=assembly.plan.working_directory,
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
    )
    with layers.materialised(assembly.layer, assembly.tree, assembly.entries, lambda: in_use(places)[1]):
        yield record
