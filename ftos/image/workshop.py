# SPDX-License-Identifier: AGPL-3.0-or-later
"""The place of one build: its directories on the disk, its containers, its log.

places.store/builds/<random>/
  config/            what root gives to a fetch: configuration, keys; read-only inside
  fetch/             written by the container that has network; foreign ids
  packages/          the package files, verified; read-only inside
  empty/             the lowest layer of a base tree; foreign ids
  root/upper, work   what the installation changes; foreign ids
  additions/, merged/    see ftos.image.tree
  skip               paths left out of the commit
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ftos.image.container import BuildLog, Runner, run_logged
from ftos.image.progress import Progress
from ftos.image.watchdog import Patience, Watchdog
from ftos.plan.containers import build_container, foreign_bind, host_bind, tools_container
from ftos.plan.records import FOREIGN_BASE, LaunchPlan, Mount

PACKAGES = "/.ftos"
"""Where the package files are in the build container. The directory is no part of the image."""


class Workshop:
    """`name` is that of the image or osbase, for messages; `directory` is empty and removed by the caller."""

    def __init__(
        self,
        name: str,
        directory: Path,
        id_base: int,
        runner: Runner,
        log: BuildLog,
        progress: Progress,
        patience: Patience,
    ) -> None:
        self.name = name
        self.progress = progress
        self.log = log
        self.directory = directory
        self.config = directory / "config"
        self.fetch = directory / "fetch"
        self.packages = directory / "packages"
        self.empty = directory / "empty"
        self.upper = directory / "root/upper"
        self._id_base = id_base
        self._runner = runner
        self._patience = patience
        for path in (self.config, self.packages, directory / "root"):
            path.mkdir()
        for path in (self.fetch, self.empty, self.upper, directory / "root/work", self.upper / PACKAGES[1:]):
            self.make_foreign(path)

    @staticmethod
    def make_foreign(path: Path) -> None:
        """A new directory which belongs to id 0 of the containers."""
        path.mkdir()
        os.chown(path, FOREIGN_BASE, FOREIGN_BASE)

    def stage(self, what: str) -> None:
        self.progress.stage(f"{self.name}: {what}")

    def with_tools(
        self,
        step: str,
        command: Sequence[str],
        binds: Sequence[Mount],
        environment: Mapping[str, str],
        is_progress: Callable[[bytes], bool] = lambda line: False,
        network: Patience | None = None,
        tree: Path | None = None,
    ) -> None:
        """Run `command`, a program of the host or of `tree`, where it sees `binds` only. Raises BuildError when it
        fails.

        network: it has one, and is given up by this. tree: a directory with foreign ids, which stays as it is.
        """
        plan = tools_container(
            name=self._plan_name,
            id_base=self._id_base,
            command=command,
            environment=environment,
            binds=binds,
            network=network is not None,
            tree=tree,
        )
        self._run(plan, step, is_progress, network or self._patience)

    def inside(
        self,
        step: str,
        command: Sequence[str],
        layers: Sequence[Path],
        environment: Mapping[str, str],
        is_progress: Callable[[bytes], bool] = lambda line: False,
    ) -> None:
        """Run `command` of the tree itself, which is writable, with the packages at `PACKAGES`; without network.

        layers: top first; below them nothing. Raises BuildError when it fails.
        """
        plan = build_container(
            name=self._plan_name,
            id_base=self._id_base,
            layers=layers,
            upper=self.upper.parent,
            command=command,
            environment=environment,
            binds=[host_bind(self.packages, PACKAGES)],
        )
        self._run(plan, step, is_progress, self._patience)

    def _run(self, plan: LaunchPlan, step: str, is_progress: Callable[[bytes], bool], patience: Patience) -> None:
        watchdog = Watchdog(f"{self.name}: {step}", self.directory, patience)
        run_logged(self._runner, plan, self.log, watchdog, is_progress)

    def target_bind(self, target: str) -> Mount:
        """The tree in the making, as a writable directory of `with_tools`."""
        return foreign_bind(self.upper, target, read_only=False)

    @property
    def _plan_name(self) -> str:
        return "build-" + self.name.replace("/", "-").replace(".", "-")
