# SPDX-License-Identifier: AGPL-3.0-or-later
"""The output of build containers: logged, bounded, shown safely. The runner here is a plain process."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.image.container import BuildLog, run_logged
from ftos.image.watchdog import Patience, Watchdog
from ftos.plan.containers import tools_container
from ftos.plan.records import LaunchPlan


def process(plan: LaunchPlan, *, stdout: int, stderr: int, watch: Callable[[], None]) -> int:
    with subprocess.Popen(plan.command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr) as child:
        while True:
            try:
                status = child.wait(0.05)
                return status if status >= 0 else 128 - status
            except subprocess.TimeoutExpired:
                try:
                    watch()
                except BaseException:
                    child.kill()
                    raise


def watchdog(step: str, log: BuildLog, **patience: float) -> Watchdog:
    return Watchdog(step, log.path.parent, Patience(**patience))


def shell(script: str) -> LaunchPlan:
    return tools_container(
        name="test", id_base=0, command=("/bin/sh", "-c", script), environment={}, binds=(), network=False
    )


@pytest.fixture
def log(tmp_path: Path) -> Iterator[BuildLog]:
    made = BuildLog(tmp_path / "logs/test.log")
    yield made
    made.close()


def test_both_streams_are_logged_and_lines_offered(log: BuildLog) -> None:
    lines: list[bytes] = []

    def take(line: bytes) -> bool:
        lines.append(line)
        return True

    run_logged(process, shell("echo out; echo err >&2; printf unfinished"), log, watchdog("step", log), take)
    assert lines == [b"out", b"err"]
    assert log.path.read_text().endswith("out\nerr\nunfinished")


def test_a_failure_shows_the_last_lines_without_progress_and_where_the_log_is(log: BuildLog) -> None:
    script = "for i in $(seq 30); do echo progress $i; echo line $i; done; printf '\\033[2Jlast'; exit 3"
    with pytest.raises(BuildError, match="unpacking: failed with status 3:") as caught:
        run_logged(process, shell(script), log, watchdog("unpacking", log), lambda line: line.startswith(b"progress"))
    shown = caught.value.message.splitlines()[1:]
    assert shown[-2:] == ["  line 30", "  \\x1b[2Jlast"]
    assert len(shown) == 12
    assert str(log.path) in caught.value.hint


def test_death_by_a_signal_is_told(log: BuildLog) -> None:
    with pytest.raises(BuildError, match=r"step: failed with signal 9$"):
        run_logged(process, shell("kill -9 $$"), log, watchdog("step", log), lambda line: False)


def test_the_log_is_bounded_and_the_container_never_hangs(log: BuildLog) -> None:
    log.left = 1000
    with pytest.raises(BuildError, match="status 1") as caught:
        run_logged(
            process,
            shell("head -c 3000000 /dev/zero; echo; echo end; exit 1"),
            log,
            watchdog("step", log),
            lambda line: False,
        )
    assert log.path.stat().st_size == 1000
    assert len(caught.value.message) < 100_000
    assert caught.value.message.endswith("  end")


def test_an_error_of_the_parser_is_raised_after_all_was_read(log: BuildLog) -> None:
    def fail(line: bytes) -> bool:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        run_logged(process, shell("seq 100000"), log, watchdog("step", log), fail)


def test_an_interrupt_passes(log: BuildLog) -> None:
    def interrupted(plan: LaunchPlan, *, stdout: int, stderr: int, watch: Callable[[], None]) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_logged(interrupted, shell("true"), log, watchdog("step", log), lambda line: False)


def test_a_step_that_does_not_end_is_ended_and_its_last_words_are_told(log: BuildLog) -> None:
    endless = "while :; do echo still at it; sleep 0.1; done"
    with pytest.raises(BuildError, match=r"step: not done after 0.3 seconds:\n  still at it") as caught:
        run_logged(process, shell(endless), log, watchdog("step", log, total=0.3), lambda line: False)
    assert str(log.path) in caught.value.hint


def test_a_step_that_says_nothing_is_ended_and_one_that_does_is_not(log: BuildLog) -> None:
    with pytest.raises(BuildError, match=r"step: nothing was heard of it for 0.3 seconds$"):
        run_logged(process, shell("exec sleep 60"), log, watchdog("step", log, silence=0.3), lambda line: False)
    talking = "for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done"
    run_logged(process, shell(talking), log, watchdog("step", log, silence=0.3), lambda line: False)
