# SPDX-License-Identifier: AGPL-3.0-or-later
"""A store on a disk that is full, really: a small ext4 in a file, and a tmpfs, mounted where nobody else sees them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ftos.host.places import Places
from tests.fault.synthetic import CHECKOUT, assert_nothing_left, assert_whole, contents, fill, publish, store

SIZE = 64 << 20


def inside(file_system: str, top: Path) -> None:
    """Publish until the disk is full; what is there then, and afterwards. Runs in a mount namespace of its own."""
    subprocess.run(["mount", *file_system.split(), top / "disk"], check=True)
    places = Places(top / "disk/root")
    full = store(places)
    expected: dict[str, dict[str, bytes]] = {}
    said = ""
    for number in range(40):
        source = fill(top / f"image{number}", {"usr/own": os.urandom(3 << 20), "usr/bin/app": b"app"})
        try:
            publish(full, f"image{number}", source)
        except Exception as error:
            said = f"{type(error).__name__}: {error}"
            break
        expected[f"image{number}"] = contents(source)
    assert len(expected) >= 15, said  # 3 % and 5 % of the disk are kept free, no more
    assert "min-free-space" in said or "No space left" in said, said
    assert said.startswith("FtosError: the image store refused to commit"), said
    assert_whole(full, expected)
    assert_nothing_left(full)
    free = free_space(top / "disk")
    assert free >= SIZE // 50

    # Somebody else takes the rest.
    with (top / "disk/filler").open("wb", buffering=0) as filler:
        try:
            while filler.write(bytes(1 << 16)):
                pass
        except OSError:
            pass
    publishing = subprocess.run(
        [sys.executable, "-m", "tests.fault.synthetic", str(places.root), "publish", "late", str(top / "image0")],
        cwd=CHECKOUT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert publishing.returncode == 1, publishing
    assert publishing.stderr.startswith("error: "), publishing
    assert len(publishing.stderr.splitlines()) == 1, publishing
    assert_whole(full, expected)

    # Making room must work where there is none.
    full.purge("image0")
    del expected["image0"]
    assert free_space(top / "disk") >= 3 << 20
    (top / "disk/filler").unlink()
    publish(full, "late", top / "image0")
    expected["late"] = contents(top / "image0")
    assert_whole(full, expected)
    assert_nothing_left(full)


def free_space(path: Path) -> int:
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize


@pytest.mark.parametrize("kind", ["ext4", "tmpfs"])
def test_a_full_disk(kind: str, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    file_system = f"-t tmpfs -o size={SIZE} none"
    if kind == "ext4":
        if shutil.which("mkfs.ext4") is None:
            pytest.skip("there is no mkfs.ext4")
        with (tmp_path / "ext4").open("wb") as file:
            file.truncate(SIZE)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", tmp_path / "ext4"], check=True)
        file_system = f"-o loop {tmp_path / 'ext4'}"
        if not Path("/dev/loop-control").exists():
            pytest.skip("there are no loop devices")
    command = [sys.executable, "-m", "tests.fault.test_full_disk", file_system, str(tmp_path)]
    private = ["unshare", "-m", "--propagation", "private", *command]
    done = subprocess.run(private, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


if __name__ == "__main__":
    inside(sys.argv[1], Path(sys.argv[2]))
