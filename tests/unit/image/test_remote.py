# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is said of a commit by its key's owner, before any of it is believed. Pure."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace

from ftos.errors import BuildError
from ftos.image.manifest import LockedPackage, Manifest, PackageLock
from ftos.image.pull import delta_path
from ftos.image.remote import examine_entries, read_manifest
from ftos.image.tree import MOUNT_POINTS
from ftos.plan.records import FOREIGN_BASE as ROOT
from ftos.plan.records import ID_COUNT
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
FILES = {
    "/etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
    "/etc/group": "root:x:0:\napp:x:1000:\n",
}


def entry(kind: str, mode: int, owner: int, path: str, size: int = 0) -> str:
    return f"{kind}0{mode:04o} {owner} {owner} {size:6} {{ @a(ayay) [] }} {path}"


def tree(*more: str) -> list[str]:
    places = [entry("d", mode, ROOT + owner, f"/{place}") for place, (mode, owner) in MOUNT_POINTS.items()]
    return [entry("d", 0o755, ROOT, "/"), *places, *(entry("-", 0o644, ROOT, path) for path in FILES), *more]


def test_the_tree_of_a_build_passes() -> None:
    link = entry("l", 0o777, ROOT, "/usr/bin/vi -> /bin/my -> vi")
    examine_entries(tree(entry("-", 0o755, ROOT + ID_COUNT - 1, "/usr/a name"), link), FILES.__getitem__)


@pytest.mark.parametrize(
    ("more", "why"),
    [
        (entry("-", 0o4755, ROOT, "/usr/su"), "must not be in an image: '-04755"),
        (entry("-", 0o2755, ROOT, "/usr/wall"), "must not be in an image: '-02755"),
        (entry("d", 0o2775, ROOT, "/usr/mail"), "must not be in an image: 'd02775"),
        (entry("-", 0o755, 0, "/usr/su"), "'/usr/su' in the image belongs to an account of the host"),
        (entry("-", 0o755, ROOT + ID_COUNT, "/usr/x"), "belongs to an account of the host"),
        (entry("-", 0o755, ROOT, "/usr/x").replace("[]", "[([byte 0x01], [byte 0x02])]"), "must not be in an image"),
        (entry("c", 0o666, ROOT, "/usr/null"), "must not be in an image: 'c00666"),
        ("second line of a name", "must not be in an image: 'second line"),
        (entry("-", 0o644, ROOT, "/dev/null"), "'/dev/null' must not be in an image"),
        (entry("-", 0o644, ROOT, "/etc/resolv.conf"), "'/etc/resolv.conf' must not be in an image"),
        (entry("d", 0o777, ROOT, "/proc"), "'/proc' in the image is not the directory"),
        (entry("l", 0o777, ROOT, "/home/app -> /etc"), "'/home/app' in the image is not the directory"),
        (entry("-", 0o644, ROOT, "/etc/passwd", 2 << 20), "no /etc/passwd that can be read"),
        (entry("l", 0o777, ROOT, "/etc/group -> /x"), "no /etc/group that can be read"),
    ],
)
def test_what_no_build_leaves_is_refused(more: str, why: str) -> None:
    with pytest.raises(BuildError, match=why):
        examine_entries(tree(more), FILES.__getitem__)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("root:x:0:0:root:/root:/bin/sh\n", "the account app is missing"),
        (FILES["/etc/passwd"] + "evil:x:0:0::/:/bin/sh\n", "share the id 0"),
    ],
)
def test_account_files_are_held_to_the_same_rules(text: str, why: str) -> None:
    with pytest.raises(BuildError, match=why):
        examine_entries(tree(), {**FILES, "/etc/passwd": text}.__getitem__)


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
    ],
)
def test_a_manifest_that_is_not_what_is_wanted_is_refused(wrong: dict[str, object], why: str) -> None:
    body = msgspec.json.encode(replace(MANIFEST, **wrong)).decode()
    with pytest.raises(BuildError, match=why):
        read_manifest(body, IMAGE, "d" * 64)


def test_a_manifest_that_is_none_is_refused() -> None:
    with pytest.raises(BuildError, match="is damaged"):
        read_manifest('{"kind": 1}', IMAGE, "d" * 64)


def test_a_delta_is_where_ostree_puts_it() -> None:
    commit = "618534a00fd3202798af4158c739b7597d46efc7b5f5cd46e566d9a4efda27a8"
    other = "673542483a481e83b9858fd82bbea16834632f1453f709e87d22b9fbec5fce08"
    assert delta_path(None, commit) == "deltas/YY/U0oA_TICeYr0FYxzm3WX1G78e19c1G5WbZpO_aJ6g"
    assert delta_path(commit, other).endswith("aJ6g-ZzVCSDpIHoO5hY_YK76haDRjLxRT9wnofSK5++xfzgg")
