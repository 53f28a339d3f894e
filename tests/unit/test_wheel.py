# SPDX-License-Identifier: AGPL-3.0-or-later
"""The wheel brings all that is needed without the checkout: compiled parts, shipped descriptors, the command."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-cache-dir")
LOOK = """
import json, sys
import ftos._native.launch
from ftos.host.places import Places
shipped = [path for path in Places.from_environment(sys.argv[1]).shipped if path.is_dir()]
print(json.dumps([ftos.__path__[0], *map(str, shipped)]))
"""


@pytest.fixture(scope="module")
def wheel(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built without network from a copy of what is in the repository."""
    source = tmp_path_factory.mktemp("source")
    made = shutil.ignore_patterns("__pycache__", "*.so", "ftos-init")
    for folder in ("ftos", "osbases", "rootfs-overlay"):
        shutil.copytree(checkout / folder, source / folder, ignore=made)
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(checkout / file, source)
    command = [*PIP, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(source), "."]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = source.glob("*.whl")
    return built


def test_wheel_holds_modules_compiled_parts_and_shipped_descriptors_and_nothing_else(
    checkout: Path, wheel: Path
) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {entry.filename for entry in archive.infolist() if ".dist-info/" not in entry.filename}
        assert archive.getinfo("ftos/_native/ftos-init").external_attr >> 16 & 0o777 == 0o755
    modules = {
        str(path.relative_to(checkout)) for path in (checkout / "ftos").rglob("*.py*") if path.suffix in (".py", ".pyi")
    }
    shipped = {
        f"ftos/share/{path.relative_to(base)}"
        for base, below in ((checkout, "osbases"), (checkout / "rootfs-overlay/usr/share/ftos", "."))
        for path in (base / below).rglob("*")
        if path.is_file()
    }
    extension = "ftos/_native/launch" + sysconfig.get_config_var("EXT_SUFFIX")
    assert names == modules | shipped | {extension, "ftos/_native/ftos-init"}


def test_installed_wheel_works_without_the_checkout(wheel: Path, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    python = str(home / "bin/python")
    packages = home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    subprocess.run([*PIP, "--python", python, "install", "--quiet", "--no-index", "--no-deps", wheel], check=True)
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")

    version = subprocess.run([home / "bin/ftos", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert version.stdout == f"ftos {wheel.name.split('-')[1]}\n"
    look = subprocess.run([python, "-c", LOOK, tmp_path], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(look.stdout) == [str(packages / "ftos"), str(packages / "ftos/share")]
