# SPDX-License-Identifier: AGPL-3.0-or-later
"""Leaf cgroups, one an instance, in the cgroup v2 hierarchy wherever it is mounted: <mount>/ftos/<group>/<instance>.

The hierarchy itself counts and kills; limits need controllers, which some hosts leave to cgroup v1. What can't be
limited is said, not hidden.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from ftos.plan.records import CgroupLimits

_FILES = {"memory": "memory.max", "pids": "pids.max", "cpu_weight": "cpu.weight"}
_TRIES = 100
_CONTROLLERS = {"memory": "memory", "pids": "pids", "cpu_weight": "cpu"}


@cache
def hierarchy() -> Path | None:
    """Where cgroup v2 is mounted, None where it is not."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        fields, _, rest = line.partition(" - ")
        if rest.startswith("cgroup2 "):
            return Path(fields.split(" ")[4])
    return None


class Leaf:
    """The cgroup of one instance."""

    def __init__(self, group: str, instance: str) -> None:
        top = hierarchy()
        self.path = None if top is None else top / "ftos" / group / instance

    def make(self, limits: CgroupLimits) -> list[str]:
        """Make it and set its limits. Returns the limits that were asked for and can't be kept here."""
        if self.path is None:
            return [name for name in _FILES if getattr(limits, name)]
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):  # another instance of the group has just ended, and took it away
                self.path.mkdir(parents=True, exist_ok=True)
                break
        wanted = [name for name in _FILES if getattr(limits, name)]
        missing = []
        for name in wanted:
            for parent in (self.path.parent.parent.parent, self.path.parent.parent, self.path.parent):
                with suppress(OSError):
                    (parent / "cgroup.subtree_control").write_text(f"+{_CONTROLLERS[name]}")
            try:
                (self.path / _FILES[name]).write_text(str(getattr(limits, name)))
                if name == "memory":
                    with suppress(FileNotFoundError):  # a kernel without swap accounting
                        (self.path / "memory.swap.max").write_text("0")
            except OSError:
                missing.append(name)
        return missing

    def open(self) -> int:
        """A descriptor for CLONE_INTO_CGROUP; -1 without a hierarchy. The caller closes it."""
        if self.path is None:
            return -1
        return os.open(self.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)

    def kill(self) -> None:
        """Kill every process in it."""
        if self.path is not None:
            with suppress(FileNotFoundError):
                (self.path / "cgroup.kill").write_text("1")

    def remove(self) -> None:
        """Remove it, and the group above when nothing else is in it. Its processes are dead or dying."""
        if self.path is None:
            return
        for _ in range(_TRIES):
            try:
                self.path.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.01)
        for parent in (self.path.parent, self.path.parent.parent):
            with suppress(OSError):
                parent.rmdir()
