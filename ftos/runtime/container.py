# SPDX-License-Identifier: AGPL-3.0-or-later
"""Starts a container from a plan and looks after it until it has ended.

    plan → bytes → ftos._native.launch → init (our child) ← control socket ← the app's command and streams

The container ends when its app ends, when it is killed here, or when this process dies: init watches a pipe of which
only this process has the other end.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

from msgspec.structs import replace

import ftos._native
from ftos._native import launch as engine
from ftos.errors import FtosError, LaunchError
from ftos.host.places import Places
from ftos.plan.encode import encode
from ftos.plan.invariants import check
from ftos.plan.records import LaunchPlan
from ftos.plan.seccomp import compile_policy
from ftos.runtime import instances, session
from ftos.runtime.cgroups import Leaf
from ftos.runtime.control import Command, Connection
from ftos.runtime.instances import InstanceDirectory, InstanceRecord

INIT = Path(ftos._native.__file__).with_name("ftos-init")


def plan_bytes(plan: LaunchPlan) -> bytes:
    """The bytes of a plan for this machine, after the check of what no plan may break."""
    check(plan)
    return encode(plan, compile_policy(plan.seccomp, platform.machine()))


def command_of(plan: LaunchPlan, arguments: tuple[str, ...] = ()) -> Command:
    """The plan's command; `arguments` are added at its end."""
    return Command(
        arguments=(*plan.command, *arguments),
        environment=plan.environment,
        directory=plan.working_directory,
    )


class Container:
    """A container with init running in it. A context manager: at the end all of it is gone."""

    def __init__(self, places: Places, plan: LaunchPlan, record: InstanceRecord | None = None) -> None:
        """Launch. `record` makes it known to other processes as a running deployment; without one it is a build.

        Raises LaunchError or another FtosError; nothing is left behind then.
        """
        if os.geteuid() != 0:
            raise FtosError("containers are launched by root", "run it with sudo")
        data = plan_bytes(plan)
        self._undo = ExitStack()
        with ExitStack() as undo:
            self.directory = InstanceDirectory.make(places, plan.name)
            undo.callback(self.directory.remove)
            if record is not None:
                record = replace(record, instance=self.directory.name)
                self.directory.write(record)
            self.leaf = Leaf(plan.group, self.directory.name)
            self.unlimited = self.leaf.make(plan.limits)
            undo.callback(self.leaf.remove)
            self.pid, self._pidfd = self._launch(places, plan, data)
            undo.callback(self._end)
            if record is not None:
                start_time = instances.process_start_time(self.pid) or 0
                self.directory.write(replace(record, pid=self.pid, start_time=start_time))
            self._undo = undo.pop_all()

    def _launch(self, places: Places, plan: LaunchPlan, data: bytes) -> tuple[int, int]:
        with ExitStack() as opened:

            def keep(fd: int) -> int:
                if fd >= 0:
                    opened.callback(os.close, fd)
                return fd

            try:
                init = keep(os.open(INIT, os.O_PATH | os.O_CLOEXEC))
            except FileNotFoundError as error:
                raise LaunchError(f"{plan.name}: the init program is missing", "build it: make build") from error
            directory = keep(os.open(self.directory.path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC))
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            opened.callback(listener.close)
            listener.bind(f"/proc/self/fd/{directory}/control")
            listener.listen(8)
            status = keep(os.open(self.directory.path / "status", os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            cgroup = keep(self.leaf.open())
            lifeline, self._lifeline = os.pipe2(os.O_CLOEXEC)
            keep(lifeline)
            try:
                return engine.launch(
                    data,
                    name=plan.name,
                    stage=str(instances.stage(places)),
                    init_fd=init,
                    control_fd=listener.fileno(),
                    status_fd=status,
                    lifeline_fd=lifeline,
                    cgroup_fd=cgroup,
                )
            except BaseException:
                os.close(self._lifeline)
                raise

    @property
    def control(self) -> Path:
        return self.directory.path / "control"

    def kill(self) -> None:
        """Kill all of it."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def _end(self) -> None:
        """Kill what is left and wait: when init is reaped, nothing of its pid namespace runs any more."""
        self.kill()
        with suppress(ChildProcessError):
            os.waitpid(self.pid, 0)
        os.close(self._pidfd)
        os.close(self._lifeline)

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()


def run_to_end(places: Places, plan: LaunchPlan, *, stdout: int, stderr: int, watch: Callable[[], None]) -> int:
    """The runner of image builds (ftos.image.container.Runner): launch, wait, return the exit status."""
    with Container(places, plan) as container:
        connection = Connection.connect(container.control)
        null = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return session.run_plain(connection, command_of(plan), (null, stdout, stderr), watch)
        except session.StartFailed as failure:
            raise LaunchError(f"{plan.name}: could not execute {plan.command[0]}: {failure}") from failure
        finally:
            os.close(null)
            connection.close()
