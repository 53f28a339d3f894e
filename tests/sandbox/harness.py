# SPDX-License-Identifier: AGPL-3.0-or-later
"""A real deployment, assembled and launched as `ftos run` does, but from a tree that need not be built; and a control.

The tree has mount points only; the host's own programs are shown in it read-only, so that a test can run Python inside.
All else is as in production: the same descriptors, compiler, engine, init and control socket.

A control is the same probe without the sandbox, as root on the same kernel, but in private namespaces, so that what
it may do does not reach the machine.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from ftos.host.facts import Account, HostFacts
from ftos.host.places import Places
from ftos.plan.containers import host_bind
from ftos.plan.records import FOREIGN_BASE, LaunchPlan, Mount, MountFlag
from ftos.runtime import session
from ftos.runtime.assemble import assemble, prepared
from ftos.runtime.cgroups import hierarchy
from ftos.runtime.container import Container, command_of
from ftos.runtime.control import Command, Connection, Kind
from ftos.runtime.instances import InstanceRecord
from ftos.spec.catalog import Catalog

PYTHON = "/usr/bin/python3"
IMAGE = f"""\
kind: image
schema: 1
name: probe
title: Probe
version: "1"
osbase: debian/bookworm
command: [{PYTHON}]
working-directory: /
"""
DEPLOYMENT = """\
kind: deployment
schema: 1
image: probe
"""
SERVICE = """\
kind: service
schema: 1
"""
PRELUDE = """\
import errno, json, os, socket, sys

def attempt(function, *arguments, **named):
    "What came of a call: done, or the name of the errno."
    try:
        function(*arguments, **named)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "done"

def write(path, flags=os.O_WRONLY, mode=0o644):
    fd = os.open(path, flags, mode)
    try:
        os.write(fd, b"written\\n")
    finally:
        os.close(fd)

def read(path):
    with open(path, "rb") as file:
        return file.read().decode(errors="replace")

"""
OWNER = Account("owner", 4321, 4322, Path("/nonexistent"))
DIRECTORIES = "usr bin lib lib64 etc var/lib home dev proc sys tmp run mnt media".split()


@dataclass
class Result:
    status: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    def json(self) -> Any:
        """What the probe printed, when it came to its end."""
        assert (self.status, self.err) == (0, ""), self
        return json.loads(self.out)


@dataclass
class Sandbox:
    """A deployment in a root of its own. `image` and `deployment` are added to the descriptors' texts."""

    places: Places
    tree: Path
    image: str = ""
    deployment: str = ""
    name: str = "probe"
    id: str = field(default_factory=lambda: f"d-{secrets.token_hex(4)}")
    services: Mapping[str, str] = field(default_factory=dict)
    owner: Account = OWNER
    change: Callable[[LaunchPlan], LaunchPlan] = field(default=lambda plan: plan)

    @classmethod
    def below(cls, top: Path) -> Sandbox:
        """A fresh one, with all of it below the directory `top`."""
        return cls(Places(top / "root"), make_tree(top / "tree"))

    def launch(self) -> Container:
        record = self.prepare()
        return Container(self.places, self.plan, record)

    def prepare(self) -> InstanceRecord:
        """Write descriptors and what a launch needs on the disk; make the plan."""
        self._write("images", "probe", IMAGE + textwrap.dedent(self.image))
        self._write(
            "deployments",
            self.name,
            f"{DEPLOYMENT}name: {self.name}\nid: {self.id}\n" + textwrap.dedent(self.deployment),
        )
        for name, text in self.services.items():
            self._write("services", name, f"{SERVICE}name: {name}\n" + textwrap.dedent(text))
        facts = HostFacts(os.uname().machine, "none", "C.UTF-8", "Etc/UTC", self.owner)
        catalog = Catalog(self.places)
        assembly = assemble(self.places, catalog, facts, catalog.deployment(self.name), "none", self.tree)
        with prepared(self.places, assembly) as record:
            pass
        self.plan = self.change(with_host_programs(assembly.plan))
        return record

    def _write(self, kind: str, name: str, text: str) -> None:
        directory = self.places.etc / kind
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{name}.yml").write_text(text)

    def python(self, code: str, *arguments: str) -> Result:
        """Run Python code as the app."""
        with self.launch() as container:
            return talk(container, Kind.START, command_of(self.plan, ("-c", script(code), *arguments)))

    def run(self, *arguments: str) -> Result:
        """Run a command as the app."""
        with self.launch() as container:
            return talk(container, Kind.START, self.command(*arguments))

    def command(self, *arguments: str) -> Command:
        return Command(arguments=arguments, environment=self.plan.environment, directory="/")

    def show(self, source: Path, target: str) -> None:
        """Show a directory of the host to the app, read-only."""
        before = self.change
        self.change = lambda plan: with_mounts(before(plan), host_bind(source, target))

    def driver(self, *arguments: str, options: tuple[str, ...] = ()) -> list[str]:
        """The command of a launcher in a process of its own (tests/sandbox/driver.py)."""
        program = Path(__file__).with_name("driver.py")
        return [sys.executable, str(program), *options, str(self.places.root.parent), self.id, *arguments]

    def processes(self) -> list[int]:
        """Pids, on the host, of all processes in the deployment's cgroup."""
        if hierarchy() is None:
            pytest.skip("no cgroup v2 hierarchy is mounted, which tells whose a process is")
        found = []
        for path in Path("/proc").iterdir():
            with suppress(OSError):
                if path.name.isdigit() and f"/ftos/{self.id}/" in (path / "cgroup").read_text():
                    found.append(int(path.name))
        return found

    def volume(self, name: str) -> Path:
        """Where a kept volume is on the disk."""
        return self.places.volumes / self.id / name


def script(code: str) -> str:
    return PRELUDE + textwrap.dedent(code)


def with_mounts(plan: LaunchPlan, *mounts: Mount) -> LaunchPlan:
    return replace(plan, mounts=(*plan.mounts, *mounts))


def with_host_programs(plan: LaunchPlan) -> LaunchPlan:
    parts = [host_bind(Path("/usr", part), f"/{part}", MountFlag.OPTIONAL) for part in ("bin", "lib", "lib64")]
    return with_mounts(plan, host_bind(Path("/usr"), "/usr"), *parts)


def make_tree(top: Path) -> Path:
    """The smallest image: mount points and a few files, ids foreign."""
    for name in DIRECTORIES:
        (top / name).mkdir(parents=True)
    (top / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n")
    (top / "etc/image-file").write_text("of the image\n")
    give_to(top, 0)
    return top


def give_to(top: Path, inside: int) -> None:
    """Let all of a tree belong to an id inside, as it is on the disk."""
    for path in (top, *top.rglob("*")):
        os.chown(path, FOREIGN_BASE + inside, FOREIGN_BASE + inside, follow_symlinks=False)


def talk(container: Container, kind: Kind, command: Command) -> Result:
    """Run a command in a container, its output caught."""
    connection = Connection.connect(container.control)
    out, err = _Catcher(), _Catcher()
    null = os.open("/dev/null", os.O_RDONLY)
    try:
        connection.start(kind, command, (null, out.writing, err.writing))
        out.close_writing()
        err.close_writing()
        session._started(connection)
        answer = connection.receive()
        return Result(session.GONE if answer is None else answer.value, out.text(), err.text())
    finally:
        connection.close()
        os.close(null)
        out.close_writing()
        err.close_writing()


@contextmanager
def running(container: Container, command: Command) -> Iterator[Connection]:
    """Start the app, its streams at /dev/null, and let it run meanwhile."""
    connection = Connection.connect(container.control)
    null = os.open("/dev/null", os.O_RDWR)
    try:
        connection.start(Kind.START, command, (null, null, null))
        session._started(connection)
        yield connection
    finally:
        os.close(null)
        connection.close()


class _Catcher(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True)
        self._reading, self.writing = os.pipe()
        self._data = b""
        self.start()

    def run(self) -> None:
        with os.fdopen(self._reading, "rb") as pipe:
            self._data = pipe.read()

    def close_writing(self) -> None:
        if self.writing >= 0:
            os.close(self.writing)
            self.writing = -1

    def text(self) -> str:
        self.join(10)
        return self._data.decode(errors="replace")


# --- the control ------------------------------------------------------------------------------------------------------

PRIVATE = ("unshare", "--mount", "--propagation=private", "--pid", "--fork", "--mount-proc", "--uts", "--ipc", "--net")


def unconfined(*command: str, text: str = "") -> Result:
    """Run a command as root without the sandbox, in private namespaces."""
    done = subprocess.run([*PRIVATE, *command], input=text, capture_output=True, text=True, timeout=60, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def unconfined_python(code: str, *arguments: str) -> Result:
    return unconfined(PYTHON, "-c", script(code), *arguments)


def assert_refused(inside: object, control: object, *refusals: object) -> None:
    """The probe was refused inside; when the control was refused alike, this says nothing."""
    assert inside in refusals, f"not refused: {inside} (without the sandbox: {control})"
    if control in refusals:
        pytest.skip("inconclusive: refused without the sandbox too")


# --- what lies outside ------------------------------------------------------------------------------------------------


def snapshot(top: Path) -> dict[str, tuple[object, ...]]:
    """All that there is to a tree: kinds, owners, modes, times, contents, extended attributes, by relative path."""
    found: dict[str, tuple[object, ...]] = {}
    for path in (top, *sorted(top.rglob("*"))):
        state = path.lstat()
        content = b""
        if path.is_symlink():
            content = os.fsencode(os.readlink(path))
        elif path.is_file():
            content = hashlib.sha256(path.read_bytes()).digest()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)
        }
        found[str(path.relative_to(top))] = (
            *(
                state.st_mode,
                state.st_uid,
                state.st_gid,
                state.st_rdev,
                state.st_nlink,
                state.st_mtime_ns,
                state.st_ctime_ns,
            ),
            content,
            attributes,
        )
    return found
