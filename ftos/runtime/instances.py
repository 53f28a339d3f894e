# SPDX-License-Identifier: AGPL-3.0-or-later
"""Running containers, as directories that any later process can find.

    run/ftos/instances/<name>-<random>/   only root enters
        instance.json                     what runs here (InstanceRecord)
        control                           init's control socket
        status                            "exit N" once the app has ended
        lock                              held by its launcher
    run/ftos/instances.lock               held while directories are made or removed
    run/ftos/stage                        empty; where launches attach layers in namespaces of their own

A directory whose lock is free and whose init is gone is a leftover of a killed launcher; `clean` removes it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec

from ftos.host.places import Places
from ftos.runtime.cgroups import Leaf


class InstanceRecord(msgspec.Struct, frozen=True, kw_only=True):
    instance: str = ""
    deployment: str
    """Name at the time of the start."""
    id: str
    """The deployment's id."""
    image: str
    commit: str
    layer: str
    """Path of its configuration layer."""
    environment: tuple[tuple[str, str], ...]
    working_directory: str
    started_at: str
    """ISO 8601, UTC."""
    pid: int = 0
    """Init's process id on the host; 0 while the launch is under way."""
    start_time: int = 0
    """Of init, in clock ticks since boot (proc_pid_stat(5), field 22): tells a reused pid apart."""


def process_start_time(pid: int) -> int | None:
    """Start of process `pid` in clock ticks since boot; None when there is no such process, or only its remains."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_alive(record: InstanceRecord) -> bool:
    return process_start_time(record.pid) == record.start_time


class InstanceDirectory:
    """The directory of one instance, its lock held until `remove`."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.name = path.name
        self._lock = lock

    @classmethod
    def make(cls, places: Places, name: str) -> InstanceDirectory:
        """A new one for a launch of `name`; leftovers of killed launchers are removed first."""
        with _listing(places) as parent:
            _clean(parent)
            path = parent / f"{name}-{secrets.token_hex(3)}"
            path.mkdir(mode=0o700)
            lock = os.open(path / "lock", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(lock, fcntl.LOCK_EX)
            return cls(path, lock)

    def write(self, record: InstanceRecord) -> None:
        temporary = self.path / ".instance.json"
        temporary.write_bytes(msgspec.json.encode(record))
        temporary.rename(self.path / "instance.json")

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock)


def stage(places: Places) -> Path:
    """The empty directory for launches."""
    path = _private(places) / "stage"
    path.mkdir(exist_ok=True, mode=0o700)
    return path


def _private(places: Places) -> Path:
    """run/ftos, which only root enters: whoever else could open a lock in it could hold it for ever."""
    places.run.parent.mkdir(parents=True, exist_ok=True)
    places.run.mkdir(exist_ok=True, mode=0o700)
    return places.run


def running(places: Places, deployment_id: str | None = None) -> list[InstanceRecord]:
    """What runs now, of one deployment or of all, oldest first. Leftovers are removed."""
    found = (r for r in _records(places) if r.pid and deployment_id in (None, r.id))
    return sorted(found, key=lambda record: (record.started_at, record.instance))


def in_use(places: Places) -> tuple[frozenset[str], frozenset[str]]:
    """Commits and configuration layers which running containers and launches under way need."""
    records = _records(places)
    return frozenset(r.commit for r in records), frozenset(r.layer for r in records)


def _records(places: Places) -> list[InstanceRecord]:
    with _listing(places) as parent:
        _clean(parent)
        return [record for path in parent.iterdir() if (record := _read(path)) is not None]


def control_path(places: Places, record: InstanceRecord) -> Path:
    return places.run / "instances" / record.instance / "control"


@contextmanager
def _listing(places: Places) -> Iterator[Path]:
    parent = _private(places) / "instances"
    parent.mkdir(exist_ok=True, mode=0o700)
    with open(places.run / "instances.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield parent


def _read(path: Path) -> InstanceRecord | None:
    try:
        return msgspec.json.decode((path / "instance.json").read_bytes(), type=InstanceRecord)
    except (FileNotFoundError, NotADirectoryError, msgspec.MsgspecError):
        return None


def _clean(parent: Path) -> None:
    for path in list(parent.iterdir()):
        try:
            lock = os.open(path / "lock", os.O_WRONLY | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            lock = -1
        try:
            if lock >= 0:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            record = _read(path)
            if record is not None and record.pid and is_alive(record):
                continue
            group = record.id if record is not None else "build"
            leaf = Leaf(group, path.name)
            leaf.kill()
            leaf.remove()
            shutil.rmtree(path, ignore_errors=True)
        except BlockingIOError:
            continue
        finally:
            if lock >= 0:
                with suppress(OSError):
                    os.close(lock)
