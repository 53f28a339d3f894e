# SPDX-License-Identifier: AGPL-3.0-or-later
"""Configuration layers: written where the container will look, never outside, whatever the image has on the way."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from ftos.errors import FtosError
from ftos.host.places import Places
from ftos.plan.records import FOREIGN_BASE, LayerEntry
from ftos.runtime.layers import layer_path, materialised

ID = "d-0000000a"
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files are given to foreign ids by root")


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "root")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An image with merged /usr."""
    top = tmp_path / "tree"
    (top / "usr/bin").mkdir(parents=True)
    (top / "etc").mkdir()
    (top / "bin").symlink_to("usr/bin")
    return top


def file(path: str, content: str = "x") -> LayerEntry:
    return LayerEntry(path=path, kind="file", content=content, mode=0o640)


def directory(path: str) -> LayerEntry:
    return LayerEntry(path=path, kind="directory")


def write(places: Places, tree: Path, *entries: LayerEntry, in_use: Sequence[str] = ()) -> Path:
    path = layer_path(places, ID, tree, entries)
    with materialised(path, tree, entries, lambda: in_use):
        pass
    return path


def contents(layer: Path) -> list[str]:
    return sorted(str(path.relative_to(layer)) for path in layer.rglob("*"))


@pytest.mark.parametrize("umask", [0o022, 0o077, 0])
def test_files_and_directories_belong_to_the_containers_root(places: Places, tree: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        layer = write(places, tree, file("/etc/a/b", "ü\n"), directory("/media/x"))
    finally:
        os.umask(before)
    for path in (layer, *layer.rglob("*")):
        assert (path.lstat().st_uid, path.lstat().st_gid) == (FOREIGN_BASE, FOREIGN_BASE)
        if path.is_dir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o755
    assert (layer / "etc/a/b").read_bytes() == "ü\n".encode()
    assert stat.S_IMODE((layer / "etc/a/b").stat().st_mode) == 0o640
    assert (layer / "media/x").is_dir()


def test_only_root_enters_the_directories_above(places: Places, tree: Path) -> None:
    layer = write(places, tree, file("/etc/a"))
    assert stat.S_IMODE(layer.parent.stat().st_mode) == 0o700


RESOLVED: list[tuple[str, dict[str, str], str, str]] = [
    ("merged /usr", {}, "/bin/x", "usr/bin/x"),
    ("relative", {"a/b": "../c"}, "/a/b/x", "c/x"),
    ("absolute", {"a": "/opt/there"}, "/a/x", "opt/there/x"),
    ("chain", {"a": "b", "b": "/c", "c": "d/../e"}, "/a/x", "e/x"),
    ("dot and slashes", {"a": ".//./b//c/."}, "/a/x", "b/c/x"),
    ("beyond the root", {"a": "../../../../../../etc"}, "/a/x", "etc/x"),
    ("absolute beyond the root", {"a": "/../../../etc"}, "/a/x", "etc/x"),
    ("dangling", {"a": "/missing/place"}, "/a/b/x", "missing/place/b/x"),
    ("the last one is replaced, not followed", {"etc/x": "/etc/passwd"}, "/etc/x", "etc/x"),
    ("a mount point of the container", {"tmp": "/etc"}, "/tmp/x", "tmp/x"),
    ("below a mount point of the container", {"dev": "/etc"}, "/dev/alternatives/x", "dev/alternatives/x"),
    ("back out of a mount point", {"a": "/proc/../etc"}, "/a/x", "etc/x"),
    ("up from a mount point", {"a": "dev/../../../etc"}, "/a/x", "etc/x"),
    ("a name as of a mount point, further in", {"usr/dev": "../opt"}, "/usr/dev/x", "opt/x"),
]


@pytest.mark.parametrize(("case", "links", "path", "where"), RESOLVED, ids=[case for case, *_ in RESOLVED])
def test_paths_go_through_the_images_symlinks_and_stay_inside(
    places: Places, tree: Path, case: str, links: dict[str, str], path: str, where: str
) -> None:
    for name, target in links.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).symlink_to(target)
    layer = write(places, tree, file(path))
    assert (layer / where).is_file()
    assert [name for name in contents(layer) if (layer / name).is_file()] == [where]


@pytest.mark.parametrize("count", [39, 40])
def test_as_many_links_are_followed_as_the_kernel_follows(places: Places, tree: Path, count: int) -> None:
    for number in range(count):
        (tree / f"l{number}").symlink_to(f"l{number + 1}")
    assert (write(places, tree, file("/l0/x")) / f"l{count}/x").is_file()


@pytest.mark.parametrize("links", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "a/a"}, {"a": "/a/b"}])
def test_a_loop_ends_with_an_error_and_leaves_no_layer(places: Places, tree: Path, links: dict[str, str]) -> None:
    for name, target in links.items():
        (tree / name).symlink_to(target)
    with pytest.raises(FtosError, match=r"^the image has too many symlinks on the way to '/a/x'$"):
        write(places, tree, file("/a/x"))
    assert not layer_path(places, ID, tree, [file("/a/x")]).exists()


@pytest.mark.parametrize("mode", [stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_in_the_way_is_covered_by_a_directory(places: Places, tree: Path, mode: int) -> None:
    os.mknod(tree / "a", mode | 0o600)
    layer = write(places, tree, file("/a/x"))
    assert (layer / "a").is_dir()
    assert stat.S_IFMT((tree / "a").stat().st_mode) == mode  # the image is untouched


def test_the_mount_points_of_the_container_cover_whatever_the_image_has(places: Places, tree: Path) -> None:
    (tree / "proc").symlink_to("/etc")
    (tree / "tmp").write_text("a file")
    layer = write(places, tree, directory("/proc"), directory("/tmp"), directory("/home/app"))
    assert contents(layer) == ["home", "home/app", "proc", "tmp"]
    assert not (layer / "proc").is_symlink()


def test_a_file_over_a_directory_of_the_layer_is_refused(places: Places, tree: Path) -> None:
    with pytest.raises(FtosError, match=r"^'/etc/x' is a file of the image, and a directory is needed there$"):
        write(places, tree, file("/etc/x/y"), file("/etc/x"))


def test_a_layer_is_written_once_and_named_by_its_content(places: Places, tree: Path) -> None:
    layer = write(places, tree, file("/etc/a", "1"))
    inode = (layer / "etc/a").stat().st_ino
    assert write(places, tree, file("/etc/a", "1")) == layer
    assert (layer / "etc/a").stat().st_ino == inode
    assert layer_path(places, ID, tree, [file("/etc/a", "2")]) != layer
    assert layer_path(places, ID, tree.with_name("other"), [file("/etc/a", "1")]) != layer


def test_older_layers_go_but_those_in_use(places: Places, tree: Path) -> None:
    first = write(places, tree, file("/etc/a", "1"))
    second = write(places, tree, file("/etc/a", "2"), in_use=[str(first)])
    (first.parent / ".new-leftover").mkdir()
    third = write(places, tree, file("/etc/a", "3"), in_use=[str(first)])
    assert sorted(p for p in first.parent.iterdir() if p.is_dir()) == sorted([first, third])
    assert not second.exists()


def test_many_launches_at_once_write_one_whole_layer(places: Places, tree: Path) -> None:
    entries = tuple(file(f"/etc/{number}") for number in range(30))
    path = layer_path(places, ID, tree, entries)
    failures: list[BaseException] = []

    def launch() -> None:
        try:
            with materialised(path, tree, entries, tuple):
                pass
            assert len(list((path / "etc").iterdir())) == 30
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=launch) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
