# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sizes, foreign text, and progress away from a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from ftos.cli.output import escape, human_age, human_size
from ftos.cli.progress import JsonProgress, LineProgress, QueuedProgress, progress


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"), (999, "999"), (1000, "1.0K"), (1024, "1.0K"), (10 << 10, "10K"), (1468006, "1.4M"),
        (700 << 20, "700M"), (1023 << 20, "1.0G"), (5 << 50, "5120T"),
    ],
)  # fmt: skip
def test_size_is_base_1024_and_short(size: int, text: str) -> None:
    assert human_size(size) == text


def test_nothing_of_foreign_text_drives_the_terminal() -> None:
    assert escape("\x1b]0;x\x07 \u202e \x9b1m ä\n") == "\\x1b]0;x\\x07 \\u202e \\x9b1m ä\\n"
    assert escape("a\nb", "\n") == "a\nb"


def test_progress_without_terminal_is_plain_lines_and_few(capsys: pytest.CaptureFixture[str]) -> None:
    with progress() as told:
        assert isinstance(told, QueuedProgress)
        assert isinstance(told.drawn, LineProgress)
        told.stage("fetch")
        for done in range(201):
            told.update(done, 200, f"package-{done}")
        told.note("from the \x1b[1mcache")
        told.stage("install")
        told.update(0, 0, "")
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert (lines[0], lines[1], lines[10]) == ("fetch ...", "  20/200 package-20", "  200/200 package-200")
    assert lines[11:] == ["  from the \\x1b[1mcache", "install ..."]


def test_progress_as_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress(as_json=True) as told:
        assert isinstance(told, QueuedProgress)
        assert isinstance(told.drawn, JsonProgress)
        told.stage("fetch")
        told.update(1, 2, "nano")
        told.note("x")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events == [{"stage": "fetch"}, {"done": 1, "total": 2, "package": "nano"}, {"note": "x"}]


TELLING = """
import os
from ftos.cli.progress import progress

with progress() as told:
    told.stage("x" * 100_000)
    told.note("after")
    os.write(1, b"work is done")
"""


def test_a_reader_who_does_not_read_holds_up_no_work() -> None:
    command = [sys.executable, "-c", TELLING]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert os.read(child.stdout.fileno(), 100) == b"work is done"
        assert child.poll() is None  # it waits for us, with all that is to tell
        assert child.stderr.read() == b"x" * 100_000 + b" ...\n  after\n"
        assert child.wait(10) == 0


def test_a_reader_who_has_gone_stops_no_work() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", TELLING], stdout=subprocess.PIPE, stderr=writing, check=False, timeout=10
    )
    os.close(writing)
    assert done.stdout == b"work is done"


@pytest.mark.parametrize(
    ("ago", "text"), [(-60, "just now"), (59, "just now"), (60, "1m ago"), (7200, "2h ago"), (86400 * 40, "40d ago")]
)
def test_age_is_said_in_its_largest_unit(ago: int, text: str) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago))
    assert human_age(moment) == text
