# SPDX-License-Identifier: AGPL-3.0-or-later
"""Id ranges: one for each deployment, for ever, and never one that somebody else has."""

from __future__ import annotations

import grp
import json
import pwd
import subprocess
import sys
from itertools import chain, pairwise
from pathlib import Path

import pytest

from ftos.errors import FtosError
from ftos.host import ids
from ftos.host.places import Places
from ftos.plan.records import FOREIGN_BASE

FOREIGN_END = FOREIGN_BASE + ids.RANGE_SIZE
CONTAINERS_END = 1878982656
"""One past systemd's range for containers (systemd.io/UIDS-GIDS)."""


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path)


def stored(places: Places) -> Path:
    return places.state / "id-ranges.json"


def test_a_range_stays_the_same(places: Places) -> None:
    first = ids.allocate(places, "d-0000000a")
    assert ids.allocate(places, "d-0000000b") != first
    assert ids.allocate(Places(places.root), "d-0000000a") == first


def test_ranges_do_not_overlap_and_lie_between_systemds(places: Places) -> None:
    starts = sorted(ids.allocate(places, f"d-{number:08x}") for number in range(50))
    assert all(later - earlier >= ids.RANGE_SIZE for earlier, later in pairwise(starts))
    assert starts[0] >= CONTAINERS_END
    assert starts[-1] + ids.RANGE_SIZE <= FOREIGN_BASE


def test_the_whole_space_lies_between_systemds_ranges() -> None:
    assert ids.FIRST > CONTAINERS_END
    assert ids.LAST < FOREIGN_BASE
    assert (ids.LAST + 1 - ids.FIRST) % ids.RANGE_SIZE == 0


def test_the_list_is_roots_alone(places: Places) -> None:
    ids.allocate(places, "build")
    assert stored(places).stat().st_mode & 0o777 == 0o600
    assert json.loads(stored(places).read_text()) == {"build": ids.FIRST}


def test_ids_of_accounts_and_groups_are_avoided(places: Places, monkeypatch: pytest.MonkeyPatch) -> None:
    user = pwd.struct_passwd(("x", "x", ids.FIRST + 65535, 100, "", "/", "/bin/sh"))
    group = grp.struct_group(("x", "x", ids.FIRST + ids.RANGE_SIZE, []))
    monkeypatch.setattr(pwd, "getpwall", lambda: [user])
    monkeypatch.setattr(grp, "getgrall", lambda: [group])
    assert ids.allocate(places, "build") == ids.FIRST + 2 * ids.RANGE_SIZE


@pytest.mark.parametrize("name", ["subuid", "subgid"])
def test_delegated_ids_are_avoided(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A delegation may begin before a range and end within it. What is no entry is passed over."""
    delegated = tmp_path / name
    delegated.write_text(f"\n# alex:1:1\nalex:{ids.FIRST - 10}:{ids.RANGE_SIZE + 11}\nbad\nalex:²:1\nalex:-1:x\n")
    monkeypatch.setattr(ids, "DELEGATED", (delegated, tmp_path / "missing"))
    assert ids.allocate(places, "build") == ids.FIRST + 2 * ids.RANGE_SIZE


def test_when_none_is_left_it_says_so(places: Places, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    delegated = tmp_path / "subuid"
    delegated.write_text(f"alex:0:{FOREIGN_END}\n")
    monkeypatch.setattr(ids, "DELEGATED", (delegated,))
    with pytest.raises(FtosError) as caught:
        ids.allocate(places, "build")
    assert caught.value.message == "no range of ids is left for another deployment"
    assert caught.value.hint == "remove deployments that are not needed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        "\0",
        '{"a": "x"}',
        '{"a": 0}',
        '{"a": 1000}',
        '{"a": 2147352576}',
        '{"a": 1879048193}',
        '{"a": 1879048192, "b": 1879048192}',
        '{"a": true}',
    ],
)
def test_a_damaged_list_is_an_error_and_stays_as_it_is(places: Places, text: str) -> None:
    places.state.mkdir(parents=True)
    stored(places).write_text(text)
    with pytest.raises(FtosError, match=r"^the list of id ranges '.*id-ranges.json' is damaged: ") as caught:
        ids.allocate(places, "build")
    assert caught.value.hint == "restore it from a backup: data hangs on it"
    assert stored(places).read_text() == text


def test_two_processes_never_get_the_same_range(places: Places) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom ftos.host import ids\nfrom ftos.host.places import Places\n"
        "sys.stdin.readline()\n"
        "for n in range(25): print(ids.allocate(Places(Path(sys.argv[1])), f'{sys.argv[2]}-{n}'))"
    )
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(places.root), key],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[3],
        )
        for key in ("a", "b")
    ]
    for process in started:
        assert process.stdin
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=60)[0].split() for process in started]
    assert [len(output) for output in outputs] == [25, 25]
    assert len({start for output in outputs for start in output}) == 50
    assert sorted(map(str, json.loads(stored(places).read_text()).values())) == sorted(chain(*outputs))
