# SPDX-License-Identifier: AGPL-3.0-or-later
"""System calls inside, outside (the control) and in a plain bubblewrap, which is known to let many through."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ftos.runtime.control import Kind
from tests.sandbox.calls import TABLE, Call
from tests.sandbox.harness import Result, Sandbox, talk, unconfined

INPUT = "".join(f"{call.line}\n" for call in TABLE)
TERMINAL_REQUESTS = [name + bits for name in ("TIOCSTI", "TIOCLINUX") for bits in ("", "-high", "-all-high")]
ACCEPTED_BY_BUBBLEWRAP = 12
"""At least so many calls of the table does a bubblewrap without a filter let through."""


def inside(sandbox: Sandbox, probe: Path, mode: str, text: str = "") -> Result:
    """What the probe program says inside; `text` is its input."""
    (probe / "input").write_text(text)
    sandbox.show(probe, "/mnt")
    with sandbox.launch() as container:
        command = sandbox.command("/bin/sh", "-c", f"exec /mnt/probe {mode} < /mnt/input")
        return talk(container, Kind.START, command)


def answers(result: Result) -> dict[str, int | str]:
    assert result.status == 0, result
    lines = [line if line.startswith("signal") else int(line) for line in result.lines]
    return dict(zip((call.label for call in TABLE), lines, strict=True))


@pytest.fixture(scope="module")
def confined(shared_sandbox: Sandbox, probe: Path) -> dict[str, int | str]:
    return answers(inside(shared_sandbox, probe, "table", INPUT))


@pytest.fixture(scope="module")
def control(probe: Path) -> dict[str, int | str]:
    return answers(unconfined(str(probe / "probe"), "table", text=INPUT))


@pytest.mark.parametrize("call", TABLE, ids=lambda call: call.label)
def test_the_call_is_refused(confined: dict[str, int | str], control: dict[str, int | str], call: Call) -> None:
    assert confined[call.label] == call.expected
    if control[call.label] == call.expected:
        pytest.skip("inconclusive: the same without the sandbox")
    if control[call.label] not in call.unblocked:
        pytest.skip(f"inconclusive: without the sandbox it is errno {control[call.label]}, not {call.unblocked}")


def test_the_table_tells_of_most_calls(control: dict[str, int | str]) -> None:
    """So that the skips above do not come to mean that nothing is tested."""
    told = [call for call in TABLE if control[call.label] in call.unblocked and control[call.label] != call.expected]
    assert len(told) > len(TABLE) * 2 // 3


def test_a_plain_bubblewrap_lets_many_of_them_through(probe: Path) -> None:
    """The negative control: a table that finds nothing there finds nothing anywhere."""
    program = shutil.which("bwrap") or pytest.skip("bubblewrap is not installed")
    command = [program, "--unshare-all", "--ro-bind", "/", "/", str(probe / "probe"), "table"]
    done = subprocess.run(command, input=INPUT, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode:
        pytest.skip(f"bubblewrap does not run here: {done.stderr.strip()}")
    found = answers(Result(done.returncode, done.stdout, done.stderr))
    through = [
        call.label for call in TABLE if found[call.label] != call.expected and found[call.label] in call.unblocked
    ]
    assert len(through) >= ACCEPTED_BY_BUBBLEWRAP


@pytest.fixture(scope="module")
def typed(shared_sandbox: Sandbox, probe: Path) -> tuple[Result, Result]:
    return inside(shared_sandbox, probe, "terminal"), unconfined(str(probe / "probe"), "terminal")


@pytest.mark.parametrize("request_name", TERMINAL_REQUESTS)
def test_nothing_can_be_typed_into_a_terminal(typed: tuple[Result, Result], request_name: str) -> None:
    confined, control = (dict(line.split(" ", 1) for line in result.lines) for result in typed)
    assert confined[request_name] == "1 0"
    if control[request_name] == "1 0":
        pytest.skip("inconclusive: this kernel refuses it without the sandbox too")


@pytest.fixture(scope="module")
def needed(shared_sandbox: Sandbox, probe: Path) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in inside(shared_sandbox, probe, "benign").lines)


@pytest.mark.parametrize(
    "name",
    [
        *("threads", "clone3", "fork", "memory", "memfd", "epoll", "statx", "rseq", "signalfd", "inotify", "timerfd"),
        *("unix-sockets", "internet-sockets", "system-v", "posix-shared-memory", "terminals", "landlock", "seccomp"),
        *("pidfd", "getrandom", "files"),
    ],
)
def test_what_every_program_needs_works(needed: dict[str, str], name: str) -> None:
    assert needed[name] == "ok"
