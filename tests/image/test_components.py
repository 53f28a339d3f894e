# SPDX-License-Identifier: AGPL-3.0-or-later
"""What the os-components of the shipped osbases do, in images of real packages: built for a host of the test's own."""

from __future__ import annotations

import dataclasses
import subprocess
from functools import partial
from pathlib import Path

import pytest

from ftos.errors import BuildError
from ftos.host.facts import HostFacts, gather
from ftos.host.places import Places
from ftos.image.build import ImageBuilder
from ftos.runtime.container import run_to_end
from ftos.spec.catalog import Catalog
from ftos.spec.components import resolve_components
from tests.image.harness import Recorder, image

RELEASES = ("debian/bookworm", "debian/trixie")
ENTER = """
mount --bind "$1" /mnt && mount -o remount,bind,ro /mnt && mount -t tmpfs tmpfs /mnt/tmp && shift
exec chroot /mnt "$@"
"""


def facts(places: Places, **other: str) -> HostFacts:
    """A German laptop with the mirrors of this machine."""
    told = {"gpu": "i915", "locale": "de_DE.UTF-8", "timezone": "Europe/Berlin"} | other
    return dataclasses.replace(gather(Catalog(places).host()), **told)  # type: ignore[arg-type]


def build(places: Places, name: str, osbase: str, *components: str, **other: str) -> Path:
    """The tree of an image with these os-components."""
    catalog, host = Catalog(places), facts(places, **other)
    made = ImageBuilder(places, catalog, host, partial(run_to_end, places), Recorder(), in_use=tuple)
    return made.ensure(image(name, osbase, os_components=components)).tree


def said(places: Places, tree: Path, osbase: str, components: tuple[str, ...], *command: str) -> str:
    """What a program of the tree prints, in the environment that an app would have; the tree is read-only."""
    wanted = image("said", osbase, os_components=components)
    environment = resolve_components(wanted, Catalog(places).osbase(osbase), facts(places).values()).environment
    done = subprocess.run(
        ["unshare", "--mount", "--propagation=private", "/bin/sh", "-euc", ENTER, "enter", str(tree), *command],
        env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", **environment},
        stdout=subprocess.PIPE,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


PLAIN = ("certificates", "fonts", "locale", "timezone")
GRAPHICAL = ("gles2", "icons", "vulkan")


@pytest.fixture(scope="module", params=RELEASES)
def osbase(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def plain(shared: Places, osbase: str) -> Path:
    return build(shared, "components-" + osbase.rpartition("/")[2], osbase, *PLAIN)


@pytest.fixture(scope="module")
def graphical(shared: Places) -> Path:
    return build(shared, "components-graphical", "debian/trixie", *GRAPHICAL)


def test_the_hosts_locale_is_there_and_works_and_no_other_is(shared: Places, plain: Path, osbase: str) -> None:
    assert said(shared, plain, osbase, PLAIN, "sh", "-c", "locale -a | LC_ALL=C sort -f").split() == [
        "C",
        "C.utf8",
        "de_DE.utf8",
        "POSIX",
    ]
    assert said(shared, plain, osbase, PLAIN, "date", "-d", "2026-01-31 12:00 UTC", "+%A %-d. %B") == (
        "Samstag 31. Januar\n"
    )
    assert not (plain / "usr/share/i18n").exists()


def test_the_hosts_time_zone_works(shared: Places, plain: Path, osbase: str) -> None:
    assert said(shared, plain, osbase, PLAIN, "date", "-d", "2026-07-01 12:00 UTC", "+%H:%M %Z") == "14:00 CEST\n"
    assert said(shared, plain, osbase, (), "date", "-d", "2026-07-01 12:00 UTC", "+%H:%M %Z") == "12:00 UTC\n"


def test_certificates_and_a_font_are_found(shared: Places, plain: Path, osbase: str) -> None:
    assert (plain / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE") > 100
    assert "DejaVu" in said(shared, plain, osbase, PLAIN, "fc-match", "sans")


def test_a_host_without_a_locale_costs_nothing(shared: Places) -> None:
    tree = build(shared, "components-c", "debian/trixie", "locale", locale="C.UTF-8")
    assert not (tree / "usr/sbin/locale-gen").exists()


def test_a_locale_that_the_distro_has_not_fails_the_build(shared: Places) -> None:
    with pytest.raises(BuildError) as caught:
        build(shared, "components-xx", "debian/trixie", "locale", locale="xx_XX.UTF-8")
    assert "components-xx" in caught.value.message
    assert "there is no locale xx_XX.UTF-8" in (shared.cache / "logs/image-components-xx.log").read_text()


def test_vulkan_has_the_driver_of_the_hosts_gpu_only(graphical: Path) -> None:
    drivers = {path.name for path in (graphical / "usr/share/vulkan/icd.d").iterdir()}
    libraries = {path.name for path in graphical.glob("usr/lib/*/libvulkan_*.so")}
    assert {name.partition("_")[0] for name in drivers} == {"intel"}
    assert libraries == {"libvulkan_intel.so", "libvulkan_intel_hasvk.so"}


@pytest.mark.parametrize("library", ["libEGL.so.1", "libEGL_mesa.so.0", "libGLESv2.so.2", "libvulkan.so.1"])
def test_the_libraries_of_graphics_can_be_loaded(shared: Places, graphical: Path, library: str) -> None:
    (path,) = graphical.glob(f"usr/lib/*/{library}")
    needed = said(shared, graphical, "debian/trixie", (), "ldd", "/" + str(path.relative_to(graphical)))
    assert "libc.so.6 => /" in needed
    assert "not found" not in needed


def test_the_icons_are_of_the_theme_that_programs_fall_back_to(graphical: Path) -> None:
    assert "Inherits=" in (graphical / "usr/share/icons/Adwaita/index.theme").read_text()
    assert (graphical / "usr/share/icons/hicolor/index.theme").exists()
