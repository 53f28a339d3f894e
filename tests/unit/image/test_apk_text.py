# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is believed of apk's indexes, databases and printed lines, and what is not."""

from __future__ import annotations

import gzip
import io
import tarfile

import pytest

from ftos.errors import BuildError, Unsupported
from ftos.image.engines.apk_text import (
    Change,
    Index,
    alpine_architecture,
    as_database,
    checksum_field,
    foreign_release,
    index_name,
    is_older,
    locked_package,
    parse_change,
    parse_index,
    parse_installed,
    repository_urls,
)

STANZA = {
    "C": "Q1qKcZ+j23xssAXmgQhkOO8dHnbWw=",
    "P": "busybox",
    "V": "1.36.1-r29",
    "A": "x86_64",
    "S": "504534",
    "L": "GPL-2.0-only",
    "o": "busybox",
    "t": "1718003507",
}
REPOSITORY = "https://mirror.invalid/alpine/v3.20/main"


def index(files: dict[str, bytes], made: int = 7, signed: bool = True) -> bytes:
    """A repository's index file; the signature is none."""
    segments = [({".SIGN.RSA.key": b"x"}, False)] if signed else []
    out = b""
    for entries, end in [*segments, (files, True)]:
        tar = b""
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(content), made
            tar += info.tobuf() + content + bytes(-len(content) % 512)
        out += gzip.compress(tar + (bytes(1024) if end else b""), mtime=0)
    return out


def test_an_index_says_when_it_was_made_and_what_there_is() -> None:
    text = as_database([STANZA, {**STANZA, "P": "other", "t": "1718003599"}])
    found = parse_index(index({"DESCRIPTION": b"v3.20", "APKINDEX": text}, made=1_730_000_000))
    assert (found.made, found.newest) == (1_730_000_000, 1718003599)
    assert [stanza["P"] for stanza in found.stanzas] == ["busybox", "other"]
    assert found.stanzas[0] == STANZA


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip",
        index({"APKINDEX": b"P:x\n"})[:-10],
        index({"DESCRIPTION": b"x"}),
        index({"APKINDEX": b"P:x\n", ".PKGINFO": b"x"}),
        index({".PKGINFO": b"pkgname = x", "APKINDEX": b"P:x\n"}, signed=False),
        index({"APKINDEX": b"P:x\n", "usr/APKINDEX": b"P:y\n"}),
    ],
)
def test_what_is_no_index_is_refused(data: bytes) -> None:
    with pytest.raises(BuildError, match="package index"):
        parse_index(data)


@pytest.mark.parametrize(
    "words",
    [b"23 mtime=4000000000\n", b"17 path=APKINDEX\n", b"11 size=0\n", b"22 linkpath=/etc/passwd\n"],
)
def test_nothing_before_the_signed_segment_changes_what_the_index_says(words: bytes) -> None:
    """Who replays an old index can put anything before its signature; apk passes it by."""
    info = tarfile.TarInfo("p")
    info.type, info.size = tarfile.XGLTYPE, len(words)
    before = gzip.compress(info.tobuf(tarfile.USTAR_FORMAT) + words + bytes(-len(words) % 512))
    right = index({"APKINDEX": b"P:x\nt:5\n"})
    assert parse_index(before + right) == parse_index(right)


def test_an_index_of_chained_long_names_is_refused() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 2
    tar = (info.tobuf(tarfile.GNU_FORMAT) + b"a\0".ljust(512, b"\0")) * 3000
    with pytest.raises(BuildError, match="package index"):
        parse_index(gzip.compress(tar))


def test_an_index_that_is_a_symlink_is_refused() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("APKINDEX")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/shadow"
        archive.addfile(info)
    with pytest.raises(BuildError, match="is not a package index"):
        parse_index(out.getvalue())


def test_a_package_is_locked_as_the_index_has_it() -> None:
    locked = locked_package(STANZA, REPOSITORY, "x86_64")
    assert (locked.name, locked.version, locked.architecture, locked.size) == (
        "busybox",
        "1.36.1-r29",
        "x86_64",
        504534,
    )
    assert locked.url == f"{REPOSITORY}/x86_64/busybox-1.36.1-r29.apk"
    assert locked.file == "busybox-1.36.1-r29.apk"
    assert locked.checksum == "q1:a8a719fa3db7c6cb005e681086438ef1d1e76d6c"
    assert checksum_field(locked.checksum) == STANZA["C"]


def test_a_package_for_all_architectures_is_below_the_one_that_was_asked_for() -> None:
    locked = locked_package({**STANZA, "A": "noarch"}, REPOSITORY, "aarch64")
    assert (locked.architecture, locked.url) == ("noarch", f"{REPOSITORY}/aarch64/busybox-1.36.1-r29.apk")


@pytest.mark.parametrize(
    ("letter", "value"),
    [
        ("P", "../busybox"),
        ("P", "-busybox"),
        ("P", "bus/ybox"),
        ("P", ""),
        ("V", "1/../../x"),
        ("V", "r1"),
        ("A", "x86_64/.."),
        ("S", "-1"),
        ("S", "many"),
        ("C", ""),
        ("C", "Q1AAAA"),
        ("C", "Q2qKcZ+j23xssAXmgQhkOO8dHnbWw="),
        ("C", "Q1qKcZ+j23xssAXmgQhkOO8d\tHnbWw="),
    ],
)
def test_a_field_of_another_form_is_refused(letter: str, value: str) -> None:
    with pytest.raises(BuildError):
        locked_package({**STANZA, letter: value}, REPOSITORY, "x86_64")


@pytest.mark.parametrize(
    ("line", "change"),
    [
        (b"(1/5) Installing musl (1.2.5-r0)", Change(1, 5, "Installing", "musl", "1.2.5-r0")),
        (b"( 2/15) Upgrading zlib (1.3-r0 -> 1.3.1-r1)", Change(2, 15, "Upgrading", "zlib", "1.3.1-r1")),
        (b"(3/3) Purging so:x (1)", None),
        (b"(3/3) Purging libx++ (1_alpha2-r0)\r", Change(3, 3, "Purging", "libx++", "1_alpha2-r0")),
        (b"(1/1) Installing x (1.0_git20240101~abc-r0)", Change(1, 1, "Installing", "x", "1.0_git20240101~abc-r0")),
        (b"Executing busybox-1.36.1-r29.trigger", None),
        (b"(1/1) Installing ../x (1)", None),
        (b"(1/1) Installing x (1) and more", None),
        (b"x (1/1) Installing x (1)", None),
        (b"OK: 8 MiB in 15 packages", None),
    ],
)
def test_only_lines_of_the_exact_form_are_changes(line: bytes, change: Change | None) -> None:
    assert parse_change(line) == change


def test_installed_packages_are_told_by_name_with_source_and_license() -> None:
    database = as_database([STANZA, {"P": "a", "V": "1", "A": "noarch"}]) + b"F:bin\nR:busybox\na:0:0:755\n"
    found = parse_installed(database)
    assert [(package.name, package.version, package.architecture) for package in found] == [
        ("a", "1", "noarch"),
        ("busybox", "1.36.1-r29", "x86_64"),
    ]
    assert (found[1].source, found[1].license) == ("busybox", "GPL-2.0-only")
    assert parse_installed(b"") == ()


@pytest.mark.parametrize(
    ("new", "known", "older"),
    [
        ((10, 5), (11, 5), True),
        ((11, 1), (10, 5), False),  # the newest package was withdrawn
        ((10, 4), (10, 5), True),  # made in the same second
        ((10, 5), (10, 5), False),
        ((0, 4), (0, 5), True),
        ((0, 6), (0, 5), False),
        ((0, 4), (10, 5), True),
        ((0, 5), (10, 5), False),
    ],
)
def test_an_index_is_older_by_when_it_was_made_else_by_its_newest_package(
    new: tuple[int, int], known: tuple[int, int], older: bool
) -> None:
    first, second = (Index(made, ({"P": "x", "t": str(built)},)) for made, built in (new, known))
    assert is_older(first, second) is older


@pytest.mark.parametrize(
    ("osbase", "url", "packages", "foreign"),
    [
        ("alpine/3.24", "https://x.invalid/alpine/v3.24/testing", {}, None),
        ("alpine/3.24", "https://x.invalid/packages", {"alpine-release": "3.24.1-r0"}, None),
        ("alpine/3.24", "https://x.invalid/alpine/v3.23/testing", {}, "Alpine v3.23"),
        ("alpine/3.24", "https://x.invalid/alpine/edge/testing", {}, "Alpine edge"),
        ("alpine/edge", "https://x.invalid/alpine/v3.24/main", {}, "Alpine v3.24"),
        ("alpine/edge", "https://x.invalid/alpine/edge/testing", {"alpine-base": "3.25.0_alpha20260805-r0"}, None),
        ("alpine/3.24", "https://x.invalid/p", {"alpine-base": "3.25.0_alpha20260805-r0"}, "Alpine edge"),
        ("alpine/3.2", "https://x.invalid/p", {"alpine-release": "3.24.1-r0"}, "Alpine v3.24"),
        ("alpine/edge", "https://x.invalid/p", {"alpine-release": "3.24.1-r0"}, "Alpine v3.24"),
        ("alpine/3.24", "https://x.invalid/own/v25.06", {}, None),  # numbers of its own
        ("alpine/3.24", "https://edge.invalid/p", {}, None),
    ],
)
def test_a_repository_of_another_release_is_known_by_url_and_packages(
    osbase: str, url: str, packages: dict[str, str], foreign: str | None
) -> None:
    stanzas = tuple({"P": name, "V": version} for name, version in packages.items())
    assert foreign_release(osbase, url, Index(0, stanzas)) == foreign


def test_a_source_is_one_repository_for_each_component() -> None:
    assert repository_urls("https://m.invalid/alpine/", "v3.24", ("main", "community")) == (
        "https://m.invalid/alpine/v3.24/main",
        "https://m.invalid/alpine/v3.24/community",
    )
    assert repository_urls("file:///srv/own", "packages/x", ()) == ("file:///srv/own/packages/x",)


def test_the_indexes_of_two_repositories_have_two_names_that_are_file_names() -> None:
    urls = ["https://m.invalid/a/b/x", "https://m.invalid/a_b/x", "file:///", "https://m.invalid/" + "x/" * 200]
    names = [index_name(url) for url in urls]
    assert len(set(names)) == len(urls)
    assert all("/" not in name and not name.startswith(".") and len(name) < 200 for name in names)


def test_an_architecture_without_alpine_is_unsupported() -> None:
    assert alpine_architecture("armv7l") == "armv7"
    with pytest.raises(Unsupported, match="no Alpine for the architecture 'pdp11'"):
        alpine_architecture("pdp11")
