# SPDX-License-Identifier: AGPL-3.0-or-later
"""Id ranges: each deployment has 65,536 kernel user and group ids of its own, for ever.

A range is taken from where neither the accounts of this device nor /etc/subuid and /etc/subgid nor systemd's ranges
(systemd.io/UIDS-GIDS) lie, is written down before it is first used, and is never given to another deployment.
"""

from __future__ import annotations

import fcntl
import grp
import json
import pwd
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ftos.errors import FtosError, quote
from ftos.host.files import write_atomically
from ftos.host.places import Places

RANGE_SIZE = 65536
FIRST, LAST = 0x70000000, 0x7FFE0000 - 1
"""Between systemd's container range, which ends at 1,878,982,656, and its foreign range at 0x7FFE0000."""
DELEGATED = (Path("/etc/subuid"), Path("/etc/subgid"))


def allocate(places: Places, key: str) -> int:
    """The first kernel id of the range that belongs to `key` (a deployment's id, or `build`); a new one if it has none.

    Raises FtosError when the list of ranges can't be read, or no range is left.
    """
    with _locked(places) as path:
        ranges = _read(path)
        if key not in ranges:
            ranges[key] = _first_free(ranges)
            write_atomically(path, json.dumps(ranges, indent=1, sort_keys=True).encode() + b"\n", 0o600)
        return ranges[key]


@contextmanager
def _locked(places: Places) -> Iterator[Path]:
    places.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with open(places.state / "id-ranges.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield places.state / "id-ranges.json"


def _read(path: Path) -> dict[str, int]:
    try:
        ranges = json.loads(path.read_bytes())
        starts = list(ranges.values())
        if not all(type(start) is int and start in range(FIRST, LAST + 1, RANGE_SIZE) for start in starts):
            raise ValueError("a range lies outside")
        if len(set(starts)) < len(starts):
            raise ValueError("two have the same range")
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError) as error:
        raise FtosError(
            f"the list of id ranges {quote(path)} is damaged: {error}", "restore it from a backup: data hangs on it"
        ) from error
    return dict(ranges)


def _first_free(ranges: dict[str, int]) -> int:
    taken = list(_taken_on_host())
    given = set(ranges.values())
    for start in range(FIRST, LAST + 1, RANGE_SIZE):
        end = start + RANGE_SIZE
        if start not in given and all(high <= start or low >= end for low, high in taken):
            return start
    raise FtosError("no range of ids is left for another deployment", "remove deployments that are not needed")


def _taken_on_host() -> Iterator[tuple[int, int]]:
    """Ranges (first, one past the last) of ids that the host uses or has delegated."""
    for account in pwd.getpwall():
        yield account.pw_uid, account.pw_uid + 1
    for group in grp.getgrall():
        yield group.gr_gid, group.gr_gid + 1
    for delegated in DELEGATED:
        try:
            lines = delegated.read_text(errors="replace").splitlines()
        except FileNotFoundError:
            continue
        for line in lines:
            fields = line.split(":")
            if len(fields) == 3 and fields[1].isdecimal() and fields[2].isdecimal():
                yield int(fields[1]), int(fields[1]) + int(fields[2])
