# SPDX-License-Identifier: AGPL-3.0-or-later
"""What apt and dpkg read and print, as text; the configuration is judged by the host's own apt where there is one."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ftos.errors import Unsupported
from ftos.image.engines.apt_text import (
    Release,
    apt_configuration,
    as_status,
    debian_architecture,
    foreign_release,
    merged_directories,
    parse_date,
    parse_get,
    parse_installed,
    parse_release,
    parse_status,
    parse_uri,
    source_line,
    transport_settings,
)
from ftos.image.manifest import InstalledPackage
from ftos.image.online import local_directory

SHA = "c7e957360dff89675b491e501b00047cf750695178cabab167c92fc260d358ec"
URI = f"'http://m.invalid/p/libx_1%3a2.0%7erc1_amd64.deb' libx_1%3a2.0~rc1_amd64.deb 340 SHA256:{SHA}"


def test_a_line_of_print_uris_becomes_a_locked_package() -> None:
    package = parse_uri(URI.encode())
    assert package is not None
    assert (package.name, package.version, package.architecture) == ("libx", "1:2.0~rc1", "amd64")
    assert (package.file, package.size, package.checksum) == ("libx_1%3a2.0~rc1_amd64.deb", 340, f"sha256:{SHA}")
    assert package.url == "http://m.invalid/p/libx_1%3a2.0%7erc1_amd64.deb"


@pytest.mark.parametrize(
    "line",
    [
        "Reading package lists...",
        URI.replace("SHA256:", "MD5Sum:"),
        URI.replace(SHA, SHA[:-1]),
        URI.replace(" libx_", " ../libx_"),
        URI.replace(" libx_", " -libx_"),
        URI.replace("340", "-1"),
        URI + " more",
        URI.replace("' l", "'\tl"),
    ],
)
def test_any_other_line_is_no_package(line: str) -> None:
    assert parse_uri(line.encode()) is None


def test_progress_of_downloads_and_installs_is_recognised() -> None:
    assert parse_get(b"Get:12 http://m.invalid/p/nano_8.4-1_amd64.deb [340 B]") == (12, "nano")
    assert parse_get(b"Get:2 http://m.invalid/debian trixie InRelease [140 kB]") is None
    assert parse_installed(b"status: libc6:amd64: installed") == "libc6"
    assert parse_installed(b"status: nano: installed ") == "nano"
    assert parse_installed(b"status: nano: half-installed") is None
    assert parse_installed(b"processing: configure: nano") is None


def test_only_installed_packages_are_listed_by_name() -> None:
    text = (
        "Package: zlib\nStatus: install ok installed\nSource: zlib-src (1:2)\nArchitecture: amd64\nVersion: 1:2-3\n"
        "Description: x\n Package: fake\n"
        "\nPackage: gone\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 1\n"
        "\nPackage: abc\nStatus: install ok installed\nArchitecture: all\nVersion: 7\n\n"
    )
    assert parse_status(text) == (
        InstalledPackage(name="abc", version="7", architecture="all", source="abc"),
        InstalledPackage(name="zlib", version="1:2-3", architecture="amd64", source="zlib-src"),
    )
    assert parse_status("") == ()


def test_a_signed_index_says_of_when_it_is() -> None:
    text = b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nOrigin: D\nDate: Sat, 12 Sep 2026 07:55:41 UTC\nX: y\n"
    assert parse_date(text) == datetime(2026, 9, 12, 7, 55, 41, tzinfo=UTC)
    assert parse_date(b"Origin: Debian\n") is None
    assert parse_date(b"Date: some time last year\n") is None


def test_a_source_names_its_keys_and_copies_from_directories() -> None:
    assert source_line("http://m.invalid/d", "trixie", ("main", "contrib"), ("a.asc", "b.asc")) == (
        "deb [signed-by=/ftos/config/keys/a.asc,/ftos/config/keys/b.asc] http://m.invalid/d trixie main contrib"
    )
    seen = local_directory("file:///srv/repo")
    assert source_line("file:///srv/repo", "local", ("main",), ("a.asc",)).endswith(f" copy:{seen} local main")
    assert seen != local_directory("file:///srv/other")


def test_of_the_hosts_settings_only_the_way_to_mirrors_is_taken() -> None:
    dump = (
        'Acquire::http::Proxy "http://proxy.invalid:3128";\n'
        'Acquire::https::proxy.invalid::Verify-Peer "true";\n'
        'Acquire::http::Proxy-Auto-Detect "/usr/local/bin/find-proxy";\n'
        'Acquire::Check-Valid-Until "false";\n'
        'APT::Update::Post-Invoke:: "rm -f /x";\n'
        'Acquire::http::X "a"; DPkg::Pre-Invoke "evil";\n'
    )
    assert transport_settings(dump) == dump.splitlines()[:2]


def test_machines_have_debian_names_and_merged_directories() -> None:
    assert debian_architecture("aarch64") == "arm64"
    assert merged_directories("arm64") == ("bin", "lib", "sbin")
    assert "lib64" in merged_directories("amd64")
    with pytest.raises(Unsupported, match="no Debian for the architecture 'vax'"):
        debian_architecture("vax")


@pytest.mark.skipif(shutil.which("apt-config") is None, reason="this host has no apt-config")
def test_apt_reads_the_configuration_as_it_is_meant(tmp_path: Path) -> None:
    config = tmp_path / "apt.conf"
    config.write_text(apt_configuration("arm64", ['Acquire::http::Proxy "http://proxy.invalid:3128";']))
    done = subprocess.run(
        ["apt-config", "dump"],
        env={**os.environ, "APT_CONFIG": str(config)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = set(done.stdout.splitlines())
    assert {
        'APT::Architectures:: "arm64";',
        'Acquire::http::Proxy "http://proxy.invalid:3128";',
        'Dir::Etc::main "/ftos/config/none/main";',
        'Dir::Etc::parts "/ftos/config/none";',
        'Dir::Etc::trustedparts "/ftos/config/none";',
        'Dir::State::lists "/ftos/fetch/lists";',
        'Dir::State::status "/ftos/config/status";',
    } <= lines
    host_only = [line for line in lines if '"/etc' in line or '"/var' in line]
    assert host_only == []


def release(origin: str, codename: str, suite: str = "./") -> Release:
    return Release("https://x.invalid/", suite, origin, codename)


@pytest.mark.parametrize(
    ("made", "belongs_to"),
    [
        (release("Debian", "bookworm", "bookworm-updates"), "Debian bookworm"),
        (release("Debian", "sid", "sid"), "Debian sid"),
        (release("Debian", "future", "future"), "Debian future"),
        (release("Ubuntu", "noble"), "Ubuntu noble"),
        (release("Somebody", "jammy"), "Ubuntu jammy"),
        (release("Somebody", "bookworm-tools"), "Debian bookworm"),
        (release("Somebody", "", "bullseye"), "Debian bullseye"),
        (release("Debian", "trixie-backports", "trixie-backports"), None),
        (release("Somebody", "trixie", "trixie"), None),
        (release("Somebody", "stable"), None),
    ],
)
def test_a_repository_of_another_distro_or_release_is_known_by_its_own_words(
    made: Release, belongs_to: str | None
) -> None:
    assert foreign_release("debian/trixie", made) == belongs_to


def test_release_lines_are_read_and_belong_to_their_source() -> None:
    made = parse_release(b"https://x.invalid/debian/|trixie|Somebody|trixie|stable")
    assert made == Release("https://x.invalid/debian/", "trixie", "Somebody", "trixie")
    assert made.is_of("https://x.invalid/debian", "trixie")
    assert not made.is_of("https://x.invalid/debian", "other")
    local = Release(f"copy:{local_directory('file:///srv/x')}/", "./", "", "")
    assert local.is_of("file:///srv/x", "./")
    assert parse_release(b"Reading package lists...") is None


def test_index_stanzas_become_a_status_with_each_package_once() -> None:
    stanza = b"Package: a\nArchitecture: all\nVersion: 1\nDescription: x\n more: y"
    status = as_status(stanza + b"\n\nPackage: b\nArchitecture: all\nVersion: 2\n\n" + stanza + b"\n")
    assert [(package.name, package.version) for package in parse_status(status.decode())] == [("a", "1"), ("b", "2")]
    assert as_status(b"") == b""
