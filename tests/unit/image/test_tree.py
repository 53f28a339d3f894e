# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a build leaves is made harmless, or refused, before it is committed. As root: the files have foreign owners."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from pathlib import Path

import pytest

from ftos._native.launch import overlay_view
from ftos.errors import BuildError
from ftos.host.trees import directory
from ftos.image.tree import MOUNT_POINTS, Contents, Leftovers, assemble, disarm, examine, make_additions
from ftos.plan.records import FOREIGN_BASE
from ftos.spec.records import Link

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="files of other owners are made by root only")
NONE = Leftovers()


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tiny tree of a container, as it is on the disk."""
    top = tmp_path / "tree"
    for path in ("etc", "usr/bin", "var/log/app", "tmp"):
        (top / path).mkdir(parents=True)
    (top / "bin").symlink_to("usr/bin")
    (top / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (top / "etc/group").write_text("root:x:0:\n")
    (top / "etc/shadow").write_text("root:*:1::::::\n")
    (top / "usr/bin/tool").write_text("tool")
    give(top)
    (top / "etc/shadow").chmod(0o640)
    os.chown(top / "etc/shadow", FOREIGN_BASE, FOREIGN_BASE + 42)
    return top


def give(top: Path) -> None:
    for path in (top, *top.rglob("*")):
        os.chown(path, FOREIGN_BASE, FOREIGN_BASE, follow_symlinks=False)


def examined(tree: Path, post_clean: tuple[str, ...] = (), leftovers: Leftovers = NONE) -> Contents:
    with directory(tree) as view:
        return examine(view, post_clean, leftovers)


def additions(tree: Path, *links: Link) -> Path:
    with directory(tree) as view:
        make_additions(view, tree.parent / "additions", links)
    return tree.parent / "additions"


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_setuid_and_setgid_bits_are_cleared_and_sticky_ones_stay(tree: Path) -> None:
    (tree / "usr/bin/tool").chmod(0o6755)
    (tree / "var/log/app").chmod(0o2775)
    (tree / "tmp").chmod(0o1777)
    disarm(tree, pytest.fail)
    assert [oct(mode(tree / path)) for path in ("usr/bin/tool", "var/log/app", "tmp")] == ["0o755", "0o775", "0o1777"]


def test_a_symlink_to_a_setuid_program_outside_leads_nowhere(tree: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "program").touch()
    (outside / "program").chmod(0o4755)
    (tree / "usr/bin/program").symlink_to(outside / "program")
    (tree / "usr/lib").symlink_to(outside)
    disarm(tree, pytest.fail)
    assert mode(outside / "program") == 0o4755


def test_special_files_are_removed_with_a_note_and_whiteouts_stay(tree: Path) -> None:
    os.mkfifo(tree / "etc/fifo")
    os.mknod(tree / "etc/null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(tree / "etc/deleted", stat.S_IFCHR, os.makedev(0, 0))
    with directory(tree) as fd, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"/proc/self/fd/{fd}/etc/so\x1bcket")
    notes: list[str] = []
    disarm(tree, notes.append)
    assert sorted(notes) == [
        "'/etc/fifo' is a fifo and was left out",
        "'/etc/null' is a device and was left out",
        "'/etc/so\\x1bcket' is a socket and was left out",
    ]
    assert sorted(os.listdir(tree / "etc")) == ["deleted", "group", "passwd", "shadow"]


def test_directories_without_end_are_refused(tree: Path) -> None:
    (tree / "/".join(["usr", *["d"] * 130])).mkdir(parents=True)
    with pytest.raises(BuildError, match="nested more than 128 levels deep"):
        disarm(tree, pytest.fail)


def test_leftovers_are_left_out_and_directories_of_logs_stay(tree: Path) -> None:
    (tree / "var/log/app/today.log").touch()
    (tree / "tmp/x/y").mkdir(parents=True)
    (tree / "etc/resolv.conf").touch()
    (tree / "usr/share/doc/tool").mkdir(parents=True)
    give(tree)
    found = examined(tree, ("/usr/share/doc/", "/not/there"), Leftovers(files=("etc/group",), logs=("var/log",)))
    assert found.left_out == [
        "/etc/group",
        "/etc/resolv.conf",
        "/tmp/x",
        "/usr/share/doc",
        "/var/log/app/today.log",
    ]


def test_the_size_counts_what_is_kept(tree: Path) -> None:
    before = examined(tree).size
    (tree / "usr/bin/tool").write_bytes(b"x" * 1004)
    (tree / "tmp/big").write_bytes(b"x" * 9999)
    assert examined(tree).size - before == 1000


def test_a_path_to_be_left_out_is_no_way_through_a_symlink(tree: Path) -> None:
    with pytest.raises(BuildError, match="'/bin' is a symlink in the image") as caught:
        examined(tree, ("/bin/tool",))
    assert caught.value.hint == "name the directory that a symlink leads to"


def test_a_file_of_an_account_of_the_host_is_refused(tree: Path) -> None:
    os.chown(tree / "usr/bin/tool", 1000, FOREIGN_BASE)
    with pytest.raises(BuildError, match="'/usr/bin/tool' in the image belongs to an account of the host, 1000"):
        examined(tree)


@pytest.mark.parametrize("bits", [0o4755, 0o2755])
def test_a_setuid_file_never_passes_the_examination(tree: Path, bits: int) -> None:
    (tree / "usr/bin/tool").chmod(bits)
    with pytest.raises(BuildError, match="'/usr/bin/tool' must not be in an image: -rw"):
        examined(tree)


def test_names_that_a_list_of_paths_cannot_hold_are_refused(tree: Path) -> None:
    (tree / "tmp/a\nb").touch()
    with pytest.raises(BuildError, match=r"'/tmp/a\\nb' in the image has a line break"):
        examined(tree)
    os.unlink(tree / "tmp/a\nb")
    with directory(tree) as fd:
        os.close(os.open(b"\xff", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    with pytest.raises(BuildError, match="is not UTF-8"):
        examined(tree)


def test_mount_points_and_the_apps_account_are_added(tree: Path) -> None:
    added = additions(tree)
    for path, (bits, owner) in MOUNT_POINTS.items():
        assert mode(added / path) == bits, path
        assert (added / path).stat().st_uid == FOREIGN_BASE + owner, path
    assert "app:x:1000:1000::/home/app:/bin/sh" in (added / "etc/passwd").read_text()
    shadow = added / "etc/shadow"
    assert (mode(shadow), shadow.stat().st_gid) == (0o640, FOREIGN_BASE + 42)
    assert not (added / "etc/gshadow").exists()
    assert (added / "etc/machine-id").read_bytes() == b""


@pytest.mark.parametrize("path", ["proc", "sys", "dev", "tmp", "home/app", "var/tmp"])
@pytest.mark.parametrize("kind", ["absolute symlink", "relative symlink", "dangling symlink", "file", "fifo"])
def test_a_mount_point_that_is_no_directory_is_refused(tree: Path, tmp_path: Path, path: str, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tree / path
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        place.rmdir()
    match kind:
        case "absolute symlink":
            place.symlink_to(outside)
        case "relative symlink":
            place.symlink_to(os.path.relpath(outside, place.parent))
        case "dangling symlink":
            place.symlink_to("nowhere")
        case "file":
            place.touch()
        case "fifo":
            os.mkfifo(place)
    with pytest.raises(BuildError, match=f"'/{path}' is a {kind.split()[-1]} in the image where a directory must be"):
        additions(tree)
    assert list(outside.iterdir()) == []


def test_an_image_without_accounts_or_with_false_ones_is_refused(tree: Path, tmp_path: Path) -> None:
    (tree / "etc/passwd").write_text("root:x:0x0:0:root:/root:/bin/sh\n")
    with pytest.raises(BuildError, match="line 1: '0x0' is no id"):
        additions(tree)
    os.unlink(tree / "etc/passwd")
    (tree / "etc/passwd").symlink_to("/etc/passwd")
    (tree.parent / "additions").rename(tree.parent / "other")
    with pytest.raises(BuildError, match="'/etc/passwd' in the image is not a regular file"):
        additions(tree)
    os.unlink(tree / "etc/passwd")
    (tree.parent / "additions").rename(tree.parent / "another")
    with pytest.raises(BuildError, match="the image has no /etc/passwd"):
        additions(tree)


def test_links_are_laid_over_and_their_directories_keep_their_owner(tree: Path) -> None:
    os.chown(tree / "usr/bin", FOREIGN_BASE + 5, FOREIGN_BASE + 6)
    (tree / "usr/bin").chmod(0o711)
    added = additions(tree, Link(path="/usr/bin/editor", target="tool"), Link(path="/opt/new/link", target="/x"))
    assert (added / "usr/bin/editor").readlink() == Path("tool")
    assert (added / "usr/bin/editor").lstat().st_uid == FOREIGN_BASE
    there = (added / "usr/bin").stat()
    assert (there.st_uid - FOREIGN_BASE, there.st_gid - FOREIGN_BASE, mode(added / "usr/bin")) == (5, 6, 0o711)
    assert (mode(added / "opt/new"), (added / "opt/new").stat().st_uid) == (0o755, FOREIGN_BASE)


def test_a_link_through_a_symlink_or_over_a_directory_is_refused(tree: Path) -> None:
    with pytest.raises(BuildError, match="'/bin' is a symlink in the image") as caught:
        additions(tree, Link(path="/bin/editor", target="tool"))
    assert "name the directory" in caught.value.hint
    (tree.parent / "additions").rename(tree.parent / "other")
    with pytest.raises(BuildError, match="the link '/usr/bin' would replace what the image needs there"):
        additions(tree, Link(path="/usr/bin", target="/x"))


def test_what_is_assembled_is_what_the_overlay_shows_and_files_are_the_layers_own(tmp_path: Path) -> None:
    """Deletions, replaced directories and changed permissions, as the kernel itself makes them."""
    for path in ("lower/kept", "lower/gone", "lower/refilled", "upper", "work", "mounted"):
        (tmp_path / path).mkdir(parents=True)
    for path in ("kept/same", "kept/deleted", "kept/changed", "gone/file", "refilled/old", "was-file"):
        (tmp_path / "lower" / path).write_text(f"lower {path}")
    (tmp_path / "lower/kept/link").symlink_to("same")
    script = """
        mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none mounted && cd mounted || exit 1
        rm kept/deleted; echo new > kept/changed; rm -r gone refilled; mkdir refilled; echo new > refilled/new
        rm was-file; mkdir was-file; echo new > was-file/new; chmod 1751 kept; chown 5:6 kept; ln -s x kept/new-link
    """
    private = ["unshare", "-m", "--propagation", "private", "sh", "-ec", script]
    subprocess.run(private, cwd=tmp_path, check=True)
    view = overlay_view([str(tmp_path / "upper"), str(tmp_path / "lower")])
    with directory(".", view) as shown:
        assemble(shown, tmp_path / "upper", tmp_path / "lower", tmp_path / "made")
        assert entries(Path(f"/proc/self/fd/{shown}/.")) == entries(tmp_path / "made")
    os.close(view)
    assert entries(tmp_path / "made").keys() == {
        *(".", "kept", "kept/same", "kept/changed", "kept/link", "kept/new-link"),
        *("refilled", "refilled/new", "was-file", "was-file/new"),
    }
    for layer, path in (("lower", "kept/same"), ("upper", "kept/changed"), ("upper", "was-file/new")):
        assert (tmp_path / "made" / path).samefile(tmp_path / layer / path)


def entries(top: Path) -> dict[str, tuple[int, int, int, str]]:
    """Path → mode, owners, content."""
    found = {}
    for path in (top, *top.rglob("*")):
        status = path.lstat() if path != top else path.stat()
        content = os.readlink(path) if stat.S_ISLNK(status.st_mode) else "" if path.is_dir() else path.read_text()
        found[str(path.relative_to(top))] = (status.st_mode, status.st_uid, status.st_gid, content)
    return found
