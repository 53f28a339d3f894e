# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said of a commit by its key's owner, before any of it is believed. Pure."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from ftos.errors import BuildError
from ftos.image.manifest import InstalledPackage, LockedPackage, Manifest, PackageLock
from ftos.image.pull import delta_path
from ftos.image.remote import read_manifest
from ftos.spec.records import Image

IMAGE = Image(
    kind="image", schema=1, name="notes", title="x", version="1", osbase="debian/trixie", command=("/bin/sh",)
)
PACKAGE = LockedPackage(
    name="libstdc++6",
    version="1:14.2.0-19+b1~x",
    architecture="amd64",
    file="libstdc++6_1%3a14.2.0-19_amd64.deb",
    size=1,
    checksum="sha256:" + "0" * 64,
    url="http://mirror.test.invalid/x.deb",
)
MANIFEST = Manifest(
    kind="image",
    name="notes",
    digest="d" * 64,
    osbase="debian/trixie",
    base="b" * 64,
    components=(),
    packages=(),
    lock=PackageLock(base=(PACKAGE,), indexes={}),
    size=3,
    built_at="2026-01-31T12:00:00Z",
)


def test_the_manifest_of_a_build_passes() -> None:
    assert read_manifest(msgspec.json.encode(MANIFEST).decode(), IMAGE, "d" * 64) == MANIFEST


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"name": "other"}, "the commit is 'image' 'other'"),
        ({"kind": "osbase"}, "the commit is 'osbase' 'notes'"),
        ({"digest": "e" * 64}, "another recipe"),
        ({"osbase": "alpine/edge"}, "another recipe"),
        ({"parent": "../../x"}, "has not the form"),
        ({"built_at": "9\x1b[2J"}, "has not the form"),
        ({"size": -1}, "has not the form"),
        ({"lock": PackageLock(base=(replace(PACKAGE, file="../x.deb"),), indexes={})}, "is damaged"),
        ({"lock": PackageLock(base=(), packages=(replace(PACKAGE, version="-o x"),), indexes={})}, "has not the form"),
        ({"lock": PackageLock(base=(replace(PACKAGE, checksum="sha256:../x"),), indexes={})}, "is damaged"),
        ({"lock": PackageLock(base=(replace(PACKAGE, url="-x"),), indexes={})}, "has not the form"),
        ({"lock": PackageLock(base=(PACKAGE,), packages=(PACKAGE,), indexes={})}, "has not the form"),
        ({"lock": PackageLock(base=(PACKAGE, replace(PACKAGE, version="2")), indexes={})}, "has not the form"),
        ({"packages": (InstalledPackage(name="x" * 1025, version="1", architecture="all"),)}, "is damaged"),
        ({"components": ("x" * (16 << 20),)}, "is larger than"),
    ],
)
def test_a_manifest_that_is_not_what_is_wanted_is_refused(wrong: dict[str, object], why: str) -> None:
    body = msgspec.json.encode(replace(MANIFEST, **wrong)).decode()
    with pytest.raises(BuildError, match=why):
        read_manifest(body, IMAGE, "d" * 64)


@pytest.mark.parametrize("body", ['{"kind": 1}', '{"x":' + "[" * 100_000])
def test_a_manifest_that_is_none_is_refused(body: str) -> None:
    with pytest.raises(BuildError, match="is damaged"):
        read_manifest(body, IMAGE, "d" * 64)


def test_a_delta_is_where_ostree_puts_it() -> None:
    commit = "618534a00fd3202798af4158c739b7597d46efc7b5f5cd46e566d9a4efda27a8"
    other = "673542483a481e83b9858fd82bbea16834632f1453f709e87d22b9fbec5fce08"
    assert delta_path(None, commit) == "deltas/YY/U0oA_TICeYr0FYxzm3WX1G78e19c1G5WbZpO_aJ6g"
    assert delta_path(commit, other).endswith("aJ6g-ZzVCSDpIHoO5hY_YK76haDRjLxRT9wnofSK5++xfzgg")
