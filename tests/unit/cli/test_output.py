# SPDX-License-Identifier: AGPL-3.0-or-later
"""Sizes, foreign text, and progress away from a terminal."""

from __future__ import annotations

import json

import pytest

from ftos.cli.output import escape, human_size
from ftos.cli.progress import JsonProgress, LineProgress, progress


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
        assert isinstance(told, LineProgress)
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
        assert isinstance(told, JsonProgress)
        told.stage("fetch")
        told.update(1, 2, "nano")
        told.note("x")
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert events == [{"stage": "fetch"}, {"done": 1, "total": 2, "package": "nano"}, {"note": "x"}]
