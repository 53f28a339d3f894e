# SPDX-License-Identifier: AGPL-3.0-or-later
"""Setuid files, file capabilities, device nodes and overlay's own marks in an image or a volume give nothing inside."""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from tests.sandbox.harness import Sandbox, assert_refused, give_to, unconfined

BOUNDING = int(Path("/proc/self/status").read_text().split("CapBnd:")[1].split()[0], 16)
CAP_ALL = struct.pack("<IIIII", 0x02000001, BOUNDING & 0xFFFFFFFF, 0, BOUNDING >> 32, 0)
"""security.capability, version 2: all that can be had here is permitted and effective."""
STATUS = ("Uid", "Gid", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs")


def confinement(text: str) -> dict[str, str]:
    found = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    return {name: found[name].strip() for name in STATUS}


@pytest.fixture
def program(sandbox: Sandbox) -> Path:
    """A program of the image, which tells who runs it."""
    at = sandbox.tree / "opt" / "cat"
    at.parent.mkdir()
    shutil.copy(os.path.realpath("/bin/cat"), at)
    give_to(sandbox.tree, 0)
    at.chmod(0o755)
    return at


def told(sandbox: Sandbox) -> dict[str, str]:
    done = sandbox.run("/opt/cat", "/proc/self/status")
    assert done.status == 0, done
    return confinement(done.out)


def test_a_setuid_program_runs_as_the_app(sandbox: Sandbox, program: Path) -> None:
    plain = told(sandbox)
    program.chmod(0o6755)
    assert told(sandbox) == plain
    assert plain["Uid"].split() == ["1000"] * 4


def test_a_program_with_file_capabilities_has_none(sandbox: Sandbox, program: Path) -> None:
    plain = told(sandbox)
    os.setxattr(program, "security.capability", CAP_ALL)
    assert told(sandbox) == plain
    by_descriptor = 'exec 9<"$1"; exec setpriv --reuid=65534 --clear-groups /proc/self/fd/9 /proc/self/status'
    control = unconfined("sh", "-c", by_descriptor, "sh", str(program))
    if control.status or int(confinement(control.out)["CapEff"], 16) == 0:
        pytest.skip("inconclusive: without the sandbox the program has none either")


def test_a_setuid_program_in_a_volume_runs_as_the_app(sandbox: Sandbox, program: Path) -> None:
    """As a restored backup could bring one: the app itself can't make it."""
    sandbox.image = "volumes:\n  - {name: kept, class: data, path: /srv/kept}\n"
    plain = told(sandbox)
    shutil.copy(program, sandbox.volume("kept") / "cat")
    give_to(sandbox.volume("kept"), 0)
    sandbox.volume("kept").chmod(0o755)
    (sandbox.volume("kept") / "cat").chmod(0o6755)
    assert confinement(sandbox.run("/srv/kept/cat", "/proc/self/status").out) == plain


@pytest.mark.parametrize(
    ("name", "kind", "numbers"), [("mem", 0o20666, (1, 1)), ("zero", 0o20666, (1, 5)), ("disk", 0o60666, (254, 0))]
)
def test_a_device_node_of_the_image_can_not_be_opened(
    sandbox: Sandbox, tmp_path: Path, name: str, kind: int, numbers: tuple[int, int]
) -> None:
    (sandbox.tree / "opt").mkdir()
    for directory in (sandbox.tree / "opt", tmp_path):
        os.mknod(directory / name, kind, os.makedev(*numbers))
        (directory / name).chmod(0o666)
    give_to(sandbox.tree, 1000)
    inside = sandbox.python(f"print(attempt(os.open, '/opt/{name}', os.O_RDONLY))").out.strip()
    try:
        os.close(os.open(tmp_path / name, os.O_RDONLY))
        control = "done"
    except OSError as error:
        control = str(error.strerror)
    if control != "done":
        assert inside != "done"
        pytest.skip(f"inconclusive: without the sandbox it can't be opened either: {control}")
    assert_refused(inside, control, "EACCES")


def test_marks_of_overlayfs_in_a_volume_mean_nothing(sandbox: Sandbox) -> None:
    """An app may try to hide or redirect files by the attributes and whiteouts that overlayfs reads."""
    sandbox.image = "volumes:\n  - {name: kept, class: data, path: /srv/kept}\n"
    done = sandbox.python(
        """
        import stat
        os.chdir("/srv/kept")
        os.mkdir("directory")
        names = ["trusted.overlay.opaque", "trusted.overlay.redirect", "security.capability", "user.overlay.opaque"]
        results = [attempt(os.setxattr, "directory", name, bytes.fromhex(sys.argv[1])) for name in names]
        results.append(attempt(os.mknod, "whiteout", stat.S_IFCHR | 0o600, 0))
        print(json.dumps(results))
        """,
        CAP_ALL.hex(),
    )
    assert done.json() == ["EPERM", "EPERM", "EPERM", "done", "EPERM"]
    assert sandbox.python("print(json.dumps(os.listdir('/srv/kept')))").json() == ["directory"]


@pytest.mark.parametrize("volume_class", ["data", "discard"])
def test_an_app_can_not_hide_or_reveal_what_lies_under_it(sandbox: Sandbox, volume_class: str) -> None:
    """The attributes which an image brings are those of files, not of a layer's."""
    sandbox.image = f"volumes:\n  - {{name: v, class: {volume_class}, path: /opt/v}}\n"
    (sandbox.tree / "opt/v/below").mkdir(parents=True)
    (sandbox.tree / "opt/v/below/file").write_text("of the image\n")
    os.setxattr(sandbox.tree / "opt/v/below", "user.overlay.opaque", b"y")
    os.setxattr(sandbox.tree / "opt/v/below", "user.overlay.redirect", b"/etc")
    give_to(sandbox.tree, 0)
    expected = [] if volume_class == "data" else ["below"]
    assert sandbox.python("print(json.dumps(os.listdir('/opt/v')))").json() == expected
