# SPDX-License-Identifier: AGPL-3.0-or-later
"""Scripts of packages that do not end, take all there is, stay behind or look around; and what is there afterwards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.image.store import BuiltImage
from ftos.image.watchdog import Patience
from tests.image.alpine import OSBASE, Package, World
from tests.image.harness import image

MARK = "271828"


@pytest.fixture
def undamaged(common: World) -> Iterator[None]:
    """The store is the same before and after, with nothing left in it and no process on the machine."""
    common.offer(Package("plain"))
    plain = common.build("plain", "plain")
    yield
    store = common.builder.store
    assert store.images() == [plain]
    store.ostree.check()
    assert [path for path in (common.places.store / "builds").iterdir() if path.is_dir()] == []
    assert_nothing_runs()


def assert_nothing_runs() -> None:
    """No process whose command line has the mark, at once: all is dead before a build says anything."""
    marked = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if MARK.encode() in path.read_bytes():
                marked.append(path)
    assert marked == []


def build(world: World, name: str, script: str, patience: Patience | None = None) -> BuiltImage:
    world.offer(Package(name, scripts={"post-install": script}))
    making = world.builder
    making.patience = patience or making.patience
    making.purge(name)
    return making.ensure(image(name, OSBASE, packages=(name,)))


@pytest.mark.usefixtures("undamaged")
@pytest.mark.parametrize(
    ("name", "script", "patience", "message"),
    [
        ("loop", "while :; do :; done", Patience(total=1.5), "not done after 1.5 seconds"),
        ("chatter", f"while echo {MARK}; do sleep 0.1; done", Patience(total=1.5), "not done after 1.5 seconds"),
        ("silence", f"sleep {MARK}", Patience(silence=1), "nothing was heard of it for 1 seconds"),
        (
            "deaf",
            f"trap '' TERM INT HUP; (trap '' TERM; setsid sleep {MARK}) & while :; do sleep {MARK}; done",
            Patience(silence=1),
            "nothing was heard",
        ),
    ],
)
def test_a_script_that_does_not_end_is_ended(
    common: World, name: str, script: str, patience: Patience, message: str
) -> None:
    with pytest.raises(BuildError, match=f"{name}: installation of the packages: {message}"):
        build(common, name, script, patience)


def test_what_a_script_leaves_running_is_gone_after_the_step(common: World) -> None:
    """Orphans in sessions of their own, with and without the build's output in their hands, and a lock."""
    script = f"""
        (setsid sleep {MARK} &)
        (setsid sleep {MARK} </dev/null >/dev/null 2>&1 &)
        (exec 9>/etc/lock; flock 9; exec sleep {MARK}) &
        sleep 0.2
        ps | grep -c '[s]leep {MARK}' > /etc/count
    """
    begin = time.monotonic()
    built = build(common, "lingering", script)
    assert time.monotonic() - begin < 60
    assert (built.tree / "etc/count").read_text() == "3\n"
    assert_nothing_runs()


def test_a_fork_bomb_is_bounded(common: World) -> None:
    """The script counts how many processes it gets; the shell gives up at the first that is refused."""
    bomb = f"(i=0; while :; do i=$((i + 1)); echo $i > /etc/count; sleep {MARK} & done)"
    built = build(common, "bomb", f"{bomb} >/dev/null 2>&1; exit 0")
    assert 100 < int((built.tree / "etc/count").read_text()) <= 4096
    assert_nothing_runs()


def test_a_script_that_fills_its_temporary_files_fills_nothing_of_the_host(common: World) -> None:
    script = "cat /dev/zero > /tmp/a; cat /dev/zero > /dev/shm/a; du -m /tmp /dev/shm > /etc/used; exit 0"
    built = build(common, "filling", script)
    used = [int(line.split()[0]) for line in (built.tree / "etc/used").read_text().splitlines()]
    assert used == [512, 64]
    assert list((built.tree / "tmp").iterdir()) == []


def test_a_script_finds_no_secret_and_no_way_out(
    common: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Secrets in the builder's environment, in an open file, in root's files and in another image."""
    secret = tmp_path / "secret-314159"
    secret.write_text("secret-314159")
    monkeypatch.setenv("SECRET", "secret-314159")
    common.offer(Package("other", files={"etc/secret-314159": b"secret-314159"}))
    common.build("other", "other")
    common.offer(Package("plain"))
    script = f"""
        set +e
        exec 2>/etc/errors
        mkdir /etc/found
        env > /etc/found/env
        cat /proc/*/environ > /etc/found/environ
        cat /proc/*/cmdline > /etc/found/cmdline
        cat /etc/shadow > /etc/found/shadow
        ls -l /proc/self/fd /proc/1/fd > /etc/found/fds
        find / -xdev -name '*314159*' > /etc/found/names
        cat {secret} /proc/1/root{secret} /proc/1/cwd/{secret} > /etc/found/file
        echo x > {secret}
        echo x > /proc/sys/kernel/core_pattern && touch /etc/found/kernel
        echo x > /sys/power/state && touch /etc/found/sys
        mount -t tmpfs none /mnt && touch /etc/found/mounted
        chroot /proc/1/root /bin/true && cat /proc/1/root{secret} >> /etc/found/file
        for device in /dev/*; do echo "$device"; done > /etc/found/devices
        rm -f /etc/shadow-; exit 0
    """
    with secret.open() as held:
        os.set_inheritable(held.fileno(), True)
        built = build(common, "curious", script)
    found = {path.name: path.read_text(errors="replace") for path in (built.tree / "etc/found").iterdir()}
    assert {"env", "environ", "fds", "names", "devices"} <= found.keys()
    assert not {"kernel", "sys", "mounted"} & found.keys()
    assert "314159" not in "".join(found.values())
    assert secret.read_text() == "secret-314159"
    host = {
        line for line in Path("/etc/shadow").read_text().splitlines() if not line.split(":")[1].startswith(("*", "!"))
    }
    assert not host & set(found["shadow"].splitlines())
    devices = {"console", "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout", "tty"}
    assert {Path(line).name for line in found["devices"].split()} <= devices | {"urandom", "zero", "mqueue", "core"}


_SMALL_DISK = """
import subprocess, sys
from pathlib import Path
from tests.fault.test_full_disk import free_space
from tests.image.alpine import OSBASE, AlpinePlaces
from tests.image.harness import builder, image

top, disk = map(Path, sys.argv[1:])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,nr_inodes=20000", "none", disk], check=True)
subprocess.run(["cp", "-a", top / "root", disk], check=True)
making = builder(AlpinePlaces(disk / "root", own=top / "shipped"))
before = free_space(disk)
for name in ("data", "inodes"):
    try:
        making.ensure(image(name, OSBASE, packages=(name,)))
    except Exception as error:
        print(type(error).__name__, error.message.splitlines()[0].rstrip(":"))
        print(error.hint)
print(before - free_space(disk) < 4 << 20, [image.name for image in making.store.images()])
making.store.ostree.check()
"""


def test_a_script_that_fills_the_disk_is_ended_before_it_is_full(common: World, tmp_path: Path, checkout: Path) -> None:
    """On a small disk of its own: with data, and with empty files."""
    common.offer(
        Package("data", scripts={"post-install": f"cat /dev/zero > /data; echo full >&2; sleep {MARK}"}),
        Package("inodes", scripts={"post-install": "mkdir /d; cd /d; i=0; while :; do i=$((i+1)); >$i; done"}),
        Package("plain"),
    )
    common.build("plain", "plain")
    (tmp_path / "disk").mkdir()
    command = [sys.executable, "-c", _SMALL_DISK, str(common.places.root.parent), str(tmp_path / "disk")]
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "private", *command],
        env={**os.environ, "PYTHONPATH": str(checkout)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    for name, said, hint in zip(("data", "inodes"), lines[0:4:2], lines[1:4:2], strict=True):
        full = "the disk is full but for the 15 MiB which builds leave to others"
        assert said == f"BuildError {name}: installation of the packages: {full}"
        assert "`ftos image gc`" in hint
    assert lines[4].startswith("True ")
    assert "plain" in lines[4]
    assert_nothing_runs()
