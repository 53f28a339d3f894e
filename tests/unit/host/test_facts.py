# SPDX-License-Identifier: AGPL-3.0-or-later
"""Facts of the device: what is found, and that the owner's words win."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

import pytest

from ftos.errors import BadInput
from ftos.host.facts import Account, HostFacts, gather
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
    (tmp_path / "sys/bus/drivers/virtio_gpu").mkdir(parents=True)
    (tmp_path / "sys/class/drm/card0/device").mkdir(parents=True)
    (tmp_path / "sys/class/drm/card0/device/driver").symlink_to(tmp_path / "sys/bus/drivers/virtio_gpu")
    found = gather(host(), tmp_path)
    assert (found.gpu, found.locale, found.timezone) == ("virtio-gpu", "de_DE.UTF-8", "Europe/Berlin")


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
