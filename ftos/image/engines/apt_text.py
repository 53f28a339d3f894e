# SPDX-License-Identifier: AGPL-3.0-or-later
"""What apt and dpkg read and write, as text. Pure: configuration and sources out, what they print in.

What they print passes through hostile hands, so only lines of exactly the expected form are believed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ftos.errors import Unsupported, quote
from ftos.image.manifest import InstalledPackage, LockedPackage
from ftos.image.online import CONFIG, FETCH, local_directory

ARCHITECTURES = {
    "aarch64": "arm64",
    "armv7l": "armhf",
    "i686": "i386",
    "ppc64le": "ppc64el",
    "riscv64": "riscv64",
    "x86_64": "amd64",
}
"""The kernel's word for a machine → Debian's."""

MERGED_DIRECTORIES = {
    "amd64": ("bin", "lib", "lib32", "lib64", "libx32", "sbin"),
    "ppc64el": ("bin", "lib", "lib64", "sbin"),
}
"""Directories of the root that are symlinks into /usr; `_MERGED` elsewhere."""
_MERGED = ("bin", "lib", "sbin")

_URI = re.compile(
    rb"'(?P<url>[^'\s]+)' "
    rb"(?P<file>(?P<name>[a-z0-9][a-z0-9+.-]+)_(?P<version>[A-Za-z0-9.+~%-]+)_(?P<arch>[a-z0-9-]+)\.deb)"
    rb" (?P<size>[0-9]{1,15}) SHA256:(?P<sha256>[0-9a-f]{64})"
)
_INSTALLED = re.compile(rb"status: ([a-z0-9][a-z0-9+.-]+)(?::[a-z0-9-]+)? ?: installed")
DISTROS = {
    "debian": "buster bullseye bookworm trixie forky duke sid experimental",
    "devuan": "beowulf chimaera daedalus excalibur freia ceres",
    "kali": "kali",
    "raspbian": "",
    "ubuntu": "bionic focal jammy noble plucky questing resolute",
}
"""What a repository calls its distro (`Origin:`), in lower case → the names of its releases."""
_DATE = re.compile(rb"^Date: ([A-Za-z0-9,:+ -]{10,60})$", re.MULTILINE)
_GET = re.compile(rb"Get:([0-9]{1,9}) \S+/([a-z0-9][a-z0-9+.-]+)_[^\s/]+\.deb ")
_TRANSPORT = re.compile(r'Acquire::(?:https?|ftp)::(?!Proxy-Auto-Detect)[A-Za-z0-9:.*-]+ "[^"\x00-\x1f]*";')


def debian_architecture(machine: str) -> str:
    """Raises Unsupported for a machine which Debian does not know."""
    if machine not in ARCHITECTURES:
        raise Unsupported(f"there is no Debian for the architecture {quote(machine)}")
    return ARCHITECTURES[machine]


def merged_directories(architecture: str) -> tuple[str, ...]:
    return MERGED_DIRECTORIES.get(architecture, _MERGED)


def apt_configuration(architecture: str, transport: Iterable[str]) -> str:
    """apt.conf of a fetch: every directory its own, nothing of the host's but `transport` (proxies and the like)."""
    return "\n".join(
        [
            f'APT::Architecture "{architecture}";',
            f'APT::Architectures {{ "{architecture}"; }};',
            'APT::Install-Recommends "false";',
            # The container is the sandbox: its root is nobody outside.
            'APT::Sandbox::User "root";',
            'APT::Update::Error-Mode "any";',
            'Acquire::AllowInsecureRepositories "false";',
            'Acquire::ForceHash "SHA256";',
            'Acquire::GzipIndexes "true";',
            'Acquire::Languages "none";',
            'Acquire::Retries "2";',
            f'Dir "{FETCH}";',
            f'Dir::Cache "{FETCH}";',
            f'Dir::Cache::archives "{FETCH}/archives";',
            f'Dir::Etc "{CONFIG}";',
            f'Dir::Etc::main "{CONFIG}/none/main";',
            f'Dir::Etc::sourcelist "{CONFIG}/sources.list";',
            *(f'Dir::Etc::{part}parts "{CONFIG}/none";' for part in ("", "netrc", "preferences", "source", "trusted")),
            f'Dir::Log "{FETCH}";',
            f'Dir::State "{FETCH}";',
            f'Dir::State::lists "{FETCH}/lists";',
            f'Dir::State::status "{CONFIG}/status";',
            *transport,
            "",
        ]
    )


def transport_settings(dump: str) -> list[str]:
    """The lines of the host's `apt-config dump` that say how to reach a mirror."""
    return [line for line in dump.splitlines() if _TRANSPORT.fullmatch(line)]


def source_line(url: str, suite: str, components: Sequence[str], keys: Iterable[str]) -> str:
    """One line of sources.list. Of a local directory, copies are made, as of any other."""
    signed_by = ",".join(f"{CONFIG}/keys/{key}" for key in keys)
    url = "copy:" + local_directory(url) if url.startswith("file:///") else url
    return " ".join([f"deb [signed-by={signed_by}] {url} {suite}", *components])


def parse_uri(line: bytes) -> LockedPackage | None:
    """A line of `apt-get --print-uris install`; None for any other line."""
    match = _URI.fullmatch(line)
    if match is None:
        return None
    text = {key: value.decode("ascii", "replace") for key, value in match.groupdict().items()}
    return LockedPackage(
        name=text["name"],
        version=text["version"].replace("%3a", ":"),
        architecture=text["arch"],
        file=text["file"],
        size=int(text["size"]),
        checksum="sha256:" + text["sha256"],
        url=text["url"],
    )


def parse_get(line: bytes) -> tuple[int, str] | None:
    """`Get:3 URL/name_1.2_all.deb [...]`: the number of the download and the package's name."""
    match = _GET.match(line)
    return (int(match[1]), match[2].decode("ascii", "replace")) if match else None


def parse_installed(line: bytes) -> str | None:
    """The package that dpkg's status line reports as installed; None for any other line."""
    match = _INSTALLED.fullmatch(line.rstrip())
    return match[1].decode("ascii", "replace") if match else None


@dataclass(frozen=True, slots=True)
class Release:
    """What a signed Release file says of its repository."""

    url: str
    suite: str
    """As the source names it."""
    origin: str
    codename: str

    def is_of(self, url: str, suite: str) -> bool:
        """Whether it is the one of a source."""
        url = "copy:" + local_directory(url) if url.startswith("file:///") else url
        return self.url.rstrip("/") == url.rstrip("/") and self.suite == suite


def parse_release(line: bytes) -> Release | None:
    """A line `URL|suite|origin|codename|...` of `apt-get indextargets`; None for any other line."""
    fields = line.decode(errors="replace").split("|")
    return Release(*fields[:4]) if len(fields) == 5 else None


def foreign_release(osbase: str, release: Release) -> str | None:
    """What a repository belongs to, if that is not the distro and release of `osbase`; None when it may fit.

    Debian's own must be of this very release. Somebody else's may call itself as it likes, but not by the name of
    another release of Debian or of a distro derived from it.
    """
    distro, _, own = osbase.partition("/")
    origin = release.origin.lower()
    if origin in DISTROS and origin != distro:
        return f"{release.origin} {release.codename}".rstrip()
    names = {release.codename.partition("-")[0].partition("/")[0], release.suite.partition("-")[0].partition("/")[0]}
    known = {name: who for who, releases in DISTROS.items() for name in releases.split()}
    for name in sorted(names - {own}):
        if name in known:
            return f"{known[name].capitalize()} {name}"
    if origin == distro and own not in names:
        return f"{release.origin} {release.codename}"
    return None


def as_status(stanzas: bytes) -> bytes:
    """Stanzas of a package index as dpkg's list of installed packages; each package once, the first of it."""
    found: dict[tuple[bytes, bytes], bytes] = {}
    for stanza in stanzas.strip().split(b"\n\n"):
        fields = dict(line.split(b": ", 1) for line in stanza.split(b"\n") if b": " in line and line[:1] not in b" \t")
        key = fields.get(b"Package", b""), fields.get(b"Architecture", b"")
        if key[0]:
            found.setdefault(key, stanza + b"\nStatus: install ok installed\n")
    return b"\n".join(found.values())


def parse_date(release: bytes) -> datetime | None:
    """The moment at which a Release or InRelease file was made; None when it does not say."""
    match = _DATE.search(release)
    if match is None:
        return None
    try:
        date = parsedate_to_datetime(match[1].decode("ascii"))
    except ValueError:
        return None
    return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


def parse_status(text: str) -> tuple[InstalledPackage, ...]:
    """The installed packages of a dpkg status file, by name."""
    found = []
    for paragraph in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith((" ", "\t"))
        )
        if fields.get("Status", "").endswith(" installed"):
            found.append(
                InstalledPackage.cut(
                    name=fields.get("Package", ""),
                    version=fields.get("Version", ""),
                    architecture=fields.get("Architecture", ""),
                    source=fields.get("Source", fields.get("Package", "")).partition(" ")[0],
                )
            )
    return tuple(sorted(found, key=lambda package: (package.name, package.architecture)))
