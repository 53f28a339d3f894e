# SPDX-License-Identifier: AGPL-3.0-or-later
"""The reader of plan bytes against broken ones, under AddressSanitizer and UndefinedBehaviorSanitizer.

A sanitizer's finding ends the driver with an error, and with it the test.
"""

from __future__ import annotations

import re
import struct
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ftos._native import launch
from ftos.errors import LaunchError
from ftos.plan.containers import build_container, foreign_bind, tools_container
from ftos.plan.encode import HEADER
from ftos.plan.records import MountFlag, MountKind, Namespace
from tests.native.plan_bytes import PlanBytes
from tests.unit.plan.golden import CASES, ID_BASE, encoded, load

SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer")
MUTATIONS = 200_000
MINIMAL = encoded(load("minimal").plan)
BUILD = encoded(
    build_container(
        name="build",
        id_base=ID_BASE,
        layers=[Path("/store/base")],
        upper=Path("/store/upper"),
        command=["/bin/sh"],
        environment={},
        binds=[foreign_bind(Path("/cache"), "/cache", read_only=True)],
    )
)
TOOLS = encoded(tools_container(name="x", id_base=ID_BASE, command=["x"], environment={}, binds=(), network=True))


@pytest.fixture(scope="session")
def driver(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> Path:
    program = tmp_path_factory.mktemp("native") / "decode_driver"
    sources = [checkout / "tests/native/decode_driver.c", checkout / "ftos/_native/plan_decode.c"]
    flags = ["-std=gnu11", "-g", "-O1", "-Wall", "-Wextra", "-Werror", *SANITIZERS]
    subprocess.run(["gcc", *flags, "-o", program, *sources], check=True, timeout=100)
    return program


def drive(driver: Path, *arguments: object, data: bytes = b"") -> str:
    done = subprocess.run([driver, *map(str, arguments)], input=data, capture_output=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout.decode()


def verdicts(driver: Path, plans: Sequence[bytes], shift: int = 0) -> list[str]:
    """What the decoder says of each: `ok`, or what is wrong."""
    frames = b"".join(struct.pack("<II", len(plan), shift) + plan for plan in plans)
    return drive(driver, "check", data=frames).splitlines()


def counts(output: str) -> tuple[int, int]:
    """Accepted and refused."""
    accepted, refused = re.fullmatch(r"accepted (\d+) refused (\d+)\n", output).groups()  # type: ignore[union-attr]
    return int(accepted), int(refused)


@pytest.fixture
def minimal(tmp_path: Path) -> Path:
    path = tmp_path / "minimal"
    path.write_bytes(MINIMAL)
    return path


def test_plans_that_the_compiler_makes_are_accepted(driver: Path) -> None:
    plans = [BUILD, TOOLS, *(encoded(load(case).plan) for case in CASES)]
    assert verdicts(driver, plans) == ["ok"] * len(plans)


def test_every_flipped_bit_is_refused(driver: Path, minimal: Path) -> None:
    assert counts(drive(driver, "flips", minimal)) == (0, len(MINIMAL) * 8)


def test_no_flipped_bit_with_a_right_checksum_leads_astray(driver: Path, minimal: Path) -> None:
    accepted, refused = counts(drive(driver, "repaired", minimal))
    assert accepted + refused == len(MINIMAL) * 8
    assert accepted > 1000  # a letter of a name, an instruction of the filter: still a whole plan
    assert refused > 1000


def test_every_cut_is_refused(driver: Path, minimal: Path) -> None:
    """As cut, and with size and checksum that fit the rest: the strings, which end a plan, are missing then."""
    accepted, refused = counts(drive(driver, "cuts", minimal))
    assert accepted == 0
    assert refused >= len(MINIMAL)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_changes_never_lead_astray(driver: Path, tmp_path: Path, seed: int) -> None:
    plans = []
    for case in ("minimal", "documents-nested", "volumes", "network"):
        (tmp_path / case).write_bytes(encoded(load(case).plan))
        plans.append(tmp_path / case)
    (tmp_path / "build").write_bytes(BUILD)
    accepted, refused = counts(drive(driver, "mutations", seed, MUTATIONS, *plans, tmp_path / "build"))
    assert accepted + refused == MUTATIONS
    assert accepted > MUTATIONS // 100
    assert refused > MUTATIONS // 100


# --- each reason to refuse -------------------------------------------------------------------------------------------

Change = Callable[[PlanBytes], object]


def record(section: str, index: int = 0, **values: int) -> Change:
    return lambda plan: plan.record(section, index, **values)


def header(**values: int) -> Change:
    return lambda plan: plan.header(**values)


def mount(index: int, **texts: str) -> Change:
    return lambda plan: plan.record("mounts", index, **{name: plan.string(text) for name, text in texts.items()})


def cut_strings(plan: PlanBytes) -> None:
    """The strings end in the middle of a word."""
    offset, _ = plan.range("strings")
    plan.data[offset + 7 : offset + 8] = b"x"
    plan.header(strings_count=8)


def reorder(*order: int) -> Change:
    """The first mounts in another order."""

    def change(plan: PlanBytes) -> None:
        start, _ = plan.range("mounts")
        mounts = [plan.data[start + at * 40 : start + at * 40 + 40] for at in order]
        plan.data[start : start + 40 * len(order)] = b"".join(mounts)

    return change


LONG = "x" * 65
REFUSED: list[tuple[str, Change]] = [
    ("this is not a plan", header(magic=int.from_bytes(b"FTOSPLAM", "little"))),
    ("the plan has another version", header(version=0)),
    ("the plan has another version", header(version=2)),
    *[
        ("a section lies outside the plan", header(**{f"{section}_{half}": value}))
        for section in ("idmaps", "mounts", "landlock", "rlimits", "seccomp", "strings")
        for half, value in (
            ("count", 0xFFFFFFFF),
            ("count", 0x10000001),
            ("offset", 0xFFFFFFF8),
            ("offset", 0x80000000),
            ("offset", 0),
            ("offset", HEADER.sizeof() - 8),
            ("offset", HEADER.sizeof() + 4),
            ("offset", HEADER.sizeof() + 1),
        )
    ],
    ("a section lies outside the plan", header(idmaps_count=17)),
    ("a section lies outside the plan", header(mounts_count=257)),
    ("a section lies outside the plan", header(landlock_count=257)),
    ("a section lies outside the plan", header(rlimits_count=17)),
    ("a section lies outside the plan", header(seccomp_count=4097)),
    ("the strings are not terminated", header(strings_count=0)),
    ("the strings are not terminated", cut_strings),
    *[
        ("a string lies outside the strings", header(**{name: value}))
        for name in ("name", "group", "hostname", "working_directory")
        for value in (0xFFFFFFFF, len(MINIMAL))
    ],
    ("the command lies outside the strings", header(command_count=0)),
    ("the command lies outside the strings", header(command=0xFFFFFFFF)),
    ("the command lies outside the strings", header(command_count=4096)),
    ("the command lies outside the strings", header(command_count=0xFFFFFFFF)),
    ("the environment lies outside the strings", header(environment=0x7FFFFFFF)),
    ("the environment lies outside the strings", header(environment_count=4096)),
    ("the environment lies outside the strings", header(environment_count=0xFFFFFFFF)),
    ("the host name is too long", lambda plan: plan.header(hostname=plan.string(LONG))),
    ("an unknown namespace is asked for", header(namespaces=0x7E020000)),
    ("an unknown namespace is asked for", header(namespaces=0xFFFFFFFF)),
    *[
        ("a namespace is shared with the host that never may be", header(namespaces=0x6E020000 & ~namespace))
        for namespace in Namespace
        if namespace is not Namespace.NET
    ],
    ("an unknown flag is set", header(flags=2)),
    ("an unknown capability is asked for", header(capabilities=1 << 41)),
    ("the umask or the OOM score is out of range", header(umask=0o1000)),
    ("the umask or the OOM score is out of range", header(oom_score_adj=1001)),
    ("the umask or the OOM score is out of range", header(oom_score_adj=-1001)),
    ("the map of the user namespace is missing", header(idmaps_count=0)),
    ("the map of the user namespace is not of 65536 ids from 0", record("idmaps", uid=1)),
    ("the map of the user namespace is not of 65536 ids from 0", record("idmaps", gid=1)),
    ("the map of the user namespace is not of 65536 ids from 0", record("idmaps", count=65535)),
    ("the map of the user namespace is not of 65536 ids from 0", record("idmaps", count=0xFFFFFFFF)),
    ("the container's ids lie where ids of the host may be", record("idmaps", outside=0)),
    ("the container's ids lie where ids of the host may be", record("idmaps", outside=65535)),
    ("the container's ids lie where ids of the host may be", record("idmaps", outside=2147352576 - 65535)),
    ("the container's ids lie where ids of the host may be", record("idmaps", outside=0xFFFFFFFF)),
    ("an id map is out of range", record("idmaps", 1, count=0)),
    ("an id map is out of range", record("idmaps", 1, uid=0xFFFFFFFF)),
    ("an id map is out of range", record("idmaps", 1, gid=0xFFFF0000)),
    ("an id map leads to ids of others", record("idmaps", 1, outside=ID_BASE - 1, count=1)),
    ("an id map leads to ids of others", record("idmaps", 1, outside=ID_BASE + 65536, count=1)),
    ("an id map leads to ids of others", record("idmaps", 1, outside=ID_BASE + 1)),
    ("an id map leads to ids of others", record("idmaps", 1, uid=0, gid=0, count=65537)),
    ("the user is not in the map of the user namespace", header(uid=65536)),
    ("the user is not in the map of the user namespace", header(gid=0xFFFFFFFF)),
    ("an unknown kind of mount", record("mounts", kind=0)),
    ("an unknown kind of mount", record("mounts", kind=9)),
    ("a mount has an unknown flag or mode", record("mounts", flags=64)),
    ("a mount has an unknown flag or mode", record("mounts", mode=0o10000)),
    ("a mount has an unknown flag or mode", record("mounts", reserved=1)),
    ("a mount names an id map that does not exist", record("mounts", idmap=-2)),
    ("a mount names an id map that does not exist", record("mounts", idmap=2)),
    ("a mount names an id map that does not exist", record("mounts", idmap=0x7FFFFFFF)),
    *[
        ("a path lies outside the strings", record("mounts", **{name: 0xFFFFFFFF}))
        for name in ("source", "beneath", "target")
    ],
    ("a mount's source is not absolute", mount(0, source="store")),
    ("a mount's source is not absolute", mount(0, source="")),
    ("a mount's source is not absolute", mount(2, source="store")),
    ("a mount shows ids of the host as they are", record("mounts", idmap=-1)),
    ("a file system in memory has no limit", record("mounts", -1, kind=MountKind.TMPFS, size=0)),
    ("a file system in memory has no limit", record("mounts", -1, kind=MountKind.DISCARD, size=0)),
    ("a file system in memory has no limit", record("mounts", -1, kind=MountKind.DEV, size=0)),
    ("a file system in memory has no limit", mount(2, source="tmpfs")),
    ("a layer comes after the root", reorder(0, 2, 1)),
    ("a mount comes before the root", reorder(0, 1, 3, 2)),
    ("a mount's target is not absolute", mount(3, target="proc")),
    ("a mount's target is not absolute", mount(3, target="")),
    ("a root has no layer", reorder(2, 1, 0)),
    ("there is not exactly one root", header(mounts_count=0)),
    ("there is not exactly one root", header(mounts_count=2)),
    ("there is not exactly one root", record("mounts", 3, kind=MountKind.ROOT)),
    ("landlock has no rules", header(landlock_count=0)),
    ("a landlock rule is for no absolute path", record("landlock", path=0xFFFFFFFF)),
    ("a landlock rule is for no absolute path", lambda plan: plan.record("landlock", 0, path=plan.string("dev"))),
    ("a landlock rule names unknown rights", record("landlock", access=0)),
    ("a landlock rule names unknown rights", record("landlock", access=0x10000)),
    ("a resource limit is unknown or out of range", record("rlimits", resource=16)),
    ("a resource limit is unknown or out of range", record("rlimits", reserved=1)),
    ("a resource limit is unknown or out of range", record("rlimits", soft=1, hard=0)),
    ("the system call filter is missing", header(seccomp_count=0)),
]
BY_HAND = {
    "the plan is not aligned": (MINIMAL, 4),
    "the plan's size is wrong": (MINIMAL[:-1], 0),
    "the plan is cut off": (MINIMAL[:-8], 0),
    "the plan is damaged": (MINIMAL[:-1] + b"x", 0),
}


def test_each_wrong_field_is_refused_for_its_reason(driver: Path) -> None:
    plans = []
    for _, change in REFUSED:
        plan = PlanBytes(MINIMAL)
        change(plan)
        plans.append(plan.sealed())
    found = verdicts(driver, plans)
    wrong = [(at, want, got) for at, ((want, _), got) in enumerate(zip(REFUSED, found, strict=True)) if want != got]
    assert wrong == []


@pytest.mark.parametrize("message", BY_HAND)
def test_what_is_no_whole_plan_is_refused_before_it_is_read(driver: Path, message: str) -> None:
    data, shift = BY_HAND[message]
    assert verdicts(driver, [data], shift) == [message]


def test_sizes_beyond_all_bounds_are_refused(driver: Path) -> None:
    plans = [b"", b"\0" * 8, b"\0" * (HEADER.sizeof() - 8), MINIMAL + b"\0" * (1 << 20)]
    assert verdicts(driver, plans) == ["the plan's size is wrong"] * len(plans)


def test_every_reason_of_the_decoder_is_tried_here(checkout: Path) -> None:
    source = (checkout / "ftos/_native/plan_decode.c").read_text()
    reasons = set(re.findall(r'return [^;]*?"([^"]+)"', source))
    assert len(reasons) > 30
    assert reasons == {message for message, _ in REFUSED} | set(BY_HAND)


def test_a_kept_root_shows_no_ids_of_the_host(driver: Path) -> None:
    assert verdicts(driver, [PlanBytes(BUILD).record("mounts", 1, idmap=-1).sealed()]) == [
        "a mount shows ids of the host as they are"
    ]


def test_the_python_binding_says_the_decoders_reason() -> None:
    launch.check(MINIMAL)
    with pytest.raises(LaunchError, match=r"^the launch plan can't be read: the plan is damaged$"):
        launch.check(MINIMAL[:-1] + b"x")


def test_flags_that_mean_nothing_to_a_kind_do_no_harm(driver: Path) -> None:
    every = sum(flag.value for flag in MountFlag)
    assert verdicts(driver, [PlanBytes(MINIMAL).record("mounts", 3, flags=every).sealed()]) == ["ok"]
