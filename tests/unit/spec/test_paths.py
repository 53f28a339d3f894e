# SPDX-License-Identifier: AGPL-3.0-or-later
"""How paths lie to each other. What a path may look like is seen in test_load."""

from __future__ import annotations

import pytest

from ftos.spec.paths import is_below, path_problem, same_path


@pytest.mark.parametrize(
    ("path", "directory", "expected"),
    [
        ("/a", "/a", True),
        ("/a/", "/a", True),
        ("/a", "/a/", True),
        ("/a/b", "/a", True),
        ("/ab", "/a", False),
        ("/a", "/a/b", False),
        ("/a", "/", True),
        ("/", "/", True),
    ],
)
def test_a_path_is_below_a_directory_or_not(path: str, directory: str, expected: bool) -> None:
    assert is_below(path, directory) is expected


def test_a_slash_at_the_end_makes_no_other_place() -> None:
    assert [same_path(path) for path in ("/", "/a", "/a/")] == ["/", "/a", "/a"]


@pytest.mark.parametrize(
    ("path", "expected"), [("~", ""), ("~/", ""), ("~/a", ""), ("~/../a", "'..' is not allowed in a path")]
)
def test_paths_below_the_owners_home_follow_the_same_rules(path: str, expected: str) -> None:
    assert path_problem(path) == expected
