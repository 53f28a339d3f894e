# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is laid over a device's root: units and scripts that init systems take, with verbs that there are."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from ftos.cli.main import cli

DAILY = [["image", "update", "--all"], ["image", "gc", "--auto"]]


@pytest.fixture
def overlay(checkout: Path) -> Path:
    return checkout / "rootfs-overlay"


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd")
def test_systemd_has_nothing_to_say_about_the_units(overlay: Path) -> None:
    units = sorted((overlay / "usr/lib/systemd/system").iterdir())
    assert units
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *units], capture_output=True, text=True, check=False
    )
    # The command need not be installed where tests run.
    complaints = [line for line in done.stderr.splitlines() if "/usr/bin/ftos" not in line]
    assert complaints == []


def test_the_timer_starts_a_service_with_the_verbs_of_each_day(overlay: Path) -> None:
    units = overlay / "usr/lib/systemd/system"
    timer, service = ((units / f"ftos-images.{kind}").read_text() for kind in ("timer", "service"))
    assert "Persistent=true" in timer
    commands = re.findall(r"^ExecStart=-?/usr/bin/ftos (.*)$", service, re.MULTILINE)
    assert [command.split() for command in commands] == DAILY


def test_the_verbs_of_each_day_are_there_with_their_options() -> None:
    for words in DAILY:
        result = CliRunner().invoke(cli, [*words, "--help"])
        assert result.output.startswith(f"Usage: ftos {words[0]} {words[1]} "), result.output


def test_the_script_for_cron_does_the_same_once_at_a_time(overlay: Path, tmp_path: Path) -> None:
    for name, text in (("ftos", f'echo "$*" >> {tmp_path}/said'), ("sleep", f'echo "$1" > {tmp_path}/slept')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = overlay / "etc/periodic/daily/ftos-images"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    subprocess.run([script], env=environment, check=True, timeout=20)
    assert [line.split() for line in (tmp_path / "said").read_text().splitlines()] == DAILY
    assert 0 <= int((tmp_path / "slept").read_text()) < 900
    with script.open() as lock:
        subprocess.run(["flock", "--nonblock", str(lock.fileno())], pass_fds=[lock.fileno()], check=True)
        subprocess.run([script], env=environment, check=True, timeout=20)
    assert len((tmp_path / "said").read_text().splitlines()) == len(DAILY)
