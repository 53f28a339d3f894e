# SPDX-License-Identifier: AGPL-3.0-or-later
"""Processes of a container: how they end, what their end leaves, and that further ones are confined as the app is."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ftos.runtime import instances, session
from ftos.runtime.cgroups import hierarchy
from ftos.runtime.container import Container
from ftos.runtime.control import Kind
from ftos.runtime.stopping import stop
from tests.sandbox.harness import PYTHON, Sandbox, running, script, talk

CONFINEMENT = """
status = dict(line.split(":", 1) for line in read("/proc/self/status").splitlines())
names = ("Umask", "Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp",
         "Seccomp_filters", "SigBlk")
print(json.dumps({
    **{name: status[name].strip() for name in names},
    "spaces": {name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")},
    "cgroup": read("/proc/self/cgroup"),
    "limits": read("/proc/self/limits"),
    "oom": read("/proc/self/oom_score_adj"),
    "environment": dict(os.environ),
    "landlock": [attempt(write, "/media/of-the-app", os.O_CREAT | os.O_WRONLY), attempt(os.mkdir, "/media/directory")],
    "terminal": read("/proc/self/stat").rpartition(")")[2].split()[4],
    "leads its session": os.getsid(0) == os.getpid(),
}))
"""


def eventually(condition: Callable[[], object], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def written_status(container: Container) -> str:
    """What init wrote, once it has ended."""
    os.waitid(os.P_PID, container.pid, os.WEXITED | os.WNOWAIT)
    return (container.directory.path / "status").read_text()


@pytest.mark.parametrize("status", [0, 1, 7, 125, 255])
def test_exit_status_passes(sandbox: Sandbox, status: int) -> None:
    assert sandbox.run("/bin/sh", "-c", f"exit {status}").status == status


@pytest.mark.parametrize("name", ["HUP", "INT", "KILL", "TERM", "SEGV", "USR1"])
def test_an_end_by_a_signal_is_128_and_its_number(sandbox: Sandbox, name: str) -> None:
    assert sandbox.run("/bin/sh", "-c", f"kill -{name} $$").status == 128 + signal.Signals[f"SIG{name}"]


def test_the_status_is_on_the_disk_even_when_nobody_waits_for_it(sandbox: Sandbox) -> None:
    with sandbox.launch() as container:
        with running(container, sandbox.command("/bin/sh", "-c", "exit 42")):
            pass
        assert written_status(container) == "exit 42\n"


@pytest.mark.parametrize(
    ("program", "status"),
    [("no-such-program", 127), ("/no/such/program", 127), ("/etc/passwd", 126), ("/etc", 126), ("/etc/passwd/x", 127)],
)
def test_a_program_that_can_not_be_executed(sandbox: Sandbox, program: str, status: int) -> None:
    with sandbox.launch() as container:
        with pytest.raises(session.StartFailed) as failure:
            talk(container, Kind.START, sandbox.command(program))
        assert failure.value.status == status
        assert written_status(container) == f"exit {status}\n"


@pytest.mark.parametrize(("program", "status"), [("no-such-program", 127), ("/etc/passwd", 126)])
def test_a_further_program_that_can_not_be_executed_ends_nothing(sandbox: Sandbox, program: str, status: int) -> None:
    with sandbox.launch() as container, running(container, sandbox.command("/bin/sleep", "30")):
        with pytest.raises(session.StartFailed) as failure:
            talk(container, Kind.EXEC, sandbox.command(program))
        assert failure.value.status == status
        assert talk(container, Kind.EXEC, sandbox.command("/bin/echo", "here")).out == "here\n"


@pytest.mark.parametrize("number", session.FORWARDED, ids=lambda number: number.name)
def test_signals_to_the_launcher_reach_the_app(sandbox: Sandbox, number: signal.Signals) -> None:
    code = f"""
    import signal
    signal.signal({number.value}, lambda *_: sys.exit(9))
    print("ready", flush=True)
    signal.pause()
    """
    command = sandbox.driver(PYTHON, "-c", script(code))
    with subprocess.Popen(command, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdout is not None
        assert launcher.stdout.readline() == b"ready\n"
        launcher.send_signal(number)
        assert launcher.wait(10) == 9
    assert sandbox.processes() == []


def test_a_signal_that_the_launcher_was_told_to_ignore_is_not_forwarded(sandbox: Sandbox, tmp_path: Path) -> None:
    """As with nohup."""
    command = ["/bin/sh", "-c", 'trap "" HUP; exec "$@"', "sh", *sandbox.driver("/bin/cat")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as launcher:
        assert launcher.stdin is not None
        assert launcher.stdout is not None
        launcher.stdin.write(b"one\n")
        launcher.stdin.flush()
        assert launcher.stdout.readline() == b"one\n"
        launcher.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        assert launcher.poll() is None
        launcher.stdin.close()
        assert launcher.wait(10) == 0


def test_a_signal_that_ends_the_app_is_its_status(sandbox: Sandbox, tmp_path: Path) -> None:
    with subprocess.Popen(sandbox.driver("/bin/sh", "-c", "echo ready; exec sleep 30"), stdout=-1) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        launcher.terminate()
        assert launcher.wait(10) == 128 + signal.SIGTERM


def test_orphans_are_reaped(sandbox: Sandbox) -> None:
    done = sandbox.python(
        """
        import time
        for _ in range(20):
            if os.fork() == 0:
                if os.fork() == 0:
                    time.sleep(0.05)
                os._exit(0)
            os.wait()
        time.sleep(0.3)
        print(json.dumps([name for name in os.listdir("/proc") if name.isdigit()]))
        """
    )
    assert len(done.json()) == 2


def test_a_daemon_is_gone_when_the_app_has_ended(sandbox: Sandbox) -> None:
    """Double fork, own session, streams closed, signals ignored: the end of pid 1 is the end of all."""
    daemon = "trap '' HUP TERM; (setsid sh -c 'trap \"\" HUP TERM; sleep 600' </dev/null >/dev/null 2>&1 &) ; sleep 0.1"
    assert sandbox.run("/bin/sh", "-c", daemon).status == 0
    assert sandbox.processes() == []


def test_a_daemon_does_not_keep_the_launcher(sandbox: Sandbox) -> None:
    """Though it holds the app's standard output."""
    began = time.monotonic()
    assert sandbox.run("/bin/sh", "-c", "setsid sleep 600 & echo started").out == "started\n"
    assert time.monotonic() - began < 10


def test_a_fork_bomb_meets_its_limit(sandbox: Sandbox) -> None:
    sandbox.deployment = "limits: {pids: 20}\n"
    done = sandbox.python(
        """
        import signal
        made = []
        try:
            while len(made) < 100:
                pid = os.fork()
                if pid == 0:
                    signal.pause()
                made.append(pid)
        except BlockingIOError:
            pass
        print(len(made))
        """
    )
    assert 0 < int(done.out) < 20
    assert sandbox.processes() == []


def left_of(sandbox: Sandbox) -> tuple[list[int], list[str], int]:
    """Processes, cgroups and the number of mounts in this process's namespace."""
    top = hierarchy()
    cgroups = [] if top is None else [str(path) for path in top.glob(f"ftos/{sandbox.id}/*") if path.is_dir()]
    return sandbox.processes(), cgroups, len(Path("/proc/self/mountinfo").read_text().splitlines())


def test_a_killed_launcher_leaves_no_process_and_the_next_start_the_rest(sandbox: Sandbox, tmp_path: Path) -> None:
    before = left_of(sandbox)
    with subprocess.Popen(sandbox.driver("/bin/sh", "-c", "echo ready; exec sleep 600"), stdout=-1) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        assert len(sandbox.processes()) == 2
        launcher.kill()
        launcher.wait(10)
    assert eventually(lambda: sandbox.processes() == []), "the container outlived its launcher"
    assert instances.running(sandbox.places) == []
    assert left_of(sandbox) == before
    assert list((sandbox.places.run / "instances").iterdir()) == []
    assert sandbox.run("/bin/true").status == 0


def test_a_launcher_killed_at_any_moment_leaves_nothing(sandbox: Sandbox, tmp_path: Path) -> None:
    before = left_of(sandbox)
    moments = random.Random(7)
    for _ in range(8):
        with subprocess.Popen(sandbox.driver("/bin/echo", "one", options=("--repeat",)), stdout=-1) as launcher:
            assert launcher.stdout is not None
            launcher.stdout.readline()
            time.sleep(moments.uniform(0, 0.1))
            launcher.kill()
            launcher.wait(10)
        assert eventually(lambda: sandbox.processes() == [])
        assert sandbox.run("/bin/true").status == 0
        assert left_of(sandbox) == before


def test_killing_init_from_outside_is_the_end_of_all(sandbox: Sandbox, tmp_path: Path) -> None:
    with subprocess.Popen(sandbox.driver("/bin/sh", "-c", "echo ready; sleep 600 & wait"), stdout=-1) as launcher:
        assert launcher.stdout is not None
        launcher.stdout.readline()
        (record,) = instances.running(sandbox.places)
        os.kill(record.pid, signal.SIGKILL)
        assert launcher.wait(10) == session.GONE
    assert sandbox.processes() == []


def test_a_further_process_is_confined_exactly_as_the_app(sandbox: Sandbox, tmp_path: Path) -> None:
    (shown := tmp_path / "shown").mkdir(mode=0o777)
    os.chown(shown, sandbox.owner.uid, sandbox.owner.gid)
    sandbox.image = (
        "os-services:\n  media: {interface: user-dir, rights: [list, read, delete], reason: x, path: /media}\n"
    )
    sandbox.services = {"media": f"interface: user-dir\nprovider: directory\nsettings: {{path: {shown}}}\n"}
    sandbox.deployment = "os-services:\n  media: {instance: media, rights: [list, read, delete]}\n"
    app = sandbox.python(CONFINEMENT).json()
    with sandbox.launch() as container, running(container, sandbox.command("/bin/sleep", "30")):
        further = talk(container, Kind.EXEC, sandbox.command(PYTHON, "-c", script(CONFINEMENT))).json()
        of_init = {name: os.readlink(f"/proc/{container.pid}/ns/{name}") for name in further["spaces"]}
    assert further["spaces"] == of_init
    assert without_spaces(further) == without_spaces(app)
    assert app["landlock"] == ["EACCES", "EACCES"]


def without_spaces(seen: Any) -> dict[str, Any]:
    return {name: value for name, value in seen.items() if name != "spaces"}


def test_a_hundred_further_processes_at_once(sandbox: Sandbox) -> None:
    gate = threading.Barrier(100)

    def ask(number: int) -> str:
        gate.wait(30)
        return talk(container, Kind.EXEC, sandbox.command("/bin/sh", "-c", f"sleep 1; echo {number}")).out

    with (
        sandbox.launch() as container,
        running(container, sandbox.command("/bin/sleep", "60")),
        ThreadPoolExecutor(100) as pool,
    ):
        assert [int(answer) for answer in pool.map(ask, range(100))] == list(range(100))


def test_stop_asks_first(sandbox: Sandbox) -> None:
    with sandbox.launch() as container:
        polite = "trap 'exit 0' TERM; while :; do sleep 0.05; done"
        with running(container, sandbox.command("/bin/sh", "-c", polite)):
            time.sleep(0.2)
            records = instances.running(sandbox.places, sandbox.id)
            assert list(stop(records, 10)) == [(container.directory.name, False)]
        assert written_status(container) == "exit 0\n"


def test_stop_kills_what_does_not_listen(sandbox: Sandbox) -> None:
    deaf = ("/bin/sh", "-c", "trap '' TERM; while :; do sleep 0.05; done")
    with sandbox.launch() as container, running(container, sandbox.command(*deaf)):
        time.sleep(0.2)
        records = instances.running(sandbox.places, sandbox.id)
        assert list(stop(records, 0.3)) == [(container.directory.name, True)]
    assert sandbox.processes() == []


def resources() -> tuple[int, int, int, int]:
    """Descriptors, mounts, threads and children of this process."""
    status = Path("/proc/self/status").read_text()
    threads = re.search(r"Threads:\t(\d+)", status)
    assert threads
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return len(os.listdir("/proc/self/fd")), len(mounts), int(threads[1]), len(children)


def test_two_hundred_launches_leave_nothing(sandbox: Sandbox) -> None:
    record = sandbox.prepare()

    def launch() -> int:
        with Container(sandbox.places, sandbox.plan, record) as container:
            return talk(container, Kind.START, sandbox.command("/bin/true")).status

    launch()
    before = resources(), left_of(sandbox)
    assert {launch() for _ in range(200)} == {0}
    assert eventually(lambda: (resources(), left_of(sandbox)) == before), (resources(), left_of(sandbox), before)


def test_fifty_launches_at_once_leave_nothing(sandbox: Sandbox) -> None:
    record = sandbox.prepare()
    gate = threading.Barrier(50)

    def launch(number: int) -> str:
        gate.wait(30)
        with Container(sandbox.places, sandbox.plan, record) as container:
            return talk(container, Kind.START, sandbox.command("/bin/sh", "-c", f"sleep 0.5; echo {number}")).out

    before = resources(), left_of(sandbox)
    with ThreadPoolExecutor(50) as pool:
        assert [int(answer) for answer in pool.map(launch, range(50))] == list(range(50))
    assert eventually(lambda: (resources(), left_of(sandbox)) == before), (resources(), left_of(sandbox), before)
