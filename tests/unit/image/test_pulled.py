# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a key's owner has signed, object by object: only what a build could have left is accepted."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.image import pulled
from ftos.image.pulled import SLACK, examine_commit
from ftos.image.tree import MOUNT_POINTS
from ftos.plan.records import FOREIGN_BASE as ROOT
from ftos.plan.records import ID_COUNT
from tests.unit.image.forge import GROUP, PASSWD, Forge

REGULAR, LINK, DIRECTORY = stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR
Change = Callable[[Forge], str]


@pytest.fixture
def forge(tmp_path: Path) -> Forge:
    return Forge(tmp_path / "taken")


def examine(forge: Forge, commit: str, size: int = 1000) -> None:
    examine_commit(forge.repository, forge.repository.with_name("store"), commit, size)


def etc(forge: Forge, **files: bytes) -> str:
    """An image with other files in its /etc."""
    content = {"passwd": forge.file(PASSWD), "group": forge.file(GROUP), **files}
    return forge.image({}, {b"etc": forge.directory({name.encode(): file for name, file in content.items()}, {})})


def test_the_tree_of_a_build_passes_and_ostree_finds_it_sound(forge: Forge) -> None:
    subprocess.run(["ostree", "init", "--mode=bare-user", f"--repo={forge.repository}"], check=True)
    usr = forge.directory(
        {b"a name": forge.file(b"x", REGULAR | 0o755, ROOT + ID_COUNT - 1), b"vi": forge.link(b"/bin/my -> vi")}, {}
    )
    commit = forge.image({b"empty": forge.file(b""), "ü".encode(): forge.link(b"t" * 3000)}, {b"usr": usr})
    examine(forge, commit)
    repository = f"--repo={forge.repository}"
    subprocess.run(["ostree", "refs", "--create=x", commit, repository], check=True)
    subprocess.run(["ostree", "fsck", "--quiet", repository], check=True)
    listing = subprocess.run(["ostree", "ls", "-R", repository, commit], check=True, capture_output=True, text=True)
    assert "/usr/vi -> /bin/my -> vi" in listing.stdout


def test_what_the_store_has_need_not_come(forge: Forge, tmp_path: Path) -> None:
    commit = forge.image({b"here": forge.file(b"here\n")})
    examine(forge, commit)
    group = forge.path(forge.file(GROUP), "file")
    kept = tmp_path / "store" / group.relative_to(forge.repository)
    kept.parent.mkdir(parents=True)
    group.rename(kept)
    with pytest.raises(BuildError, match="belongs to an account of the host"):
        examine(forge, commit)
    if os.geteuid() == 0:
        os.chown(kept, ROOT, ROOT)
        examine(forge, commit)
    kept.unlink()
    with pytest.raises(BuildError, match="can't be read: No such file"):
        examine(forge, commit)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda f: f.image({b"su": f.file(b"", REGULAR | 0o4755)}), "'/su' must not be in an image: -rws"),
        (lambda f: f.image({b"wall": f.file(b"", REGULAR | 0o2755)}), "'/wall' must not be in an image: -rwxr-s"),
        (lambda f: f.image({b"null": f.file(b"", stat.S_IFCHR | 0o666)}), "'/null' must not be in an image: crw"),
        (lambda f: f.image({b"d": f.file(b"", DIRECTORY | 0o755)}), "'/d' must not be in an image: drwx"),
        (lambda f: f.image({b"x": f.file(b"", 1 << 20 | REGULAR | 0o755)}), "'/x' must not be in an image"),
        (lambda f: f.image({b"x": f.file(b"", owner=0)}), "'/x' in the image belongs to an account of the host, 0"),
        (lambda f: f.image({b"x": f.file(b"", owner=ROOT + ID_COUNT)}), "belongs to an account of the host"),
        (lambda f: f.image({b"x": f.file(b"", more=b"user.x\0\0")}), "has extended attributes"),
        (lambda f: f.image({}, {b"m": f.directory({}, {}, f.meta(DIRECTORY | 0o2775))}), "must not be .*: drwxrwsr"),
        (lambda f: f.image({}, {b"m": f.directory({}, {}, f.meta(owner=0))}), "'/m' in the image belongs to"),
        (lambda f: f.image({}, {b"m": f.directory({}, {}, f.meta(REGULAR | 0o755))}), "'/m' must not be in an image"),
        (lambda f: f.image({}, {b"m": f.directory({}, {}, f.meta(more=b"x\0x\0\3"))}), ".dirmeta is damaged"),
        (lambda f: f.commit(*f.directory({}, {}, f.meta(owner=0))), "'/' in the image belongs to"),
        (lambda f: f.image({b"proc": f.link(b"usr/evil")}), "'/proc' in the image is not the directory"),
        (lambda f: f.image({b"home": f.link(b"etc")}), "'/home' in the image is not the directory"),
        (lambda f: f.image({}, {b"proc": f.directory({}, {})}), "'/proc' in the image has not the owner and mode"),
        (lambda f: f.image({}, {b"home": f.directory({}, {})}), "'/home/app', which must be there, is missing"),
        (lambda f: f.image({}, {b"run": f.directory({b"x": f.file(b"")}, {})}), "'/run/x' must not be in an image"),
        (lambda f: etc(f, hostname=f.file(b"")), "'/etc/hostname' must not be in an image"),
        (lambda f: etc(f, passwd=f.file(bytes(2 << 20))), "'/etc/passwd' is no file that can be read"),
        (lambda f: etc(f, group=f.link(b"/x")), "'/etc/group' is no file that can be read"),
        (lambda f: etc(f, passwd=f.file(PASSWD.splitlines(True)[0])), "the account app is missing"),
        (lambda f: etc(f, passwd=f.file(PASSWD + b"evil:x:0:0::/:/bin/sh\n")), "share the id 0"),
        (lambda f: etc(f, passwd=f.file(PASSWD + b"\xff\n")), "is not UTF-8"),
        (lambda f: etc(f, shadow=f.file(b"root:x:0:0:\n")), "'root:x:0:0:' is malformed"),
        (lambda f: f.image({}, {b"etc": f.directory({b"passwd": f.file(PASSWD)}, {})}), "'/etc/group', which must be"),
    ],
)
def test_what_no_build_leaves_is_refused(forge: Forge, made: Change, why: str) -> None:
    with pytest.raises(BuildError, match=why):
        examine(forge, made(forge))


def test_a_line_break_in_a_target_forges_nothing(forge: Forge) -> None:
    """A listing in text would show /proc as a directory below the symlink's line."""
    forged = f"x\nd00555 {ROOT} {ROOT} 0 {{ @a(ayay) [] }} /proc".encode()
    with pytest.raises(BuildError, match="'/proc' in the image is not the directory"):
        examine(forge, forge.image({b"proc": forge.link(b"usr/evil"), b"z": forge.link(forged)}))


def test_directories_that_are_the_same_do_not_make_root_walk_for_ever(forge: Forge) -> None:
    same = forge.directory({}, {})
    for _ in range(100):
        same = forge.directory({}, {b"a": same, b"b": same})
    start = time.monotonic()
    with pytest.raises(BuildError, match="more than 524288 files and directories"):
        examine(forge, forge.image({}, {b"deep": same}))
    assert time.monotonic() - start < 120


def test_too_many_levels_are_refused(forge: Forge) -> None:
    deep = forge.directory({}, {})
    for _ in range(1000):
        deep = forge.directory({}, {b"a": deep})
    with pytest.raises(BuildError, match="nested more than 128 levels deep"):
        examine(forge, forge.image({}, {b"deep": deep}))


def test_more_bytes_than_the_manifest_says_are_refused(forge: Forge, monkeypatch: pytest.MonkeyPatch) -> None:
    large = forge.file(bytes(1000))
    os.truncate(forge.path(large, "file"), SLACK + 2000)
    with pytest.raises(BuildError, match="more bytes than the"):
        examine(forge, forge.image({b"large": large}))
    monkeypatch.setattr(pulled, "SLACK", 500)
    small = forge.file(bytes(400))
    examine(forge, forge.image({b"a": small}))
    with pytest.raises(BuildError, match="more bytes than the"):
        examine(forge, forge.image({b"%d" % number: small for number in range(10)}))


@pytest.mark.parametrize("kind", ["commit", "dirtree", "dirmeta", "file", "link"])
def test_what_is_not_as_its_checksum_says_is_refused(forge: Forge, kind: str) -> None:
    made = {"file": forge.file(b"content"), "link": forge.link(b"target")}
    directory = forge.directory({name.encode(): checksum for name, checksum in made.items()}, {})
    commit = forge.image({}, {b"x": directory})
    examine(forge, commit)
    checksum = {**made, "commit": bytes.fromhex(commit), "dirtree": directory[0], "dirmeta": directory[1]}[kind]
    path = forge.path(checksum, "file" if kind == "link" else kind)
    data = path.read_bytes()
    path.write_bytes(data[:1] + bytes([data[1] ^ 1]) + data[2:])
    with pytest.raises(BuildError, match=f"{checksum.hex()}.* is damaged"):
        examine(forge, commit)


def test_an_owner_that_the_checksum_does_not_know_is_refused(forge: Forge) -> None:
    file = forge.file(b"content", REGULAR | 0o4755)
    commit = forge.image({b"x": file})
    meta = b"".join(number.to_bytes(4, "big") for number in (ROOT, ROOT, REGULAR | 0o755))
    os.setxattr(forge.path(file, "file"), "user.ostreemeta", meta)
    with pytest.raises(BuildError, match="is damaged"):
        examine(forge, commit)


@pytest.mark.parametrize(
    "names",
    [(b"b", b"a"), (b"a", b"a"), (b"..",), (b".",), (b"",), (b"a/b",), (b"a\0b",), (b"\xff",), (b"\xed\xa0\x80",)],
)
def test_names_that_can_be_read_in_two_ways_are_refused(forge: Forge, names: tuple[bytes, ...]) -> None:
    file = forge.file(b"")
    commit = forge.image({}, {b"x": (forge.tree([(name, file) for name in names]), forge.meta())})
    with pytest.raises(BuildError, match="dirtree is damaged"):
        examine(forge, commit)


def test_a_name_that_is_file_and_directory_is_refused(forge: Forge) -> None:
    usr = forge.tree([(b"a", forge.file(b""))], [(b"a", forge.directory({}, {}))])
    with pytest.raises(BuildError, match="dirtree is damaged"):
        examine(forge, forge.image({}, {b"usr": (usr, forge.meta())}))


def test_no_other_framing_is_taken(forge: Forge) -> None:
    """Behind a right checksum, too: a byte that is no part of a name or checksum can't be another one."""
    file, below = forge.file(b""), forge.directory({}, {})
    tree = forge.path(forge.tree([(b"a", file), (b"b", file)], [(b"c", below), (b"d", below)]), "dirtree").read_bytes()
    framing = set(range(len(tree)))
    for match in re.finditer(rb".\0" + re.escape(file) + rb"|.\0" + re.escape(b"".join(below)), tree, re.DOTALL):
        framing -= {match.start(), *range(match.start() + 2, match.end())}
    assert len(framing) == 4 + 2 * 1 + 2 * 2 + 2 * 2 + 1, "NUL of names, ends in entries and of entries, and the middle"
    changed = [tree[:at] + bytes([(tree[at] + change) % 256]) + tree[at + 1 :] for at in framing for change in (1, -1)]
    for content in (*changed, tree + b"\0", b"\0" + tree, tree[:-1], tree[:40]):
        with pytest.raises(BuildError, match="dirtree is damaged"):
            examine(forge, forge.image({}, {b"usr": (forge.put("dirtree", content), forge.meta())}))
    commit = forge.path(bytes.fromhex(forge.image()), "commit").read_bytes()
    for content in (commit[:80] + b"\0" + commit[80:], commit[:10] + bytes(8) + commit[10:], b"", bytes(6)):
        with pytest.raises(BuildError, match="commit is damaged"):
            examine(forge, forge.put("commit", content).hex())


def test_all_mount_points_are_asked_for(forge: Forge) -> None:
    for place in MOUNT_POINTS:
        if "/" not in place:
            with pytest.raises(
                BuildError, match=f"'/{place}.*must be there, is missing|'/{place}.*is not the directory"
            ):
                examine(forge, forge.image({place.encode(): forge.file(b"")}))
