# SPDX-License-Identifier: AGPL-3.0-or-later
"""A device below a temporary root, with an image and a service of the owner, and the command to run on it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ftos.cli.main import cli

NOTES = """\
kind: image
schema: 1
name: notes
title: Notes
version: "1"
osbase: debian/trixie
packages: [nano]
environment: {GTK_THEME: Adwaita}
settings:
  theme: {default: dark, choices: [dark, light], title: colours}
command: [/usr/bin/nano]
os-services:
  documents: {interface: user-dir, rights: [list, read], path: /home/app/Documents, reason: imports text files}
  network: {reason: fetches the news}
volumes:
  - {name: notes, class: data, path: /home/app/notes}
  - {name: cache, class: cache, path: /home/app/.cache, quota: 300M, ttl: 14d}
"""
ALBUM = """\
kind: service
schema: 1
name: album
title: The album
interface: user-dir
provider: directory
settings: {path: ~/Album}
"""

Run = Callable[..., Result]


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of the device; FTOS_ROOT says so."""
    etc = tmp_path / "etc/ftos"
    for kind in ("images", "services"):
        (etc / kind).mkdir(parents=True)
    (etc / "images/notes.yml").write_text(NOTES)
    (etc / "services/album.yml").write_text(ALBUM)
    monkeypatch.setenv("FTOS_ROOT", str(tmp_path))
    return tmp_path


@pytest.fixture
def ftos(root: Path) -> Run:
    """Run `ftos` in this process: the result has exit_code, stdout, stderr. No error ends in a traceback."""

    def run(*words: str) -> Result:
        result = CliRunner().invoke(cli, words)
        assert "Traceback" not in result.output
        assert result.exit_code != 70, result.stderr
        return result

    return run


@pytest.fixture
def notes(ftos: Run, root: Path) -> Path:
    """The descriptor of a deployment `notes` made with --yes."""
    result = ftos("deploy", "notes", "--yes")
    assert result.exit_code == 0, result.stderr
    return root / "etc/ftos/deployments/notes.yml"


Process = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def process(root: Path) -> Process:
    """Run `ftos` as a process of its own, without a terminal."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", "from ftos.cli.main import main; main()", *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **environment},
            timeout=60,
            check=False,
        )

    return run
