# SPDX-License-Identifier: AGPL-3.0-or-later
"""Paths of directory instances, followed as far as no app can have written."""

from __future__ import annotations

from pathlib import Path

import pytest

from ftos.runtime.located import located
from ftos.spec.records import Service


def instance(name: str, path: str, interface: str = "user-dir") -> Service:
    return Service(
        kind="service", schema=1, name=name, interface=interface, provider="directory", settings={"path": path}
    )


def paths(home: Path | None, **instances: str) -> dict[str, str]:
    services = located((instance(name, path) for name, path in instances.items()), None if home is None else str(home))
    return {name: str(service.settings["path"]) for name, service in services.items()}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    top = tmp_path / "home"
    (top / "Documents/sub/x").mkdir(parents=True)
    (top / "secret/x").mkdir(parents=True)
    return top.resolve()


def test_symlinks_of_the_owner_are_followed(home: Path) -> None:
    (home / "link").symlink_to("Documents")
    assert paths(home, a="~/link") == {"a": f"{home}/Documents"}


def test_an_instance_behind_another_is_not_followed_out_of_it(home: Path) -> None:
    (home / "Documents/sub/x").rmdir()
    (home / "Documents/sub").rmdir()
    (home / "Documents/sub").symlink_to(home / "secret")  # as an app does that may write in Documents
    assert paths(home, a="~/Documents", b="~/Documents/sub/x")["b"] == f"{home}/Documents/sub/x"


def test_an_instance_named_through_a_symlink_is_still_around_what_lies_in_it(home: Path) -> None:
    (home / "link").symlink_to("Documents")
    (home / "Documents/sub/x").rmdir()
    (home / "Documents/sub").rmdir()
    (home / "Documents/sub").symlink_to(home / "secret")
    found = paths(home, a="~/link", b="~/Documents/sub/x")
    assert found == {"a": f"{home}/Documents", "b": f"{home}/Documents/sub/x"}


def test_two_instances_of_one_directory_do_not_hinder_each_other(home: Path) -> None:
    assert paths(home, a="~/Documents", b=f"{home}/Documents") == dict.fromkeys("ab", f"{home}/Documents")


@pytest.mark.parametrize("path", ["relative", "~/x", "/a/../b"])
def test_what_can_not_be_followed_stays_as_it_is_written(path: str) -> None:
    assert paths(None, a=path) == {"a": path}


def test_other_interfaces_are_left_alone() -> None:
    other = instance("a", "/proc/self", interface="location")
    assert located([other], None) == {"a": other}
