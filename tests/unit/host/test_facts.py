# SPDX-License-Identifier: AGPL-3.0-or-later
"""Facts of the device: what is found, and that the owner's words win."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest

from ftos.errors import BadInput
from ftos.host.facts import Account, HostFacts, apk_mirror, gather
from ftos.spec.records import Host


def host(**words: object) -> Host:
    return Host(kind="host", schema=1, **words)  # type: ignore[arg-type]


def test_an_empty_device_has_defaults(tmp_path: Path) -> None:
    found = gather(host(), tmp_path)
    assert (found.gpu, found.locale, found.timezone) == ("none", "C.UTF-8", "Etc/UTC")
    assert found.architecture == os.uname().machine


def test_locale_timezone_and_gpu_are_read_from_the_device(tmp_path: Path) -> None:
    (tmp_path / "etc/default").mkdir(parents=True)
    (tmp_path / "etc/default/locale").write_text('# the locale\nLANG="de_DE.UTF-8"\n')
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    gpu(tmp_path, "card0", "virtio_gpu")
    found = gather(host(), tmp_path)
    assert (found.gpu, found.locale, found.timezone) == ("virtio-gpu", "de_DE.UTF-8", "Europe/Berlin")


def gpu(root: Path, name: str, driver: str) -> None:
    """A device /sys/class/drm/NAME of a driver."""
    (root / "sys/bus/drivers" / driver).mkdir(parents=True, exist_ok=True)
    (root / "sys/class/drm" / name / "device").mkdir(parents=True)
    (root / "sys/class/drm" / name / "device/driver").symlink_to(root / "sys/bus/drivers" / driver)


def test_the_gpu_is_the_device_that_renders_not_the_one_that_shows(tmp_path: Path) -> None:
    gpu(tmp_path, "card0", "sun4i-drm")
    found = gather(host(), tmp_path)
    assert (found.gpu, found.origins["gpu"]) == ("sun4i-drm", "/sys/class/drm/card0")
    gpu(tmp_path, "card1", "lima")
    gpu(tmp_path, "renderD128", "lima")
    found = gather(host(), tmp_path)
    assert (found.gpu, found.origins["gpu"]) == ("lima", "/sys/class/drm/renderD128")


@pytest.mark.parametrize(
    ("driver", "known_as"),
    [("msm_dpu", "msm"), ("adreno", "msm"), ("vc4-drm", "vc4"), ("virtio_gpu", "virtio-gpu"), ("i915", "i915")],
)
def test_parts_of_a_driver_are_known_by_the_name_of_the_whole(tmp_path: Path, driver: str, known_as: str) -> None:
    gpu(tmp_path, "renderD128", driver)
    assert gather(host(), tmp_path).gpu == known_as


@pytest.mark.parametrize(
    ("locale", "language"),
    [
        ("de_DE.UTF-8", "de"),
        ("sr_RS@latin", "sr"),
        ("C.UTF-8", "c"),
        ("C", "c"),
        ("POSIX", "c"),
        ("ast_ES.UTF-8", "ast"),
    ],
)
def test_the_language_is_that_of_the_locale(locale: str, language: str) -> None:
    assert gather(host(locale=locale)).language == language


@pytest.mark.parametrize("written", ["de_DE.utf8", "de_DE.UTF8", "de_DE.utf-8"])
def test_a_locale_is_spelled_as_lists_of_locales_have_it(tmp_path: Path, written: str) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/locale.conf").write_text(f"LANG={written}\n")
    assert gather(host(), tmp_path).locale == gather(host(locale=written)).locale == "de_DE.UTF-8"


def test_what_is_no_locale_or_zone_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "etc/default").mkdir(parents=True)
    (tmp_path / "etc/locale.conf").write_text("LANG=de_DE.UTF-8; reboot\n")
    (tmp_path / "etc/default/locale").write_text("LANG=fr_FR.UTF-8\n")
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/$(reboot)")
    found = gather(host(), tmp_path)
    assert (found.locale, found.origins["locale"]) == ("fr_FR.UTF-8", "/etc/default/locale")
    assert (found.timezone, found.origins["timezone"]) == ("Etc/UTC", "built-in default")


def test_every_fact_knows_where_it_is_from(tmp_path: Path) -> None:
    assert gather(host(owner="root"), tmp_path).origins == {
        "architecture": "the running kernel",
        "gpu": "no device in /sys/class/drm",
        "locale": "built-in default",
        "timezone": "built-in default",
        "owner": "host.yml",
    }
    said = gather(host(architecture="aarch64", gpu="msm", locale="C", timezone="Etc/GMT"), tmp_path)
    assert {said.origins[name] for name in ("architecture", "gpu", "locale", "timezone")} == {"host.yml"}
    assert said.values() == {
        "architecture": "aarch64",
        "gpu": "msm",
        "language": "c",
        "locale": "C",
        "timezone": "Etc/GMT",
    }


def test_a_plain_timezone_file_is_read_when_localtime_is_no_symlink(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime").write_bytes(b"TZif")
    (tmp_path / "etc/timezone").write_text("Asia/Tokyo\n")
    assert gather(host(), tmp_path).timezone == "Asia/Tokyo"


def test_the_owners_words_win(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/locale.conf").write_text("LANG=de_DE.UTF-8\n")
    words = host(locale="fr_FR.UTF-8", timezone="Europe/Paris", gpu="msm", mirrors={"debian": "http://here.invalid/d/"})
    found = gather(words, tmp_path)
    assert (found.locale, found.timezone, found.gpu) == ("fr_FR.UTF-8", "Europe/Paris", "msm")
    assert found.mirrors["debian"] == "http://here.invalid/d"


def test_the_owner_is_the_named_account() -> None:
    root = pwd.getpwuid(0)
    assert gather(host(owner=root.pw_name)).owner == Account(root.pw_name, 0, root.pw_gid, Path(root.pw_dir))


def test_an_unknown_owner_is_refused_with_a_hint() -> None:
    with pytest.raises(BadInput, match="'nobody-has-this' has no account") as caught:
        gather(host(owner="nobody-has-this"))
    assert "host.yml" in caught.value.hint


def test_without_uid_1000_the_owner_is_who_called_sudo(monkeypatch: pytest.MonkeyPatch) -> None:
    real = pwd.getpwuid

    def no_1000(uid: int) -> pwd.struct_passwd:
        if uid == 1000:
            raise KeyError(uid)
        return real(uid)

    monkeypatch.setattr(pwd, "getpwuid", no_1000)
    monkeypatch.setenv("SUDO_UID", "1")
    owner = gather(host()).owner
    assert owner is not None
    assert owner.uid == 1
    for nonsense in ("", "x", "-1", "99999999999999999999", "²"):
        monkeypatch.setenv("SUDO_UID", nonsense)
        assert gather(host()).owner is None


# --- mirrors: by the host's real apt, with a configuration of the test ----------------------------------------------

needs_apt = pytest.mark.skipif(shutil.which("apt-get") is None, reason="this host has no apt-get")


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host's apt configuration without indexes; the directory for its sources."""
    (tmp_path / "lists/partial").mkdir(parents=True)
    (tmp_path / "sources.d").mkdir()
    config = tmp_path / "apt.conf"
    config.write_text(
        f'Dir::State::lists "{tmp_path}/lists";\nDir::Etc::sourcelist "{tmp_path}/sources.d/sources.list";\n'
        f'Dir::Etc::sourceparts "{tmp_path}/sources.d";\nDir::Cache::pkgcache "";\nDir::Cache::srcpkgcache "";\n'
    )
    monkeypatch.setenv("APT_CONFIG", str(config))
    return tmp_path / "sources.d"


def mirrors() -> dict[str, str]:
    return HostFacts("x86_64", "none", "C.UTF-8", "Etc/UTC", None).mirrors


@needs_apt
def test_mirrors_come_from_the_hosts_apt_even_before_its_first_update(apt: Path) -> None:
    (apt / "sources.list").write_text(
        "deb http://other.invalid/linux/debian trixie stable\n"
        "deb http://mirror.invalid/pub/debian/ trixie main\n"
        "deb http://second.invalid/debian trixie main\n"
        "deb http://mirror.invalid/pub/debian-security trixie-security main\n"
    )
    assert mirrors() == {
        "debian": "http://mirror.invalid/pub/debian",
        "debian-security": "http://mirror.invalid/pub/debian-security",
    }


@needs_apt
def test_a_list_of_mirrors_stands_for_its_first(apt: Path) -> None:
    (apt / "mirrors.txt").write_text("# ours\nhttps://one.invalid/debian\nhttps://two.invalid/debian\n")
    (apt / "debian").symlink_to("mirrors.txt")
    (apt / "sources.list").write_text(f"deb mirror+file:{apt}/debian trixie main\n")
    assert mirrors() == {"debian": "https://one.invalid/debian"}


@needs_apt
def test_without_a_source_there_is_no_mirror(apt: Path) -> None:
    assert mirrors() == {}


@pytest.mark.parametrize(
    ("text", "mirror"),
    [
        ("https://m.invalid/alpine/v3.24/main\nhttps://m.invalid/alpine/v3.24/community\n", "https://m.invalid/alpine"),
        (
            "#https://no.invalid/v3.24/main\n@x https://no.invalid/edge/main\n file:///srv/a/edge/main \n",
            "file:///srv/a",
        ),
        ("/media/cdrom/apks\nhttp://other.invalid/v25.06\nhttp://m.invalid/latest-stable/main/\n", "http://m.invalid"),
        ("https://m.invalid/alpine/v3.24/community\n", None),
        ("", None),
    ],
)
def test_the_mirror_of_an_alpine_host_is_that_of_its_main_repository(
    tmp_path: Path, text: str, mirror: str | None
) -> None:
    assert apk_mirror(tmp_path / "none") == {}
    (tmp_path / "repositories").write_text(text)
    assert apk_mirror(tmp_path / "repositories") == ({"alpine": mirror} if mirror else {})


def test_the_owners_word_on_a_mirror_is_taken_before_any_package_manager_is_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "apt-get").write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    (tmp_path / "apt-get").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    facts = HostFacts("x86_64", "none", "C.UTF-8", "Etc/UTC", None, {"alpine": "https://m.invalid/alpine/"})
    assert facts.mirror("alpine") == "https://m.invalid/alpine"
    assert not (tmp_path / "asked").exists()
    assert facts.mirror("debian") is None
    assert (tmp_path / "asked").exists()
