# SPDX-License-Identifier: AGPL-3.0-or-later
"""Our reading of the repository agrees with ostree's: every object, every name, every kind of damage."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest

from ftos.image.objects import Objects
from tests.unit.image.conftest import Device

LONG = "n" * 250


@pytest.fixture
def commit(device: Device) -> str:
    """A tree with names, sizes and targets of all sorts."""
    files = {f"many/{LONG}{number:04}": f"{number}" for number in range(300)}  # offsets of two bytes and more
    files |= {"a/with\nbreak": "x", "a/ü \\": "y", "a/empty": "", "a/big": "z" * 3_000_000, "deep/" * 60 + "er": "e"}
    with device.store.build_directory() as work:
        for path, content in files.items():
            (work / "files" / path).parent.mkdir(parents=True, exist_ok=True)
            (work / "files" / path).write_text(content)
        (work / "files/a/big").chmod(0o750)
        (work / "files/many").chmod(0o1777)
        (work / "files/a/link").symlink_to("t" * 3000)
        (work / "files/a/none").mkdir()
        (work / "skip").touch()
        (work / "body").write_text("x\n")
        return device.store.ostree.commit([work / "files"], work / "skip", "x", work / "body")


def reach(objects: Objects, dirtree: str, dirmeta: str) -> Iterator[str]:
    """Names of all objects of a directory, each of which must be sound."""
    listing = objects.listing(dirtree)
    assert listing is not None
    assert objects.owner_and_mode(dirmeta) is not None
    yield from (f"{dirtree}.dirtree", f"{dirmeta}.dirmeta")
    for checksum in listing.files.values():
        assert objects.file(checksum) is not None
        yield f"{checksum}.file"
    for below in listing.directories.values():
        yield from reach(objects, *below)


def test_all_objects_of_a_commit_are_reached_and_right(device: Device, commit: str) -> None:
    objects = Objects(device.store.repository)
    root = objects.root(commit)
    assert root is not None
    names = {f"{commit}.commit", *reach(objects, *root)}
    stored = {path.parent.name + path.name for path in (device.store.repository / "objects").glob("*/*")}
    assert names == stored
    assert objects.damage == {}
    listing = objects.listing(root[0])
    assert listing is not None
    below = objects.listing(listing.directories["a"][0])
    assert below is not None
    assert {*below.files} == {"with\nbreak", "ü \\", "empty", "big", "link"}
    assert {*below.directories} == {"none"}
    assert objects.owner_and_mode(listing.directories["many"][1]) == (os.getuid(), os.getgid(), 0o41777)


def test_each_object_with_a_flipped_bit_is_damaged_and_ostree_agrees(device: Device, commit: str) -> None:
    paths = sorted((device.store.repository / "objects").glob("*/*"))
    kinds = {path.suffix: path for path in paths if not path.is_symlink() and path.stat().st_size}
    assert {*kinds} == {".commit", ".dirtree", ".dirmeta", ".file"}
    for path in kinds.values():
        content = path.read_bytes()
        path.write_bytes(bytes([content[0] ^ 1]) + content[1:])
        name = path.parent.name + path.name
        assert damage_of(device, name) == {name: "damaged"}
        assert fsck(device) != 0
        path.write_bytes(content)
        for mark in (device.store.repository / "state").glob("*.commitpartial"):
            mark.unlink()
        assert fsck(device) == 0
        path.rename(path.with_suffix(".away"))
        assert damage_of(device, name) == {name: "missing"}
        path.with_suffix(".away").rename(path)
    assert damage_of(device, commit + ".commit") == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root changes owners")
def test_another_owner_mode_or_target_is_damage(device: Device, commit: str) -> None:
    (link,) = (path for path in (device.store.repository / "objects").glob("*/*.file") if path.is_symlink())
    file = next(path for path in (device.store.repository / "objects").glob("*/*.file") if not path.is_symlink())
    name = file.parent.name + file.name
    before = file.stat()
    os.chown(file, 4711, before.st_gid)
    assert damage_of(device, name) == {name: "damaged"}
    os.chown(file, before.st_uid, before.st_gid)
    file.chmod(0o4755)
    assert damage_of(device, name) == {name: "damaged"}
    link.unlink()
    link.symlink_to("elsewhere")
    name = link.parent.name + link.name
    assert damage_of(device, name) == {name: "damaged"}
    link.unlink()
    os.mkfifo(link)
    assert damage_of(device, name) == {name: "damaged"}


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff", b"\xff" * 40, b"\x05\x00\x00\x00\x00\x00\x00\x00\x02\x01"])
def test_what_is_no_structure_though_its_checksum_is_right_is_damage(device: Device, content: bytes) -> None:
    import hashlib

    checksum = hashlib.sha256(content).hexdigest()
    objects = Objects(device.store.repository)
    for kind in ("commit", "dirtree", "dirmeta"):
        path = objects.path(f"{checksum}.{kind}")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    objects.root(checksum)
    objects.listing(checksum)
    objects.owner_and_mode(checksum)
    assert {*objects.damage} >= {f"{checksum}.commit"}


def damage_of(device: Device, name: str) -> dict[str, str]:
    objects = Objects(device.store.repository)
    checksum, _, kind = name.partition(".")
    match kind:
        case "commit":
            objects.root(checksum)
        case "dirtree":
            objects.listing(checksum)
        case "dirmeta":
            objects.owner_and_mode(checksum)
        case _:
            objects.file(checksum)
    return objects.damage


def fsck(device: Device) -> int:
    command = ["ostree", "fsck", "--quiet", f"--repo={device.store.repository}"]
    for commit in (path.parent.name + path.stem for path in (device.store.repository / "objects").glob("*/*.commit")):
        subprocess.run(
            ["ostree", f"--repo={device.store.repository}", "refs", "--force", "--create=x", commit], check=False
        )
    return subprocess.run(command, capture_output=True, check=False).returncode
