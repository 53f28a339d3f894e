# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real programs, started from real trees, use the caches that came with the packages, and make none anew.

A tree is mounted read-only in a private namespace, and a program of it is started there under strace. Each claim has a
control: the same program over the same tree with the cache spoilt, where the trace must show what the test looks for.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from ftos.host.places import Places
from ftos.spec.records import Repository
from tests.image.harness import LocalRepository, Recorder, builder, describe, image

pytestmark = pytest.mark.skipif(shutil.which("strace") is None, reason="there is no strace to see what programs open")

RELEASES = ("debian/bookworm", "debian/trixie")
PLAIN = ("dconf-gsettings-backend", "fontconfig", "fonts-dejavu-core", "libglib2.0-bin", "python3-minimal")
GRAPHICAL = (
    *PLAIN,
    "adwaita-icon-theme",
    "desktop-file-utils",
    "gir1.2-gtk-3.0",
    "python3-gi",
    "shared-mime-info",
)
FONTS, ICONS, MIME = "/usr/share/fonts", "/usr/share/icons", "/usr/share/mime"

ENTER = """
set -eu
tree=$1 work=$2 spoil=$3
shift 3
mount -t tmpfs tmpfs "$work"
mkdir "$work/root" "$work/upper" "$work/work"
if [ -n "$spoil" ]; then
    mount -t overlay -o "lowerdir=$tree,upperdir=$work/upper,workdir=$work/work" overlay "$work/root"
else
    mount --bind "$tree" "$work/root"
fi
mount -t proc proc "$work/root/proc"
mount --rbind /dev "$work/root/dev"
mount -t tmpfs tmpfs "$work/root/tmp"
chroot "$work/root" /bin/sh -euc "$spoil"
mount -o remount,bind,ro "$work/root"
exec strace -ff -o "$TRACE" -e trace=open,openat,openat2,creat,mkdir,mkdirat,rename,renameat,renameat2 \\
    env -i HOME=/tmp/home LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin chroot "$work/root" "$@"
"""
CALL = re.compile(r'(\w+)\((?:AT_FDCWD, )?"(.*?)"(.*)\) = (-?\d+)')
IMPORTS = "import argparse, calendar, collections, inspect, logging, optparse, pathlib, random, subprocess, typing"


@dataclass(frozen=True)
class Start:
    """What a program printed, opened, looked for in vain, and tried to write."""

    said: str
    files: list[str]
    directories: list[str]
    missed: list[str]
    written: list[str]

    def below(self, top: str) -> list[str]:
        """The directories that it listed, from `top` on downwards."""
        return [path for path in self.directories if f"{path}/".startswith(f"{top}/")]


def start(tree: Path, scratch: Path, *command: str, spoil: str = "") -> Start:
    """Start a program of `tree`; with `spoil`, after this shell script has changed a copy of the tree."""
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "work").mkdir(parents=True)
    words = ["unshare", "--mount", "--propagation=private", "/bin/sh", "-c", ENTER, "enter"]
    done = subprocess.run(
        [*words, str(tree), str(scratch / "work"), spoil, *command],
        env={**os.environ, "TRACE": str(scratch / "trace")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    lines = [line for file in scratch.glob("trace.*") for line in file.read_text().splitlines()]
    calls = [found.groups() for found in map(CALL.match, lines) if found]
    inside = [call for call in calls if not call[1].startswith(("/dev/", "/proc/", "/tmp/home"))]
    opened = [(path, "O_DIRECTORY" in flags) for _, path, flags, result in inside if int(result) >= 0]
    return Start(
        said=done.stdout,
        files=[os.path.normpath(path) for path, listed in opened if not listed],
        directories=[os.path.normpath(path) for path, listed in opened if listed],
        missed=[path for _, path, _, result in inside if int(result) < 0],
        written=[
            path
            for name, path, flags, _ in calls
            if not path.startswith("/dev/") and (not name.startswith("open") or re.search("O_WRONLY|O_RDWR", flags))
        ],
    )


def only(paths: list[str], part: str) -> list[str]:
    return [path for path in paths if part in path]


def built(shared: Places, name: str, osbase: str, packages: tuple[str, ...]) -> Path:
    """The tree of an image that this version of the code has made."""
    builder(shared).purge(name)
    return builder(shared).ensure(image(name, osbase, packages=packages)).tree


@pytest.fixture(scope="module", params=RELEASES)
def plain(request: pytest.FixtureRequest, shared: Places) -> Path:
    return built(shared, "starts-" + request.param.rpartition("/")[2], request.param, PLAIN)


@pytest.fixture(scope="module")
def graphical(shared: Places) -> Path:
    return built(shared, "starts-graphical", "debian/trixie", GRAPHICAL)


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    return tmp_path / "scratch"


def test_libraries_are_found_by_the_cache_of_the_loader(plain: Path, scratch: Path) -> None:
    command = ("gio", "--version")
    started = start(plain, scratch, *command)
    assert only(started.missed, "libgio-2.0") == []
    spoilt = start(plain, scratch, *command, spoil="rm /etc/ld.so.cache")
    assert only(spoilt.missed, "libgio-2.0") != []


def test_fonts_are_found_without_a_look_at_them(plain: Path, scratch: Path) -> None:
    started = start(plain, scratch, "fc-match", "sans:bold")
    assert "DejaVu" in started.said
    assert only(started.files, "/var/cache/fontconfig/") != []
    assert started.below(FONTS) == []
    assert only(started.files, ".ttf") == []
    assert started.written == []


def test_the_control_looks_at_the_fonts_and_wants_to_keep_what_it_found(plain: Path, scratch: Path) -> None:
    spoilt = start(plain, scratch, "fc-match", "sans:bold", spoil=f"touch {FONTS}/truetype/dejavu")
    assert spoilt.below(FONTS) == [f"{FONTS}/truetype/dejavu"]
    assert only(spoilt.files, ".ttf") != []
    assert spoilt.written != []


def test_python_compiles_nothing_and_reads_no_source(plain: Path, scratch: Path) -> None:
    started = start(plain, scratch, "python3", "-v", "-c", IMPORTS)
    assert started.said.count(".pyc'") > 40
    assert only(started.files, ".pyc") != []
    assert [path for path in started.files if path.endswith(".py")] == []
    assert "# wrote" not in started.said
    assert started.written == []


def test_all_bytecode_is_independent_of_its_source(plain: Path) -> None:
    headers = {path: path.read_bytes()[4:8] for path in plain.glob("usr/**/__pycache__/*.pyc")}
    assert len(headers) > 100
    assert [path for path, flags in headers.items() if flags != b"\1\0\0\0"] == []


def test_the_control_compiles_what_is_stale(plain: Path, scratch: Path) -> None:
    spoil = """
        for file in /usr/lib/python3.*/logging/__pycache__/__init__.*.pyc; do
            dd if=/dev/zero of="$file" bs=1 seek=4 count=12 conv=notrunc status=none
        done
    """
    spoilt = start(plain, scratch, "python3", "-c", IMPORTS, spoil=spoil)
    assert only(spoilt.files, "logging/__init__.py") != []
    assert only(spoilt.written, "logging/__pycache__/__init__") != []


def test_modules_of_gio_are_not_loaded_to_see_what_they_are(plain: Path, scratch: Path) -> None:
    """Also when another tree with the same file has come and gone since, which changes the file's status."""
    (module,) = plain.glob("usr/lib/*/gio/modules/libdconfsettings.so")
    time.sleep(1.1)
    other = plain.parent / f"other-{os.getpid()}"
    other.hardlink_to(module)
    other.unlink()
    command = ("gio", "info", "/etc/passwd")
    started = start(plain, scratch, *command)
    modules = "/" + str(module.parent.relative_to(plain))
    assert only(started.files, modules) == [f"{modules}/giomodule.cache"]
    assert started.written == []
    spoil = f"cd {modules}; touch -d @0 giomodule.cache; sleep 1.1; chmod 644 {module.name}"
    spoilt = start(plain, scratch, *command, spoil=spoil)
    assert f"{modules}/{module.name}" in spoilt.files


def test_icons_are_found_without_a_look_at_their_directories(graphical: Path, scratch: Path) -> None:
    program = """
import gi
gi.require_version("Gtk", "3.0")
from gi.repository import Gtk
theme = Gtk.IconTheme.new()
theme.set_custom_theme("Adwaita")
print("found", theme.has_icon("edit-copy-symbolic"), theme.has_icon("no-such-icon"))
"""
    theme = f"{ICONS}/Adwaita"
    started = start(graphical, scratch, "python3", "-c", program)
    assert "found True False" in started.said
    assert f"{theme}/icon-theme.cache" in started.files
    assert started.below(theme) == []
    assert started.written == []
    spoilt = start(graphical, scratch, "python3", "-c", program, spoil=f"touch {theme}")
    assert f"{theme}/symbolic/actions" in spoilt.below(theme)


def test_formats_of_images_are_known_without_loading_what_reads_them(graphical: Path, scratch: Path) -> None:
    program = """
import gi
gi.require_version("GdkPixbuf", "2.0")
from gi.repository import GdkPixbuf
print("formats", sorted(format.get_name() for format in GdkPixbuf.Pixbuf.get_formats()))
"""
    started = start(graphical, scratch, "python3", "-c", program)
    assert "'ani'" in started.said
    caches = [path for path in started.files if "/gdk-pixbuf-2.0/" in path]
    assert [Path(path).name for path in caches] == ["loaders.cache"]
    assert only(started.directories, "/gdk-pixbuf-2.0/") == []
    assert started.written == []
    spoilt = start(graphical, scratch, "python3", "-c", program, spoil="rm /usr/lib/*/gdk-pixbuf-2.0/*/loaders.cache")
    assert "'ani'" not in spoilt.said


def test_the_list_of_input_methods_has_them_all(graphical: Path) -> None:
    """It names no times. Only a program with a window reads it."""
    (methods,) = graphical.glob("usr/lib/*/gtk-3.0/*/immodules")
    listed = re.findall(r'^"[^"]*/(im-[^"/]+\.so)"', methods.with_name("immodules.cache").read_text(), re.MULTILINE)
    assert sorted(listed) == sorted(path.name for path in methods.glob("*.so")) != []


def test_types_of_files_and_their_programs_are_looked_up_in_caches(graphical: Path, scratch: Path) -> None:
    command = ("gio", "info", "-a", "standard::content-type", f"{ICONS}/Adwaita/index.theme")
    started = start(graphical, scratch, *command)
    assert "application/x-theme" in started.said
    assert only(started.files, MIME) == [f"{MIME}/mime.cache"]
    spoilt = start(graphical, scratch, *command, spoil=f"rm {MIME}/mime.cache")
    assert f"{MIME}/globs2" in spoilt.files
    asked = start(graphical, scratch, "gio", "mime", "text/x-python")
    assert "/usr/share/applications/mimeinfo.cache" in asked.files
    assert asked.written == []


def test_settings_are_described_by_one_compiled_file(graphical: Path, scratch: Path) -> None:
    schemas = "/usr/share/glib-2.0/schemas"
    started = start(graphical, scratch, "gsettings", "list-keys", "org.gtk.Settings.FileChooser")
    assert "show-hidden" in started.said
    assert only(started.files, schemas) == [f"{schemas}/gschemas.compiled"]
    assert started.below(schemas) == []
    assert started.written == []


def test_where_fonts_cant_be_listed_the_image_is_built_and_it_is_noted(
    shared: Places, repository: LocalRepository
) -> None:
    """What runs then is the image's own, and hostile; what it leaves is made harmless like all else."""
    repository.add(
        "listless",
        """
        mkdir -p /usr/share/fonts
        printf '%s\\n' '#!/bin/sh' 'mkfifo /opt/fifo' 'cp /bin/true /opt/rooted' 'chmod 4755 /opt/rooted' 'exit 3' \\
            > /usr/bin/fc-list
        chmod 755 /usr/bin/fc-list
        """,
    )
    repository.publish()
    source = Repository(url=f"file://{repository.directory}", suite="local", components=("main",), key="local.asc")
    made = describe(shared, image("listless", packages=("listless",), repositories=(source,)))
    (shared.etc / "images/local.asc").write_bytes(repository.key)
    progress = Recorder()
    builder(shared).purge("listless")
    tree = builder(shared, progress).ensure(made).tree
    assert [note for note in progress.notes if "listless will look at all fonts at each start" in note] != []
    assert [path.name for path in (tree / "opt").iterdir()] == ["rooted"]
    assert (tree / "opt/rooted").stat().st_mode & 0o7777 == 0o755
