# SPDX-License-Identifier: AGPL-3.0-or-later
"""How errors are shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftos.spec.problems import DescriptorError, DescriptorErrors, Key, did_you_mean, key_text


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ((), ""),
        (("packages", 2), "packages[2]"),
        (("volumes", 0, "name"), "volumes[0].name"),
        (("os-services", "display"), "os-services.display"),
        (("a.b", "c\x1b"), "'a.b'.'c\\x1b'"),
        ((0, 1), "[0][1]"),
        (("",), "''"),
    ],
)
def test_a_key_is_shown_as_people_write_it(key: Key, text: str) -> None:
    assert key_text(key) == text


def test_errors_are_sorted_by_file_and_line() -> None:
    errors = [DescriptorError(Path(name), line, "", "bad") for name, line in [("b", 1), ("a", 10), ("a", 9)]]
    assert DescriptorErrors(errors).message == "a:9: bad\na:10: bad\nb:1: bad"


def test_only_a_word_that_is_near_is_suggested() -> None:
    assert did_you_mean("packges", ["packages", "path"]) == "did you mean `packages`?"
    assert did_you_mean("zzz", ["packages", "path"]) == ""
