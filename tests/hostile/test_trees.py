# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images whose mount points are not what they should be: the launch fails, or stays inside; outside nothing changes."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ftos.errors import FtosError
from ftos.plan.records import FOREIGN_BASE
from tests.sandbox.harness import Sandbox, give_to, snapshot

VOLUMES = """\
volumes:
  - {name: kept, class: data, path: /srv/kept}
  - {name: thrown, class: discard, path: /opt/thrown}
files:
  - {path: /etc/deep/er/file, content: "of the deployment\\n"}
"""
PLACES = (
    *("dev", "proc", "sys", "tmp", "var", "var/tmp", "home", "home/app", "run", "run/user/1000"),
    *("srv", "srv/kept", "opt/thrown", "etc/deep", "etc/deep/er/file", "etc"),
)
WRITE_EVERYWHERE = """
tops = "/dev /dev/shm /proc /sys /tmp /var /var/tmp /home /home/app /run /run/user /run/user/1000".split()
tops += "/srv /srv/kept /opt/thrown /etc /etc/deep".split()
for top in tops:
    for name in ("touched", "kept/touched", "app/touched", "tmp/touched", "of-the-host"):
        try:
            write(top + "/" + name, os.O_CREAT | os.O_WRONLY)
        except OSError:
            pass
    for name in ("of-the-host", "kept", "app"):
        try:
            os.rename(top + "/" + name, top + "/renamed")
        except OSError:
            pass
print(json.dumps({
    "seen": [top for top in tops if os.path.exists(top + "/of-the-host") and "host" in read(top + "/of-the-host")],
    "kinds": [line.split(" ")[4] for line in read("/proc/self/mountinfo").splitlines()],
}))
"""
Replace = Callable[[Path, Path], None]


def absolute_link(at: Path, outside: Path) -> None:
    at.symlink_to(outside)


def relative_link(at: Path, outside: Path) -> None:
    at.symlink_to("../" * 40 + str(outside).lstrip("/"))


def link_to_the_top(at: Path, outside: Path) -> None:
    at.symlink_to("/")


def dangling_link(at: Path, outside: Path) -> None:
    at.symlink_to("/not/there")


def link_to_itself(at: Path, outside: Path) -> None:
    at.symlink_to(at.name)


def link_to_the_hosts_root(at: Path, outside: Path) -> None:
    at.symlink_to("/proc/1/root" + str(outside))


def forty_links(at: Path, outside: Path) -> None:
    chain(at, outside, 40)


def thirty_links(at: Path, outside: Path) -> None:
    chain(at, outside, 30)


def chain(at: Path, outside: Path, count: int) -> None:
    for number in range(count):
        (at.parent / f"{at.name}-{number}").symlink_to(f"{at.name}-{number + 1}" if number < count - 1 else outside)
    at.symlink_to(f"{at.name}-0")


def regular_file(at: Path, outside: Path) -> None:
    at.write_text("a file\n")


def fifo(at: Path, outside: Path) -> None:
    os.mkfifo(at)


def unix_socket(at: Path, outside: Path) -> None:
    directory = os.open(at.parent, os.O_PATH)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{directory}/{at.name}")
    os.close(directory)


def device(at: Path, outside: Path) -> None:
    os.mknod(at, 0o20666, os.makedev(1, 1))


KINDS: tuple[Replace, ...] = (
    *(absolute_link, relative_link, link_to_the_top, dangling_link, link_to_itself, link_to_the_hosts_root),
    *(forty_links, thirty_links, regular_file, fifo, unix_socket, device),
)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What a link of the image leads to on the host: everybody, also the app's id on disk, may write there."""
    top = tmp_path / "outside"
    for name in ("app", "tmp", "kept", "user/1000", "1000", "thrown", "er", "deep/er"):
        (top / name).mkdir(parents=True, exist_ok=True)
    (top / "of-the-host").write_text("of the host\n")
    for path in (top, *top.rglob("*")):
        os.chown(path, FOREIGN_BASE + 1000, FOREIGN_BASE + 1000)
        path.chmod(0o777)
    return top


@pytest.mark.parametrize("replace", KINDS, ids=lambda replace: replace.__name__)
@pytest.mark.parametrize("place", PLACES)
def test_a_mount_point_that_is_something_else_leads_nowhere(
    sandbox: Sandbox, outside: Path, place: str, replace: Replace
) -> None:
    sandbox.image = VOLUMES
    at = sandbox.tree / place
    shutil.rmtree(at) if at.is_dir() else None
    at.parent.mkdir(parents=True, exist_ok=True)
    replace(at, outside)
    give_to(sandbox.tree, 0)
    before = snapshot(outside), snapshot(sandbox.tree)
    try:
        seen = sandbox.python(WRITE_EVERYWHERE).json()
    except FtosError as error:
        where = error.message
    else:
        where = "/"
        assert seen["seen"] == []
        assert {"/dev", "/proc", "/tmp"} <= set(seen["kinds"])
    assert "/" in where, "a failure names the place"
    assert (snapshot(outside), snapshot(sandbox.tree)) == before


def test_what_an_image_has_at_the_usual_places_is_covered(sandbox: Sandbox) -> None:
    """Its own files below /dev, /proc, /tmp and the like can't pose as the kernel's or another run's."""
    for place in ("dev", "proc", "tmp"):
        (sandbox.tree / place / "null").write_text("of the image\n")
    (sandbox.tree / "home/app").mkdir()
    (sandbox.tree / "home/app/null").write_text("of the image\n")
    give_to(sandbox.tree, 0)
    code = """
    print(json.dumps([read("/dev/null"), os.path.exists("/proc/null"), os.listdir("/tmp"), os.listdir("/home/app")]))
    """
    assert sandbox.python(code).json() == ["", False, [], []]


def test_links_that_merged_systems_have_work(sandbox: Sandbox) -> None:
    """/var/run, /var/lock, /var/tmp and a home elsewhere are links in honest images too."""
    tree = sandbox.tree
    (tree / "var/run").symlink_to("/run")
    (tree / "home").rmdir()
    (tree / "var/home").mkdir()
    (tree / "home").symlink_to("var/home")
    sandbox.image = "volumes:\n  - {name: kept, class: data, path: /var/run/kept}\n"
    give_to(tree, 0)
    code = """
    write("/home/app/file", os.O_CREAT | os.O_WRONLY)
    write("/run/kept/file", os.O_CREAT | os.O_WRONLY)
    print(json.dumps([os.listdir("/var/home/app"), os.listdir("/var/run/kept")]))
    """
    assert sandbox.python(code).json() == [["file"], ["file"]]
    assert os.listdir(sandbox.volume("kept")) == ["file"]


def test_links_of_the_host_are_not_followed_in_search_of_a_mount_point(sandbox: Sandbox, outside: Path) -> None:
    """The image's /tmp is a link, and behind it, on the host, is another one: its target is no path inside."""
    (outside / "sub").symlink_to("/of/the/host")
    (sandbox.tree / "tmp").rmdir()
    (sandbox.tree / "tmp").symlink_to(outside)
    sandbox.image = "volumes:\n  - {name: kept, class: data, path: /tmp/sub/deep}\n"
    give_to(sandbox.tree, 0)
    sandbox.prepare()
    (layer,) = (path for path in (sandbox.places.state / "layers" / sandbox.id).iterdir() if path.is_dir())
    assert (layer / "tmp/sub/deep").is_dir()
    assert not (layer / "of").exists()
