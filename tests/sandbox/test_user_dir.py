# SPDX-License-Identifier: AGPL-3.0-or-later
"""Bindings to directories of the owner: what the app sees, may do, and leaves on the host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ftos.errors import LaunchError
from tests.sandbox.harness import OWNER, Sandbox, snapshot, unconfined_python

STRANGER = 5678
ASK = """\
os-services:
  documents: {{interface: user-dir, rights: [list, read, write, create, delete, mkdir, rmdir], reason: a test{}}}
"""
ALL = "[list, read, write, create, delete, mkdir, rmdir]"
AT_HOME, ELSEWHERE = "/home/app/Documents", "/media/documents"
ACTIONS = """
import stat
top = sys.argv[1]
os.chdir(top)
print(json.dumps({
    "list": sorted(os.listdir(".")),
    "read": attempt(read, "own"),
    "overwrite": attempt(write, "own"),
    "truncate": attempt(os.truncate, "own", 0),
    "create": attempt(write, "new", os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    "link": attempt(os.symlink, "/etc/shadow", "new-link"),
    "fifo": attempt(os.mkfifo, "new-fifo"),
    "mkdir": attempt(os.mkdir, "new-directory"),
    "rmdir": attempt(os.rmdir, "empty"),
    "rename": attempt(os.rename, "own-2", "own-3"),
    "delete": attempt(os.unlink, "to-delete"),
    "others read": attempt(read, "of-a-stranger"),
    "others write": attempt(write, "of-a-stranger"),
    "others private": attempt(read, "of-root"),
    "others mode": attempt(os.chmod, "of-a-stranger", 0o777),
    "give away": attempt(os.chown, "own", 1001, 1001),
    "setuid": attempt(os.chmod, "own", 0o4755),
    "setgid": attempt(os.chmod, "own", 0o2755),
    "device": attempt(os.mknod, "disk", stat.S_IFBLK | 0o600, os.makedev(8, 0)),
    "execute": attempt(os.execv, "program", ["program"]),
    "owners": {name: [os.lstat(name).st_uid, os.lstat(name).st_gid] for name in ("own", "of-a-stranger", "of-root")},
}))
"""
CHANGES = ("overwrite", "truncate", "create", "link", "fifo", "mkdir", "rmdir", "rename", "delete")
READ_ONLY = dict.fromkeys(CHANGES, "EROFS")
NEVER = {
    "others write": "EACCES",
    "others private": "EACCES",
    "others mode": "EOVERFLOW",
    "give away": "EOVERFLOW",
    "setuid": "EPERM",
    "setgid": "EPERM",
    "device": "EPERM",
    "execute": "EACCES",
}


@pytest.fixture
def documents(tmp_path: Path) -> Path:
    """A directory of the owner with files of his own, of a stranger and of root."""
    top = tmp_path / "documents"
    (top / "empty").mkdir(parents=True)
    for name in ("own", "own-2", "to-delete", "program"):
        (top / name).write_text("#!/bin/true\n")
        (top / name).chmod(0o755)
    for name, owner, mode in (("of-a-stranger", STRANGER, 0o644), ("of-root", 0, 0o600)):
        (top / name).write_text("not yours\n")
        os.chown(top / name, owner, owner)
        (top / name).chmod(mode)
    for path in (top, top / "empty", *(top / name for name in ("own", "own-2", "to-delete", "program"))):
        os.chown(path, OWNER.uid, OWNER.gid)
    return top


def bind(sandbox: Sandbox, path: Path, rights: str = ALL, target: str = ELSEWHERE) -> Sandbox:
    sandbox.image = ASK.format("")
    sandbox.services = {"docs": f"interface: user-dir\nprovider: directory\nsettings: {{path: {quoted(path)}}}\n"}
    sandbox.deployment = f"os-services:\n  documents: {{instance: docs, rights: {rights}, path: {target}}}\n"
    return sandbox


def quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def outcome(sandbox: Sandbox, target: str = ELSEWHERE) -> dict[str, Any]:
    return dict(sandbox.python(ACTIONS, target).json())


@pytest.mark.parametrize("target", [AT_HOME, ELSEWHERE])
def test_with_reading_rights_nothing_can_be_changed(sandbox: Sandbox, documents: Path, target: str) -> None:
    before = snapshot(documents)
    seen = outcome(bind(sandbox, documents, "[list, read]", target), target)
    assert seen["list"] == sorted(os.listdir(documents))
    assert {name: seen[name] for name in READ_ONLY} == READ_ONLY
    assert seen["read"] == seen["others read"] == "done"
    assert {seen[name] for name in NEVER} <= {"EROFS", "EACCES", "EPERM"}
    assert snapshot(documents) == before


@pytest.mark.parametrize("target", [AT_HOME, ELSEWHERE])
def test_with_all_rights_the_app_does_what_the_owner_may_and_no_more(
    sandbox: Sandbox, documents: Path, target: str
) -> None:
    seen = outcome(bind(sandbox, documents, ALL, target), target)
    assert {name: seen[name] for name in READ_ONLY} == dict.fromkeys(READ_ONLY, "done")
    assert {name: seen[name] for name in NEVER} == NEVER


def test_without_the_sandbox_nearly_all_of_it_is_done(documents: Path) -> None:
    """The control of this module's actions, as root."""
    seen = unconfined_python(
        ACTIONS.replace('"execute": attempt(os.execv, "program", ["program"]),', ""), str(documents)
    )
    done = {name for name, answer in seen.json().items() if answer == "done"}
    assert done >= {*READ_ONLY, *NEVER} - {"execute"}


def test_what_the_app_made_belongs_to_the_owner_on_the_host(sandbox: Sandbox, documents: Path) -> None:
    outcome(bind(sandbox, documents))
    for name in ("new", "new-directory", "new-link", "new-fifo"):
        state = (documents / name).lstat()
        assert (state.st_uid, state.st_gid, state.st_mode & 0o6000) == (OWNER.uid, OWNER.gid, 0), name
    assert (documents / "own").stat().st_mode & 0o6000 == 0


def test_files_of_others_are_nobodys(sandbox: Sandbox, documents: Path) -> None:
    seen = outcome(bind(sandbox, documents))["owners"]
    assert seen == {"own": [1000, 1000], "of-a-stranger": [65534, 65534], "of-root": [65534, 65534]}


WRITE, CREATE = {"overwrite", "truncate"}, {"create", "link", "fifo"}


@pytest.mark.parametrize(
    ("rights", "allowed"),
    [
        ("write", WRITE),
        ("write, create", WRITE | CREATE),
        ("delete", {"delete"}),
        ("mkdir", {"mkdir"}),
        ("rmdir", {"rmdir"}),
        ("write, create, delete", WRITE | CREATE | {"delete", "rename"}),
        ("write, create, mkdir, rmdir", WRITE | CREATE | {"mkdir", "rmdir"}),
    ],
)
def test_of_the_writing_rights_only_those_granted_hold(
    sandbox: Sandbox, documents: Path, rights: str, allowed: set[str]
) -> None:
    """The mount is writable then, and landlock is what refuses."""
    before = (documents / "own").read_bytes()
    seen = outcome(bind(sandbox, documents, f"[list, read, {rights}]"))
    assert {name: seen[name] for name in READ_ONLY} == {
        name: "done" if name in allowed else "EACCES" for name in READ_ONLY
    }
    assert ((documents / "own").read_bytes() == before) == (not allowed & WRITE)


def test_an_empty_binding_is_an_empty_directory(sandbox: Sandbox, documents: Path) -> None:
    bind(sandbox, documents)
    sandbox.deployment = sandbox.deployment.replace("docs", "empty")
    code = f"print(json.dumps([os.listdir('{ELSEWHERE}'), attempt(write, '{ELSEWHERE}/x', os.O_CREAT | os.O_WRONLY)]))"
    assert [sandbox.python(code).json() for _ in range(2)] == [[[], "done"], [[], "done"]]
    assert not (documents / "x").exists()


def test_an_empty_binding_to_read_can_not_be_written(sandbox: Sandbox, documents: Path) -> None:
    bind(sandbox, documents, "[list, read]")
    sandbox.deployment = sandbox.deployment.replace("docs", "empty")
    code = f"print(json.dumps([os.listdir('{ELSEWHERE}'), attempt(write, '{ELSEWHERE}/x', os.O_CREAT | os.O_WRONLY)]))"
    assert sandbox.python(code).json() == [[], "EROFS"]


@pytest.mark.parametrize("deployment", ["", "os-services: {documents: {instance: none}}\n"])
def test_without_a_binding_there_is_nothing(sandbox: Sandbox, documents: Path, deployment: str) -> None:
    bind(sandbox, documents)
    sandbox.deployment = deployment
    code = "print(json.dumps([os.listdir('/home/app'), os.listdir('/media')]))"
    assert sandbox.python(code).json() == [[], []]


def test_mounts_below_the_directory_are_not_followed(tmp_path: Path) -> None:
    """In a mount namespace of its own, so that the machine keeps its mounts."""
    code = f"""
import ctypes, os, sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parents[2])!r})
from tests.sandbox.harness import Sandbox
from tests.sandbox.test_user_dir import bind, ELSEWHERE
top = Path({str(tmp_path)!r})
(top / "documents/below").mkdir(parents=True)
(top / "documents/below/under-the-mount").touch()
assert ctypes.CDLL(None).mount(b"tmpfs", str(top / "documents/below").encode(), b"tmpfs", 0, None) == 0
(top / "documents/below/secret").touch()
for path in (top / "documents", top / "documents/below"):
    os.chown(path, 4321, 4322)
sandbox = bind(Sandbox.below(top / "sandbox"), top / "documents")
print(os.listdir(top / "documents/below"), sandbox.python("print(os.listdir('" + ELSEWHERE + "/below'))").out, end="")
"""
    command = ["unshare", "--mount", "--propagation=private", sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("['secret'] ['under-the-mount']\n", "")


@pytest.mark.parametrize(
    "name",
    [
        'with"quote',
        "with:colon",
        "with,comma",
        "with\\backslash",
        "with space",
        "naïve-文書-🗂",
        "x" * 255,
        "new$(id)",
        "%s%n",
    ],
)
def test_odd_names_of_sources_work(sandbox: Sandbox, tmp_path: Path, name: str) -> None:
    (source := tmp_path / name).mkdir()
    (source / "file").write_text("found\n")
    for path in (source, source / "file"):
        os.chown(path, OWNER.uid, OWNER.gid)
    bind(sandbox, source)
    code = f"print(json.dumps([read('{ELSEWHERE}/file'), attempt(write, '{ELSEWHERE}/file')]))"
    assert sandbox.python(code).json() == ["found\n", "done"]


@pytest.mark.parametrize("name", ['with"quote', "with:colon", "with,comma", "with\\backslash", "naïve", "x" * 255])
def test_odd_names_of_the_root_work(tmp_path: Path, name: str) -> None:
    """The image, its layer and the volumes are then below such a name."""
    (top := tmp_path / name).mkdir()
    sandbox = Sandbox.below(top)
    volumes = ("{name: a, class: data, path: /srv/a}", "{name: b, class: discard, path: /srv/b}")
    sandbox.image = f"writable-root: true\nvolumes: [{', '.join(volumes)}]\n"
    assert sandbox.python("print(json.dumps(read('/etc/image-file')))").json() == "of the image\n"


def test_a_source_behind_a_link_and_a_closed_parent_works(sandbox: Sandbox, documents: Path, tmp_path: Path) -> None:
    """As /var/run is: the owner's own links are followed, and nobody needs to be able to list what is above."""
    (closed := tmp_path / "closed").mkdir()
    documents.rename(closed / "documents")
    closed.chmod(0o711)
    (link := tmp_path / "link").symlink_to("closed")
    bind(sandbox, link / "documents", "[list, read]")
    assert sandbox.python(f"print(json.dumps(attempt(read, '{ELSEWHERE}/own')))").json() == "done"


def test_a_source_that_is_no_directory_is_refused(sandbox: Sandbox, documents: Path) -> None:
    with pytest.raises(LaunchError, match=r"open the source of a mount .*own': Not a directory"):
        bind(sandbox, documents / "own").run("/bin/true")


@pytest.fixture
def nested(sandbox: Sandbox, documents: Path) -> Sandbox:
    """An instance in the directory of another one, which an app may write."""
    (inner := documents / "private" / "letters").mkdir(parents=True)
    (inner / "letter").write_text("dear\n")
    for path in (inner.parent, inner, inner / "letter"):
        os.chown(path, OWNER.uid, OWNER.gid)
    bind(sandbox, inner, "[list, read]")
    sandbox.services = {
        **sandbox.services,
        "outer": f"interface: user-dir\nprovider: directory\nsettings: {{path: {quoted(documents)}}}\n",
    }
    return sandbox


READ_LETTER = f"print(json.dumps(sorted(os.listdir('{ELSEWHERE}'))))"


def test_an_instance_within_another_ones_directory_works(nested: Sandbox) -> None:
    assert nested.python(READ_LETTER).json() == ["letter"]


@pytest.mark.parametrize("part", ["private", "private/letters"])
@pytest.mark.parametrize("target", ["{outside}", "../../outside", "own-letters", "/proc/self/root{outside}"])
def test_a_link_that_an_app_put_on_the_way_is_refused(
    nested: Sandbox, documents: Path, tmp_path: Path, part: str, target: str
) -> None:
    (outside := tmp_path / "outside" / "letters").mkdir(parents=True)
    (documents / "own-letters").mkdir()
    (documents / part).rename(documents / "moved")
    (documents / part).symlink_to(target.format(outside=outside))
    before = snapshot(outside)
    with pytest.raises(LaunchError, match="open the source of a mount"):
        nested.python(READ_LETTER)
    assert snapshot(outside) == before
