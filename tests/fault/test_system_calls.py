# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changes of the store in which a system call fails, or is the last one: what is there afterwards is old or new.

strace injects the faults. First a change is traced, to know which calls there are; then it is made again and again from
the same state, each time with another call as the one that goes wrong.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ftos.errors import FtosError
from ftos.host.places import Places
from ftos.image.store import Store
from tests.fault.synthetic import assert_nothing_left, assert_whole, change, contents, fill, publish, store

pytestmark = [
    pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace"),
    pytest.mark.timeout(300),
]
CHANGING = (
    "rename renameat renameat2 mkdir mkdirat unlink unlinkat rmdir fsync fdatasync fork vfork clone clone3".split()
)
"""What our own process does to the disk; the start of an ostree command is one of its steps too."""

_WRAPPER = """#!/bin/sh
[ "$1" = {faulty} ] || exec {ostree} "$@"
strace -f -qq -o {log} -e {option} {ostree} "$@"
status=$?
# As if all had died at once.
[ $status != 137 ] || kill -9 $PPID
exit $status
"""


@dataclass
class Stand:
    """A store with two images, one of which has a former build, and what a change of it would make it."""

    top: Path
    old: dict[str, dict[str, bytes]]
    new: dict[str, dict[str, bytes]]
    tries: int = 0

    def again(self) -> Store:
        """The same store once more."""
        self.tries += 1
        places = Places(self.top / f"root{self.tries}")
        shutil.rmtree(self.top / f"root{self.tries - 1}", ignore_errors=True)
        subprocess.run(["cp", "-a", self.top / "pristine", places.root], check=True)
        return store(places)

    @property
    def places(self) -> Places:
        return Places(self.top / f"root{self.tries}")

    def possible(self, verb: str) -> tuple[dict[str, dict[str, bytes]], dict[str, dict[str, bytes]]]:
        """Before and after: name → path → content."""
        after = dict(self.old)
        match verb:
            case "publish" | "receive":
                after = self.new
            case "swap":
                after["notes"] = contents(self.top / "first")
            case "purge":
                del after["notes"]
        return self.old, after

    def words(self, verb: str) -> list[str]:
        match verb:
            case "publish":
                return [verb, "notes", str(self.top / "third")]
            case "receive":
                remote = store(Places(self.top / "remote"))
                return [verb, str(remote.repository), remote.images()[0].commit]
            case "gc":
                return [verb]
        return [verb, "notes"]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    top = tmp_path_factory.mktemp("faults")
    common = {f"usr/share/{i}": os.urandom(3000) for i in range(3)}
    builds = {
        name: fill(top / name, {"usr/bin/notes": name.encode(), f"usr/{name}": b"", **common})
        for name in ("first", "second", "third", "other")
    }
    os.symlink("notes", top / "third/usr/bin/link")
    pristine = store(Places(top / "pristine"))
    for image, build in (("notes", "first"), ("notes", "second"), ("other", "other")):
        publish(pristine, image, builds[build])
    publish(store(Places(top / "remote")), "notes", builds["third"])
    old = {"notes": contents(builds["second"]), "other": contents(builds["other"])}
    made = Stand(top, old, {**old, "notes": contents(builds["third"])})
    yield made
    shutil.rmtree(top)


def assert_recovers(stand: Stand, verb: str, context: str, died_committing: bool = False) -> int:
    """The state is old or new, the next change works, and nothing is left of the one that failed. Which state."""
    changed = store(stand.places)
    try:
        if died_committing:
            # ostree moves the objects of a commit to their places in no order, so the commit itself may have come
            # before what it names. No ref leads there, and the next change of the store sweeps it away.
            changed.remove([])
        state = assert_whole(changed, *stand.possible(verb))
        changed.remove([])
        assert_nothing_left(changed)
        publish(changed, "notes", stand.top / "third")
        assert_whole(changed, {**stand.possible(verb)[state], "notes": stand.new["notes"]})
    except (AssertionError, FtosError) as error:
        raise AssertionError(f"{verb}, {context}: {error}") from error
    return state


def calls_in(log: Path, begins_with: str = "") -> Counter[str]:
    """How often each call is in a trace, from the first line on in which `begins_with` is."""
    text = log.read_text(errors="replace")
    return Counter(re.findall(r"^(?:\d+ +)?(\w+)\(", text[max(0, text.find(begins_with)) :], re.MULTILINE))


@pytest.mark.parametrize("verb", ["publish", "receive", "swap", "purge", "gc"])
def test_kill_9_before_each_change_of_the_disk(stand: Stand, tmp_path: Path, verb: str) -> None:
    stand.again()
    every = "trace=" + ",".join(f"?{name}" for name in CHANGING)
    tracing = ["strace", "-qq", "-o", str(tmp_path / "log"), "-e", every]
    environment = {"PYTHONDONTWRITEBYTECODE": "1"}
    with change(stand.places, *stand.words(verb), before=tracing, **environment) as child:
        assert child.wait(60) == 0
    states = set()
    found = calls_in(tmp_path / "log")
    for name, count in found.items():
        for number in range(1, count + 1, max(1, count // 5)):
            stand.again()
            fault = ["strace", "-qq", "-o", "/dev/null", "-e", f"inject={name}:signal=KILL:when={number}"]
            with change(stand.places, *stand.words(verb), before=fault, **environment) as child:
                assert child.wait(60) == -signal.SIGKILL, f"{verb}, {name} {number}"
            states.add(assert_recovers(stand, verb, f"killed at {name} {number}"))
    assert found
    assert 0 in states


@dataclass(frozen=True)
class Fault:
    call: str
    what: str
    """`error=ENOSPC` or `signal=KILL`."""
    first: float
    """Which of the calls that have to do with the repository, as a share of them."""
    lasting: bool = False


DISK_FULL = [
    Fault(call, "error=ENOSPC", share, lasting)
    for call, share, lasting in [
        ("openat", 0.3, False), ("openat", 0.8, False), ("fallocate", 0, True), ("fallocate", 0.6, False),
        ("write", 0.0, True), ("write", 0.5, False), ("mkdirat", 0.2, True), ("mkdirat", 0.8, False),
        ("linkat", 0.0, True), ("linkat", 0.5, False), ("renameat", 0.0, False), ("renameat", 0.5, True),
        ("symlinkat", 0.0, False), ("copy_file_range", 0.0, True), ("fdatasync", 0.0, False),
    ]
]  # fmt: skip
BROKEN_DISK = [
    Fault(call, "error=EIO", share, lasting)
    for call, share, lasting in [
        ("openat", 0.5, False), ("read", 0.9, False), ("fsync", 0.0, True), ("fsync", 0.7, False),
        ("syncfs", 0.0, False), ("fdatasync", 0.0, False), ("fchown", 0.3, False), ("fchmod", 0.6, False),
        ("utimensat", 0.2, False), ("getdents64", 0.5, False), ("unlinkat", 0.9, False), ("renameat", 0.9, False),
    ]
]  # fmt: skip
DEATH = [
    Fault(call, "signal=KILL", share)
    for call, share in [
        ("linkat", 0.0), ("linkat", 0.9), ("renameat", 0.0), ("renameat", 0.5), ("renameat", 0.99), ("syncfs", 0.0),
        ("fsync", 0.5), ("unlinkat", 0.9), ("fdatasync", 0.0),
    ]
]  # fmt: skip


@pytest.mark.parametrize("faulty", ["commit", "pull-local", "checkout", "refs", "prune"])
@pytest.mark.parametrize("faults", [DISK_FULL, BROKEN_DISK, DEATH], ids=["ENOSPC", "EIO", "killed"])
def test_ostree_meets_a_fault(stand: Stand, tmp_path: Path, faulty: str, faults: list[Fault]) -> None:
    """Never a ref to something that is not whole; one clear error; space returns."""
    verb = {"prune": "purge", "pull-local": "receive"}.get(faulty, "publish")
    log, tools = tmp_path / "log", tmp_path / "bin"
    tools.mkdir()
    (tools / "ostree").touch(0o755)
    path = f"{tools}:{os.environ['PATH']}"
    met = 0
    counts: list[Counter[str]] = []
    tried: set[str] = set()
    for fault in [None, *faults]:
        option = "trace=" + ",".join(sorted({fault.call for fault in faults} | {"mkdirat"}))
        if fault is not None:
            all_calls, own = (count[fault.call] for count in counts)
            if own == 0:
                continue
            number = all_calls - own + 1 + int(fault.first * own)
            option = f"inject={fault.call}:{fault.what}:when={number}{'+' if fault.lasting else ''}"
            if option in tried:
                continue
            tried.add(option)
        text = _WRAPPER.format(log=log, ostree=shutil.which("ostree"), faulty=faulty, option=option)
        (tools / "ostree").write_text(text)
        stand.again()
        with change(stand.places, *stand.words(verb), PATH=path) as child:
            _, said = child.communicate(timeout=60)
        if fault is None:
            assert child.returncode == 0, said
            counts = [calls_in(log), calls_in(log, "/repo")]
            continue
        met += "(INJECTED)" in log.read_text(errors="replace") or child.returncode == -signal.SIGKILL
        if child.returncode != -signal.SIGKILL:
            assert "Traceback" not in said, f"{fault}: {said}"
            assert len(said.splitlines()) == (child.returncode != 0), f"{fault}: {said}"
        died = faulty == "commit" and child.returncode == -signal.SIGKILL
        state = assert_recovers(stand, verb, str(fault), died)
        if child.returncode == 0:
            assert state == 1, fault
    assert met > 0
