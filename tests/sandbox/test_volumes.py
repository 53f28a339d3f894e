# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a volume keeps and what it forgets; and that nothing which an app leaves in one leads anywhere outside."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ftos.errors import BadInput, LaunchError
from ftos.plan.records import FOREIGN_BASE
from tests.sandbox.harness import Sandbox, give_to, running, snapshot

CLASSES = ("data", "settings", "cache", "temp", "discard")
KEPT = CLASSES[:3]
VOLUMES = "volumes:\n" + "".join(f"  - {{name: {name}, class: {name}, path: /srv/{name}}}\n" for name in CLASSES)
NESTED = """\
volumes:
  - {name: outer, class: data, path: /srv/outer}
  - {name: inner, class: data, path: /srv/outer/made/inner}
  - {name: scratch, class: temp, path: /srv/outer/scratch}
"""
LEAVE_AND_LIST = """
for name in sys.argv[1:]:
    write(f"/srv/{name}/left", os.O_CREAT | os.O_WRONLY)
state = {name: os.stat("/srv/" + name) for name in sys.argv[1:]}
print(json.dumps({name: [s.st_uid, s.st_gid, s.st_mode & 0o777] for name, s in state.items()}))
"""
LIST = "print(json.dumps({name: sorted(os.listdir('/srv/' + name)) for name in sys.argv[1:]}))"


@pytest.fixture
def with_volumes(sandbox: Sandbox) -> Sandbox:
    """One volume of each class; the image has a file where each is."""
    sandbox.image = VOLUMES
    for name in CLASSES:
        (sandbox.tree / "srv" / name).mkdir(parents=True)
        (sandbox.tree / "srv" / name / "of-the-image").write_text("of the image\n")
    give_to(sandbox.tree, 0)
    return sandbox


def test_data_settings_and_cache_are_there_in_the_next_run(with_volumes: Sandbox) -> None:
    with_volumes.python(LEAVE_AND_LIST, *CLASSES).json()
    seen = with_volumes.python(LIST, *CLASSES).json()
    assert {name: seen[name] for name in KEPT} == {name: ["left"] for name in KEPT}


def test_temporary_and_discarded_changes_are_gone(with_volumes: Sandbox) -> None:
    with_volumes.python(LEAVE_AND_LIST, *CLASSES).json()
    seen = with_volumes.python(LIST, *CLASSES).json()
    assert seen["temp"] == []
    assert seen["discard"] == ["of-the-image"]


def test_volumes_belong_to_the_app_inside_and_to_the_foreign_range_on_disk(with_volumes: Sandbox) -> None:
    inside = with_volumes.python(LEAVE_AND_LIST, *CLASSES).json()
    assert {name: owner[:2] for name, owner in inside.items()} == {name: [1000, 1000] for name in CLASSES}
    assert {name: inside[name][2] for name in (*KEPT, "temp")} == dict.fromkeys((*KEPT, "temp"), 0o700)
    for name in KEPT:
        for path in (with_volumes.volume(name), with_volumes.volume(name) / "left"):
            assert (path.stat().st_uid, path.stat().st_gid) == (FOREIGN_BASE + 1000, FOREIGN_BASE + 1000)


def test_only_root_enters_the_directories_of_volumes(with_volumes: Sandbox) -> None:
    with_volumes.run("/bin/true")
    for path in (with_volumes.places.volumes, with_volumes.places.volumes / with_volumes.id):
        assert (path.stat().st_mode & 0o777, path.stat().st_uid) == (0o700, 0)


def test_discard_shows_what_the_image_has_and_lets_it_be_changed(with_volumes: Sandbox) -> None:
    before = snapshot(with_volumes.tree)
    seen = with_volumes.python(
        """
        os.chdir("/srv/discard")
        found = [read("of-the-image"), attempt(write, "new", os.O_CREAT | os.O_WRONLY)]
        print(json.dumps([*found, attempt(os.unlink, "of-the-image"), os.listdir(".")]))
        """
    ).json()
    assert seen == ["of the image\n", "done", "done", ["new"]]
    assert snapshot(with_volumes.tree) == before


def test_discard_below_the_home_shows_what_the_image_has_there(sandbox: Sandbox) -> None:
    """The home itself is an empty temporary directory: what counts is the image's own."""
    sandbox.image = "volumes:\n  - {name: settings, class: discard, path: /home/app/.config}\n"
    (sandbox.tree / "home/app/.config").mkdir(parents=True)
    (sandbox.tree / "home/app/.config/of-the-image").write_text("of the image\n")
    give_to(sandbox.tree, 0)
    code = "print(json.dumps([read('/home/app/.config/of-the-image'), os.listdir('/home/app')]))"
    assert sandbox.python(code).json() == ["of the image\n", [".config"]]


def test_quota_of_a_temporary_volume_holds(sandbox: Sandbox) -> None:
    sandbox.image = "volumes:\n  - {name: small, class: temp, path: /srv/small, quota: 1M}\n"
    code = """
    def fill():
        fd = os.open("/srv/small/file", os.O_CREAT | os.O_WRONLY)
        for _ in range(32):
            os.write(fd, bytes(65536))
    print(json.dumps([attempt(fill), os.stat("/srv/small/file").st_size]))
    """
    assert sandbox.python(code).json() == ["ENOSPC", 1 << 20]


def test_volumes_within_volumes_are_apart(sandbox: Sandbox) -> None:
    sandbox.image = NESTED
    sandbox.python("for at in ('made/inner', 'scratch'): write(f'/srv/outer/{at}/file', os.O_CREAT | os.O_WRONLY)")
    assert os.listdir(sandbox.volume("inner")) == ["file"]
    assert sorted(os.listdir(sandbox.volume("outer"))) == ["made", "scratch"]
    assert os.listdir(sandbox.volume("outer") / "made/inner") == []
    seen = sandbox.python(LIST, "outer", "outer/made/inner", "outer/scratch").json()
    assert seen == {"outer": ["made", "scratch"], "outer/made/inner": ["file"], "outer/scratch": []}


def test_two_deployments_of_an_image_have_data_and_ids_of_their_own(with_volumes: Sandbox) -> None:
    first = with_volumes
    second = Sandbox(first.places, first.tree, first.image, name="probe-two")
    first.python(LEAVE_AND_LIST, *CLASSES).json()
    assert second.python(LIST, *KEPT).json() == {name: [] for name in KEPT}
    owners = []
    for sandbox in (first, second):
        with sandbox.launch() as container, running(container, sandbox.command("/bin/sleep", "30")):
            owners.append(int(Path(f"/proc/{container.pid}/status").read_text().split("Uid:")[1].split()[0]))
    assert abs(owners[0] - owners[1]) >= 65536
    assert second.python("print(json.dumps([os.getuid(), os.stat('/srv/data').st_uid]))").json() == [1000, 1000]


# --- what an app leaves behind ---------------------------------------------------------------------------------------


def absolute_link(at: Path, outside: Path) -> None:
    at.symlink_to(outside)


def relative_link(at: Path, outside: Path) -> None:
    at.symlink_to("../" * 30 + str(outside).lstrip("/"))


def dangling_link(at: Path, outside: Path) -> None:
    at.symlink_to(outside / "not-there")


def link_to_process(at: Path, outside: Path) -> None:
    at.symlink_to("/proc/1/root")


def link_within(at: Path, outside: Path) -> None:
    (at.parent / "elsewhere").mkdir()
    at.symlink_to("elsewhere")


def regular_file(at: Path, outside: Path) -> None:
    at.write_text("in the way\n")


def fifo(at: Path, outside: Path) -> None:
    os.mkfifo(at)


def unix_socket(at: Path, outside: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        directory = os.open(at.parent, os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/{at.name}")
        os.close(directory)


LEFT = (absolute_link, relative_link, dangling_link, link_to_process, link_within, regular_file, fifo, unix_socket)


@pytest.mark.parametrize("leave", LEFT, ids=lambda leave: leave.__name__)
@pytest.mark.parametrize("place", ["made", "made/inner"])
def test_a_mount_point_that_the_app_replaced_leads_nowhere(
    sandbox: Sandbox, tmp_path: Path, place: str, leave: Callable[[Path, Path], None]
) -> None:
    """The app renamed the mount point of a volume within its volume, or a directory above it."""
    sandbox.image = NESTED
    sandbox.run("/bin/true")
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    outside.chmod(0o777)
    (sandbox.volume("outer") / place).rename(sandbox.volume("outer") / "renamed")
    leave(sandbox.volume("outer") / place, outside)
    give_to(sandbox.volume("outer"), 1000)
    before = snapshot(outside), snapshot(sandbox.volume("inner"))
    with pytest.raises(LaunchError, match=r"could not open a mount point '/srv/outer/made/inner'"):
        sandbox.run("/bin/true")
    assert (snapshot(outside), snapshot(sandbox.volume("inner"))) == before


def test_links_inside_a_volume_are_resolved_inside(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.image = VOLUMES
    sandbox.run("/bin/true")
    (outside := tmp_path / "outside").mkdir(mode=0o777)
    outside.chmod(0o777)
    for number, leave in enumerate((absolute_link, relative_link, link_to_process)):
        leave(sandbox.volume("data") / str(number), outside)
    give_to(sandbox.volume("data"), 1000)
    before = snapshot(outside)
    code = """
    os.chdir("/srv/data")
    print(json.dumps([attempt(write, name + "/file", os.O_CREAT | os.O_WRONLY) for name in "012"]))
    """
    assert set(sandbox.python(code).json()) <= {"ENOENT", "EACCES"}
    assert snapshot(outside) == before


def test_a_volume_replaced_by_a_link_on_the_disk_is_refused(sandbox: Sandbox, tmp_path: Path) -> None:
    """Not the app's doing, who can't get there; but a restore may go wrong."""
    sandbox.image = VOLUMES
    sandbox.run("/bin/true")
    sandbox.volume("data").rmdir()
    sandbox.volume("data").symlink_to(tmp_path)
    with pytest.raises(Exception, match=r"the volume .* can't be used: (Not a directory|Too many levels)"):
        sandbox.run("/bin/true")


def test_a_copied_deployment_with_the_same_id_is_not_launched(sandbox: Sandbox) -> None:
    sandbox.run("/bin/true")
    directory = sandbox.places.etc / "deployments"
    copied = (directory / "probe.yml").read_text().replace("name: probe", "name: copied")
    (directory / "copied.yml").write_text(copied)
    with pytest.raises(BadInput, match="probe and copied have the same id d-"):
        sandbox.run("/bin/true")
