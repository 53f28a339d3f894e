# SPDX-License-Identifier: AGPL-3.0-or-later
"""What all benchmarks need: times as the least of several runs, since others use the machine too, and a report."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path


def best(runs: int, work: Callable[[], object], before: Callable[[], object] = lambda: None) -> float:
    """The least time of `work`, in seconds; `before` is not counted."""
    times = []
    for _ in range(runs):
        before()
        begin = time.monotonic()
        work()
        times.append(time.monotonic() - begin)
    return min(times)


def command(*words: str | Path) -> Callable[[], object]:
    return lambda: subprocess.run(words, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@dataclass
class Report:
    """Values by name, printed as they come. What was not measured says why."""

    values: dict[str, float | str] = field(default_factory=dict)

    def section(self, title: str) -> None:
        print(f"\n{title}", flush=True)

    def tell(self, name: str, value: float, unit: str = "s", note: str = "") -> None:
        """unit: `s`, `MiB`, or `×` for a ratio."""
        self.values[f"{name} [{unit}]"] = round(value, 4)
        print(f"  {name:<58} {value:9.2f} {unit:<4}{note}".rstrip(), flush=True)

    def skip(self, name: str, why: str) -> None:
        self.values[name] = f"not measured: {why}"
        print(f"  {name:<58} not measured: {why}", flush=True)

    def stages(self, stages: Sequence[tuple[str, float]]) -> None:
        for name, seconds in stages:
            self.tell(f"  {name}", seconds)

    def write(self, path: Path) -> None:
        """What other parts have measured before stays."""
        path.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(path.read_text()) if path.exists() else {}
        path.write_text(json.dumps({**before, **self.values}, indent=2) + "\n")
        print(f"\nwritten to {path}")
