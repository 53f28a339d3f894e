# SPDX-License-Identifier: AGPL-3.0-or-later
"""What apk reads and writes, as text and bytes. Pure: repositories out, indexes, databases and printed lines in.

Indexes are signed, but what a repository's key holder signs is still foreign: it is bounded, and only fields of exactly
the expected form are believed. The same holds for what apk prints, which passes through hostile hands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from ftos.errors import BuildError, Unsupported, quote
from ftos.image.manifest import InstalledPackage, LockedPackage

ARCHITECTURES = {
    "aarch64": "aarch64",
    "armv7l": "armv7",
    "i686": "x86",
    "loongarch64": "loongarch64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
    "x86_64": "x86_64",
}
"""The kernel's word for a machine → Alpine's."""

INDEX = "APKINDEX.tar.gz"
_INDEX_LIMIT = 256 << 20
"""Bytes of an index when it is unpacked; that of `community` has about 10 MiB."""
_SEGMENTS = 8
_RELEASE_PACKAGES = ("alpine-base", "alpine-release")
"""Their version is that of the release."""

_NAME = r"[A-Za-z0-9_][A-Za-z0-9+._-]{0,127}"
_VERSION = r"[0-9][A-Za-z0-9._~-]{0,127}"
_PACKAGE_NAME = re.compile(_NAME)
_PACKAGE_VERSION = re.compile(_VERSION)
_ARCHITECTURE = re.compile(r"[a-z0-9_]{1,31}")
_NUMBER = re.compile(r"[0-9]{1,15}")
_CHANGE = re.compile(
    rf"\( *([0-9]{{1,6}})/([0-9]{{1,6}})\) ([A-Z][a-z]+) ({_NAME}) \((?:{_VERSION} -> )?({_VERSION})\)".encode()
)
_RELEASE = re.compile(r"v[0-9]\.[0-9]+|edge")
_RELEASE_VERSION = re.compile(r"([0-9]+\.[0-9]+)(\.|_|$)")


@dataclass(frozen=True, slots=True)
class Index:
    """What a repository has."""

    made: int
    """When it was made, as it says itself, in seconds since 1970; 0 where it does not."""
    stanzas: tuple[Mapping[str, str], ...]
    """One a package: letter of a field → value (apk-v2(5))."""

    @property
    def newest(self) -> int:
        """When the newest of its packages was built, in seconds since 1970."""
        return max((int(time) for stanza in self.stanzas if _NUMBER.fullmatch(time := stanza.get("t", ""))), default=0)


@dataclass(frozen=True, slots=True)
class Change:
    """One step of a transaction, as apk announces it."""

    number: int
    total: int
    verb: str
    """`Installing`, `Upgrading`, `Purging` ..."""
    name: str
    version: str
    """The one that it will have (that it had, when it is purged)."""


def alpine_architecture(machine: str) -> str:
    """Raises Unsupported for a machine which Alpine does not know."""
    if machine not in ARCHITECTURES:
        raise Unsupported(f"there is no Alpine for the architecture {quote(machine)}")
    return ARCHITECTURES[machine]


def repository_urls(url: str, suite: str, components: Sequence[str]) -> tuple[str, ...]:
    """The repositories of a source: one for each component, or the suite itself."""
    suite_url = f"{url.rstrip('/')}/{suite.strip('/')}"
    return tuple(f"{suite_url}/{component}" for component in components) or (suite_url,)


def index_name(url: str) -> str:
    """File name of the index at `url` among all indexes: readable, and never that of another one."""
    readable = re.sub(r"[^A-Za-z0-9.-]+", "_", url.partition("://")[2])[-120:].strip("._-")
    return f"{readable}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def parse_index(data: bytes) -> Index:
    """The content of an APKINDEX.tar.gz whose signature has been checked.

    It has segments with signatures, which nobody looks into since nothing vouches for them, then one with the index and
    perhaps a description: a signed package is never taken for an index. Raises BuildError for what is no index of this
    form.
    """
    try:
        with tarfile.open(fileobj=io.BytesIO(_last_segment(data)), mode="r:") as archive:
            members = archive.getmembers()
            if not all(member.isreg() and member.name in ("APKINDEX", "DESCRIPTION") for member in members):
                raise BuildError("the signed file is not a package index")
            member = archive.getmember("APKINDEX")
            file = archive.extractfile(member)
            text = file.read().decode(errors="replace") if file is not None else ""
    except (tarfile.TarError, KeyError, ValueError, RecursionError) as error:
        raise BuildError(f"the package index can't be read: {quote(error)}") from error
    return Index(int(member.mtime), tuple(_stanzas(text)))


def _last_segment(data: bytes) -> bytes:
    """The last member of a gzip file, unpacked. Raises ValueError."""
    content = b""
    for _ in range(_SEGMENTS):
        member = zlib.decompressobj(wbits=31)
        try:
            content = member.decompress(data, _INDEX_LIMIT + 1)
        except zlib.error as error:
            raise ValueError(str(error)) from error
        if len(content) > _INDEX_LIMIT:
            raise ValueError(f"more than {_INDEX_LIMIT} bytes")
        if not member.eof:
            raise ValueError("it ends too early")
        data = member.unused_data
        if not data:
            return content
    raise ValueError(f"more than {_SEGMENTS} segments")


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """Paragraphs of `X:value` lines. A database also has lines on files, of which the last is left; nobody asks."""
    for paragraph in text.split("\n\n"):
        fields = {line[0]: line[2:] for line in paragraph.split("\n") if line[1:2] == ":"}
        if fields:
            yield fields


def is_older(new: Index, known: Index) -> bool:
    """Whether `new` is from before `known`: somebody may replay it to bring back packages with known holes.

    apk writes (into what is signed) when it made an index. Some versions of it, and other tools, do not; then the build
    time of the newest package tells. That can go back when a repository withdraws its newest package, which is rare;
    the other way round it never lets an older index pass that would bring back what a newer package has mended.
    """
    if new.made and known.made and new.made != known.made:
        return new.made < known.made
    return new.newest < known.newest


def foreign_release(osbase: str, url: str, index: Index) -> str | None:
    """What an extra repository belongs to, by its URL and by what it has, when that is not `osbase`; else None."""
    own = _release(osbase.partition("/")[2])
    for part in urlsplit(url).path.split("/"):
        if _RELEASE.fullmatch(part) and part != own:
            return f"Alpine {part}"
    for stanza in index.stanzas:
        if stanza.get("P") in _RELEASE_PACKAGES:
            found = _release_of(stanza.get("V", ""))
            if found != own:
                return f"Alpine {found}"
    return None


def _release(name: str) -> str:
    """`3.24` of an osbase → `v3.24`, as in URLs."""
    return name if name == "edge" else f"v{name}"


def _release_of(version: str) -> str:
    """`3.24.1-r0` → `v3.24`; edge has versions as `3.25.0_alpha20260805-r0`."""
    if "_alpha" in version:
        return "edge"
    match = _RELEASE_VERSION.match(version)
    return f"v{match[1]}" if match else quote(version)


def locked_package(stanza: Mapping[str, str], repository: str, architecture: str) -> LockedPackage:
    """The package of an index's stanza, which is at the URL `repository`, below Alpine's `architecture`.

    Raises BuildError when a field is missing or has not the expected form.
    """
    name, version, built_for, size = (stanza.get(key, "") for key in "PVAS")
    if not (
        _PACKAGE_NAME.fullmatch(name)
        and _PACKAGE_VERSION.fullmatch(version)
        and _ARCHITECTURE.fullmatch(built_for)
        and _NUMBER.fullmatch(size)
    ):
        raise BuildError(f"the index of {quote(repository)} describes {quote(name)} in a form that is not understood")
    file = f"{name}-{version}.apk"
    return LockedPackage(
        name=name,
        version=version,
        architecture=built_for,
        file=file,
        size=int(size),
        checksum=_checksum(stanza.get("C", ""), name),
        url=f"{repository}/{architecture}/{file}",
    )


def _checksum(written: str, name: str) -> str:
    """`Q1` and SHA-1 in base64 → `q1:HEX`."""
    try:
        digest = base64.b64decode(written[2:], validate=True)
    except binascii.Error:
        digest = b""
    if not written.startswith("Q1") or len(digest) != hashlib.sha1(usedforsecurity=False).digest_size:
        raise BuildError(f"the index has no checksum of {quote(name)} that this version of FlyingTux understands")
    return f"q1:{digest.hex()}"


def checksum_field(checksum: str) -> str:
    """`q1:HEX` → as an index has it."""
    return "Q1" + base64.b64encode(bytes.fromhex(checksum.removeprefix("q1:"))).decode()


def as_database(stanzas: Iterable[Mapping[str, str]]) -> bytes:
    """A database of installed packages, without their files."""
    paragraphs = ("".join(f"{key}:{value}\n" for key, value in stanza.items()) for stanza in stanzas)
    return "\n".join([*paragraphs, ""]).encode()


def parse_change(line: bytes) -> Change | None:
    """`(1/5) Installing musl (1.2.5-r0)`, `(2/5) Upgrading zlib (1.3-r0 -> 1.3.1-r1)`; None for any other line."""
    match = _CHANGE.fullmatch(line.rstrip())
    if match is None:
        return None
    number, total, verb, name, version = (group.decode("ascii") for group in match.groups())
    return Change(int(number), int(total), verb, name, version)


def parse_installed(database: bytes) -> tuple[InstalledPackage, ...]:
    """The packages of a database, by name."""
    found = (
        InstalledPackage.cut(
            name=stanza["P"],
            version=stanza.get("V", ""),
            architecture=stanza.get("A", ""),
            source=stanza.get("o", ""),
            license=stanza.get("L", ""),
        )
        for stanza in _stanzas(database.decode(errors="replace"))
        if "P" in stanza
    )
    return tuple(sorted(found, key=lambda package: (package.name, package.architecture)))
