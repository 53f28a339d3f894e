# SPDX-License-Identifier: AGPL-3.0-or-later
"""The deployments of tests/golden, compiled: image.yml and deployment.yml of a case, one host around all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ftos.host.facts import HostFacts
from ftos.plan.compile import LaunchContext, compile_plan
from ftos.plan.encode import encode
from ftos.plan.layer import render_layer
from ftos.plan.records import LaunchPlan, LayerEntry
from ftos.plan.seccomp import compile_policy
from ftos.services.registry import resolve_all
from ftos.spec.load import load_as
from ftos.spec.records import Deployment, Image, Osbase, Service

GOLDEN = Path(__file__).parents[2] / "golden"
CASES = tuple(sorted(path.parent.name for path in GOLDEN.glob("*/image.yml")))
OWNER = (1001, 1002, "/home/alex")
ID_BASE = 0x70000000
HOST = HostFacts("x86_64", "virtio-gpu", "en_GB.UTF-8", "Europe/Berlin", None).values()


@dataclass(frozen=True)
class Case:
    image: Image
    deployment: Deployment
    layer: tuple[LayerEntry, ...]
    plan: LaunchPlan


@cache
def load(name: str) -> Case:
    """The case in tests/golden/NAME, from its descriptors to plan and configuration layer."""
    image = load_as(GOLDEN / name / "image.yml", Image)
    deployment = load_as(GOLDEN / name / "deployment.yml", Deployment)
    return build(image, deployment)


def build(image: Image, deployment: Deployment) -> Case:
    """Plan and layer of a deployment on the host of all cases."""
    services = {s.name: s for s in (load_as(path, Service) for path in sorted((GOLDEN / "services").iterdir()))}
    directives = resolve_all(deployment, image, services, OWNER)
    context = LaunchContext(
        tree=Path("/store/trees/probe"),
        layer=Path("/state/layers/d-0000000a/digest"),
        volumes=Path("/volumes/d-0000000a"),
        id_base=ID_BASE,
        facts=HOST,
    )
    plan = compile_plan(deployment, image, load_as(GOLDEN / "osbase.yml", Osbase), directives, context)
    layer = render_layer(deployment, image, HOST, list(directives.values()), deployment.name)
    return Case(image, deployment, layer, plan)


def encoded(plan: LaunchPlan) -> bytes:
    """Plan bytes with the filter of the plan's policy for x86_64, whatever this machine is."""
    return encode(plan, compile_policy(plan.seccomp, "x86_64"))
