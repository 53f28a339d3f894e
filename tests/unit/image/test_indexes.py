# SPDX-License-Identifier: AGPL-3.0-or-later
"""The directory of indexes which builds share: nobody sees half of a change."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from ftos.host.trees import directory
from ftos.image.engines.apt_fetch import keep_indexes
from ftos.image.engines.indexes import changing, copy_indexes

NAMES = ("m.invalid_InRelease", "m.invalid_a_Packages", "m.invalid_b_Packages")


@pytest.fixture
def known(tmp_path: Path) -> Path:
    (tmp_path / "known").mkdir()
    return tmp_path / "known"


def write(place: Path, number: int) -> None:
    place.mkdir(exist_ok=True)
    for name in NAMES:
        words = f"Date: Sat, 01 Aug 2026 00:00:{number:02} UTC\n"
        (place / name).write_text(words + "x" * 200_000)


def test_who_reads_sees_all_of_one_refresh(known: Path, tmp_path: Path) -> None:
    write(known, 0)
    done = threading.Event()

    def refresh() -> None:
        try:
            for number in range(1, 30):
                write(tmp_path / "lists", number)
                with directory(tmp_path / "lists") as lists:
                    keep_indexes(lists, known)
        finally:
            done.set()

    writer = threading.Thread(target=refresh)
    writer.start()
    looks = 0
    while not done.is_set() or not looks:
        target = tmp_path / f"copy-{looks}"
        target.mkdir()
        copies = copy_indexes(known, target)
        assert {copy.name for copy in copies} == set(NAMES)
        assert len({copy.read_bytes()[:50] for copy in copies}) == 1
        looks += 1
    writer.join()
    assert looks > 1
    assert "00:00:29" in (known / NAMES[0]).read_text()


def test_what_a_killed_process_left_goes_with_the_next_change(known: Path, tmp_path: Path) -> None:
    write(known, 0)
    (known / f".{NAMES[0]}.0123.tmp").touch()
    (tmp_path / "copy").mkdir()
    assert {copy.name for copy in copy_indexes(known, tmp_path / "copy")} == set(NAMES)
    with changing(known):
        assert {path.name for path in known.iterdir()} == set(NAMES)
