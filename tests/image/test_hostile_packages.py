# SPDX-License-Identifier: AGPL-3.0-or-later
"""Packages whose scripts do what they should not: contained, refused or made harmless, and gone afterwards."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.host.places import Places
from ftos.image.store import BuiltImage
from ftos.spec.records import Repository
from tests.image.harness import LocalRepository, Recorder, builder, describe, image


def build(
    shared: Places, repository: LocalRepository, name: str, script: str, progress: Recorder | None = None
) -> BuiltImage:
    repository.add(name, script)
    repository.publish()
    source = Repository(url=f"file://{repository.directory}", suite="local", components=("main",), key="local.asc")
    made = describe(shared, image(name, packages=(name,), repositories=(source,)))
    (shared.etc / "images/local.asc").write_bytes(repository.key)
    builder(shared).store.purge(name)
    for lock in shared.cache.glob("locks/*.json"):
        if f'"name": "{name}"' in lock.read_text():
            lock.unlink()
    return builder(shared, progress).ensure(made)


@pytest.fixture
def undamaged(shared: Places) -> Iterator[None]:
    """The store is the same before and after."""
    builder(shared).ensure(image("twice", packages=("nano",)))
    before = builder(shared).store.images()
    yield
    assert builder(shared).store.images() == before
    builder(shared).store.ostree.check()
    assert [path for path in (shared.store / "builds").iterdir() if path.is_dir()] == []


def test_a_repository_of_the_image_is_used_with_its_key(shared: Places, repository: LocalRepository) -> None:
    built = build(shared, repository, "plain", "exit 0")
    assert (built.tree / "usr/share/plain/file").read_text() == "plain"


@pytest.mark.usefixtures("undamaged")
def test_a_repository_with_another_key_is_refused(shared: Places, repository: LocalRepository, tmp_path: Path) -> None:
    other = LocalRepository(tmp_path / "other")
    other.close()
    repository.key, right = other.key, repository.key
    try:
        with pytest.raises(BuildError, match="fetch of the package indexes: failed") as caught:
            build(shared, repository, "unsigned", "exit 0")
    finally:
        repository.key = right
    words = ("NO_PUBKEY", "not signed", "needed to verify signature")  # gpgv and sqv say it differently
    assert any(word in caught.value.message for word in words)


@pytest.mark.usefixtures("undamaged")
def test_a_failing_script_is_told_with_its_last_words(shared: Places, repository: LocalRepository) -> None:
    with pytest.raises(BuildError, match="failing: installation of the packages: failed with status 100") as caught:
        build(shared, repository, "failing", "printf 'last \\033[31mwords\\n'; exit 7")
    assert "last \\x1b[31mwords" in caught.value.message
    log = Path(caught.value.hint.split("'")[1])
    assert b"last \x1b[31mwords" in log.read_bytes()


def test_setuid_capabilities_and_special_files_do_not_arrive(shared: Places, repository: LocalRepository) -> None:
    progress = Recorder()
    script = """
        set -e
        cp /bin/true /usr/bin/rooted; chmod 4755 /usr/bin/rooted
        cp /bin/true /usr/bin/grouped; chmod 2755 /usr/bin/grouped
        cp /bin/true /usr/bin/chowned; chown 1000:8 /usr/bin/chowned
        mkfifo /opt/fifo
        ! mknod /opt/null c 1 3
        ! mknod /opt/disk b 8 0
        perl -e 'use Socket; socket(S, PF_UNIX, SOCK_STREAM, 0); bind(S, sockaddr_un("/opt/socket")) or die'
        rm /usr/share/common-licenses/BSD
        rm -r /usr/share/pam; mkdir /usr/share/pam; touch /usr/share/pam/only
    """
    built = build(shared, repository, "special", script, progress)
    tools = built.tree / "usr/bin"
    assert [oct(stat.S_IMODE((tools / name).stat().st_mode)) for name in ("rooted", "grouped")] == ["0o755"] * 2
    assert ((tools / "chowned").stat().st_uid, (tools / "chowned").stat().st_gid) == (2147353576, 2147352584)
    assert list((built.tree / "opt").iterdir()) == []
    assert sorted(progress.notes) == [
        "'/opt/fifo' is a fifo and was left out",
        "'/opt/socket' is a socket and was left out",
    ]
    assert not (built.tree / "usr/share/common-licenses/BSD").exists()
    assert (built.tree / "usr/share/common-licenses/GPL-3").exists()
    assert [path.name for path in (built.tree / "usr/share/pam").iterdir()] == ["only"]
    builder(shared).store.ostree.check()


def test_a_script_has_no_network_and_sees_nothing_of_the_host(shared: Places, repository: LocalRepository) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        connected = threading.Event()

        def accept() -> None:
            try:
                server.accept()
                connected.set()
            except OSError:
                pass

        threading.Thread(target=accept, daemon=True).start()
        script = f"""
            perl -e 'use IO::Socket::INET; exit !IO::Socket::INET->new(PeerAddr => "127.0.0.1", PeerPort => {port})' \
                && touch /opt/connected
            tail -n +3 /proc/net/dev | cut -d: -f1 > /opt/interfaces
            ls /proc | grep -c '^[0-9]' > /opt/processes
            (ls {shared.root} || ls /home/* || ls /root/.ssh) > /opt/host 2>/dev/null
            cat /proc/self/uid_map > /opt/uid_map
            exit 0
        """
        built = build(shared, repository, "curious", script)
        assert not connected.is_set()
    opt = built.tree / "opt"
    assert not (opt / "connected").exists()
    assert (opt / "interfaces").read_text().split() == ["lo"]
    assert int((opt / "processes").read_text()) < 15
    assert (opt / "host").read_text() == ""
    first, base, count = (int(word) for word in (opt / "uid_map").read_text().split())
    assert (first, count) == (0, 65536)
    assert base >= 0x70000000


def test_a_daemon_that_a_script_leaves_is_gone_after_the_build(shared: Places, repository: LocalRepository) -> None:
    """The script itself fails where its daemon has not started."""
    build(shared, repository, "lingering", "setsid sleep 98765 >/dev/null 2>&1 & sleep 0.2; kill -0 $!")
    assert all(b"98765" not in words for words in _command_lines())


def _command_lines() -> Iterator[bytes]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes()


@pytest.mark.parametrize(
    ("name", "script", "message"),
    [
        ("toor", "echo toor:x:0:0::/:/bin/sh >> /etc/passwd", "'toor' and 'root' share the id 0"),
        ("hex", "echo hex:x:0x0:0::/:/bin/sh >> /etc/passwd", "'0x0' is no id from 0 to 65535"),
        ("tmp-link", "mkdir /x; rm -rf /var/tmp; ln -s /x /var/tmp", "'/var/tmp' is a symlink in the image"),
        ("home-file", "rm -rf /home; echo > /home", "'/home' is a file in the image"),
        (
            "etc-passwd-link",
            "mv /etc/passwd /etc/p; ln -s p /etc/passwd",
            "'/etc/passwd' in the image is not a regular",
        ),
        ("deep", "cd /opt; i=0; while [ $i -lt 400 ]; do mkdir d; cd d; i=$((i+1)); done", "more than 128 levels"),
        ("line-break", 'touch "/var/log/a\nb"', "has a line break"),
    ],
)
@pytest.mark.usefixtures("undamaged")
def test_a_tree_that_would_deceive_is_refused(
    shared: Places, repository: LocalRepository, name: str, script: str, message: str
) -> None:
    with pytest.raises(BuildError, match=message):
        build(shared, repository, name, script)


def test_an_older_index_than_the_one_known_is_not_taken(shared: Places, tmp_path: Path) -> None:
    """A mirror (or who sits before it) that replays old, signed indexes brings no old package back."""
    repository = LocalRepository(tmp_path / "replayed")
    try:
        repository.add("fixed", "exit 0", version="1")
        repository.publish("Sat, 01 Aug 2026 00:00:00 UTC")
        old = {path: path.read_bytes() for path in repository.directory.joinpath("dists").rglob("*") if path.is_file()}
        source = Repository(url=f"file://{repository.directory}", suite="local", components=("main",), key="local.asc")
        made = describe(shared, image("fixed", packages=("fixed",), repositories=(source,)))
        (shared.etc / "images/local.asc").write_bytes(repository.key)
        repository.add("fixed", "exit 0", version="2")
        repository.publish("Sun, 02 Aug 2026 00:00:00 UTC")
        version = {package.name: package.version for package in builder(shared).ensure(made).packages}["fixed"]
        assert version == "2"
        for path, data in old.items():
            path.write_bytes(data)
        builder(shared).store.purge("fixed")
        digest = builder(shared).recipe(made).digest
        os.unlink(shared.cache / f"locks/{digest}.json")
        again = builder(shared).ensure(made)
        assert {package.name: package.version for package in again.packages}["fixed"] == "2"
    finally:
        repository.close()
