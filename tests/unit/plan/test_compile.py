# SPDX-License-Identifier: AGPL-3.0-or-later
"""From deployment to plan: order, places, grants. What whole plans look like is in test_golden."""

from __future__ import annotations

import re

import pytest
from msgspec.structs import replace

from ftos.errors import BadInput, Unsupported
from ftos.plan.records import ACCESS_READ, ACCESS_WRITE, LaunchPlan, Mount, MountFlag, MountKind, Namespace
from ftos.spec.records import Binding, Request, Right, Volume, VolumeClass
from tests.unit.plan.golden import CASES, Case, build, load

MINIMAL = load("minimal")
ALL: tuple[Right, ...] = ("list", "read", "write", "create", "delete", "mkdir", "rmdir")
SOME: tuple[Right, ...] = ("list", "read", "write", "create")


def volume(path: str, volume_class: VolumeClass = "data", quota: str | None = None) -> Volume:
    return Volume(name="some", volume_class=volume_class, path=path, quota=quota)


def with_volumes(*volumes: Volume) -> LaunchPlan:
    return build(replace(MINIMAL.image, volumes=volumes), MINIMAL.deployment).plan


def with_directories(*bindings: tuple[str, str, tuple[Right, ...]], writable_root: bool = False) -> LaunchPlan:
    """Bindings to user directories: instance, path, rights."""
    requests = {f"r{at}": Request(interface="user-dir", reason="x") for at, _ in enumerate(bindings)}
    bound = {
        f"r{at}": Binding(instance=instance, path=path, rights=rights)
        for at, (instance, path, rights) in enumerate(bindings)
    }
    image = replace(MINIMAL.image, os_services=requests, writable_root=writable_root)
    return build(image, replace(MINIMAL.deployment, os_services=bound)).plan


def mount_at(plan: LaunchPlan, target: str) -> Mount:
    (found,) = [mount for mount in plan.mounts if mount.target == target]
    return found


@pytest.mark.parametrize("case", CASES)
def test_outer_mounts_come_before_inner_ones(case: str) -> None:
    targets = [mount.target for mount in load(case).plan.mounts if mount.target]
    for at, target in enumerate(targets):
        assert not any(other.startswith(target + "/") for other in targets[:at])


@pytest.mark.parametrize("case", CASES)
def test_a_mount_point_is_made_exactly_where_another_mount_hides_the_image(case: str) -> None:
    mounts = [m for m in load(case).plan.mounts if m.kind in (MountKind.TMPFS, MountKind.BIND, MountKind.DISCARD)]
    for mount in mounts:
        inside = any(mount.target.startswith(other.target + "/") for other in mounts)
        assert bool(mount.flags & MountFlag.CREATE_TARGET) == inside


@pytest.mark.parametrize("case", CASES)
def test_nothing_of_the_host_is_shown_that_is_not_granted(case: str) -> None:
    granted: Case = load(case)
    kept = [v for v in granted.image.volumes if v.volume_class in ("data", "settings", "cache")]
    bound = [b for b in granted.deployment.os_services.values() if b.instance != "empty"]
    assert sum(m.kind is MountKind.BIND for m in granted.plan.mounts) == len(kept) + len(bound)


def test_a_request_without_a_binding_grants_nothing() -> None:
    asking = replace(MINIMAL.image, os_services=load("network").image.os_services)
    assert build(asking, MINIMAL.deployment).plan == MINIMAL.plan


def test_a_volume_takes_the_place_of_a_private_directory() -> None:
    assert mount_at(with_volumes(volume("/home/app")), "/home/app").kind is MountKind.BIND
    assert mount_at(with_volumes(volume("/var/tmp", "temp")), "/var/tmp").purpose.startswith("volume some (temp)")


def test_the_deployments_quota_wins_over_the_images() -> None:
    assert mount_at(load("volumes").plan, "/usr/share/fonts").size == 32 << 20
    assert mount_at(with_volumes(volume("/x", "temp", "1G")), "/x").size == 1 << 30
    assert mount_at(with_volumes(volume("/x", "discard")), "/x").size == 256 << 20


def test_two_things_at_one_place_are_refused() -> None:
    with pytest.raises(BadInput, match=r"^probe-one: two things want to be at /media/a$") as caught:
        with_directories(("documents", "/media/a", ALL), ("letters", "/media/a", ALL))
    assert caught.value.hint == "give one of them another path"


def test_two_spellings_of_one_place_are_one_place() -> None:
    with pytest.raises(BadInput, match="two things want to be at /media/a"):
        with_directories(("documents", "/media/a", ALL), ("letters", "/media/a/", ALL))


@pytest.mark.parametrize(
    ("outer", "bindings", "writable_root"),
    [
        ("/home/app", [("documents", "/home/app/Documents", SOME)], False),
        ("/tmp", [("documents", "/tmp/documents", SOME)], False),
        ("/media/a", [("documents", "/media/a", ALL), ("letters", "/media/a/b", SOME)], False),
        ("/media/a", [("documents", "/media/a", (*SOME, "delete")), ("letters", "/media/a/b", SOME)], False),
        ("/", [("documents", "/media/a", SOME)], True),
    ],
)
def test_partial_rights_are_refused_where_a_wider_rule_lies_around_them(
    outer: str, bindings: list[tuple[str, str, tuple[Right, ...]]], writable_root: bool
) -> None:
    """Landlock's rules add up on the way down, so the wider one would hold."""
    words = f"can't be kept apart at {bindings[-1][1]}: it lies in {outer}, which the app may write"
    with pytest.raises(Unsupported, match=re.escape(words)) as caught:
        with_directories(*bindings, writable_root=writable_root)
    assert "/media/documents" in caught.value.hint


def test_rights_that_fit_their_surroundings_are_granted() -> None:
    with_directories(("documents", "/media/a", SOME), ("letters", "/media/b", ALL))
    with_directories(("documents", "/media/a", SOME), ("letters", "/media/a/b", ALL))
    with_directories(("documents", "/media/a", SOME), ("letters", "/media/a/b", SOME))
    plan = with_directories(("documents", "/home/app/Documents", ("list", "read")), writable_root=True)
    assert mount_at(plan, "/home/app/Documents").flags & MountFlag.READ_ONLY


def test_only_what_can_be_written_has_a_writing_rule() -> None:
    for case in CASES:
        plan = load(case).plan
        writable = {m.target for m in plan.mounts if m.target and not m.flags & MountFlag.READ_ONLY} | {"/dev/shm"}
        if load(case).image.writable_root:
            writable.add("/")
        for rule in plan.landlock:
            assert rule.path in writable or not rule.access & (ACCESS_WRITE & ~ACCESS_READ), case


def test_the_environment_is_ours_then_the_osbases_then_the_components_then_the_images() -> None:
    settings, components = (dict(load(case).plan.environment) for case in ("settings", "components"))
    assert settings["HOME"] == "/home/app"
    assert settings["PROBE"] == "a=b c"
    assert settings["LANG"] == "de_DE.UTF-8"
    assert components["LANG"] == "en_GB.UTF-8"
    assert components["TZ"] == "Etc/GMT"


def test_locale_and_time_zone_of_the_host_are_for_images_with_those_components() -> None:
    image = replace(MINIMAL.image, os_components=("timezone",))
    environment = dict(build(image, MINIMAL.deployment).plan.environment)
    assert (environment["LANG"], environment["TZ"]) == ("C.UTF-8", "Europe/Berlin")
    assert "TZ" not in dict(MINIMAL.plan.environment)


def test_only_host_shared_gives_up_a_namespace() -> None:
    for case in CASES:
        shares = not load(case).plan.namespaces & Namespace.NET
        assert shares == (case == "network")


def test_limits_reach_the_cgroup_and_the_process_limit() -> None:
    plan = load("limits").plan
    assert (plan.limits.memory, plan.limits.pids, plan.limits.cpu_weight) == (700 << 20, 200, 50)
    assert [limit.hard for limit in plan.rlimits if limit.resource == 6] == [200]
