# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alpine without a mirror: a signed repository of real packages, and places whose osbases come from it.

The release archives of Alpine (FTOS_TEST_ALPINE, or ../shared/alpine beside the checkout) have a working apk and, in
its database, all that the packages in them are made of. So those are packed again, signed with a key of the test's own,
and indexed by the real `apk index`. Packages of the test's own making go into the same repositories.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ftos.host.places import Places
from ftos.image.build import ImageBuilder
from ftos.image.engines import Fetcher
from ftos.image.store import BuiltImage
from ftos.spec.records import Image, Repository
from tests.image.harness import Recorder, builder, describe, image

RELEASE = "3.20"
OSBASE = f"alpine/{RELEASE}"
KEY = "test@test.invalid-1.rsa.pub"
BUILT = 1_730_000_000
"""When the test's own packages were built; all real ones are older."""
_FIELDS = {
    "P": "pkgname", "V": "pkgver", "T": "pkgdesc", "U": "url", "t": "builddate", "m": "maintainer", "I": "size",
    "A": "arch", "o": "origin", "c": "commit", "L": "license", "k": "provider_priority",
}  # fmt: skip
_LISTS = {"D": "depend", "p": "provides", "r": "replaces", "i": "install_if"}


def archive(checkout: Path, architecture: str) -> Path | None:
    """The release archive for `architecture`, if there is one."""
    directory = Path(os.environ.get("FTOS_TEST_ALPINE") or checkout.parent / "shared/alpine")
    return next(iter(sorted(directory.glob(f"alpine-minirootfs-{RELEASE}.*-{architecture}.tar.gz"))), None)


@dataclass(frozen=True)
class AlpinePlaces(Places):
    """Places whose shipped descriptors are those of a test."""

    own: Path = Path()

    @property
    def shipped(self) -> tuple[Path, ...]:
        return (self.own,)


@dataclass
class Package:
    """One package. `files`: path → content, (content, mode), or a tar header of anything else."""

    name: str
    version: str = "1-r0"
    architecture: str = "x86_64"
    files: Mapping[str, bytes | tuple[bytes, int] | tarfile.TarInfo] = field(default_factory=dict)
    depends: tuple[str, ...] = ()
    scripts: Mapping[str, str] = field(default_factory=dict)
    """`post-install`, `trigger` ... → what the shell does."""
    triggers: tuple[str, ...] = ()
    built: int = BUILT

    def pack(self, key: Key) -> bytes:
        data = _data(self._entries())
        lines = [
            f"pkgname = {self.name}",
            f"pkgver = {self.version}",
            "pkgdesc = made by a test",
            "url = https://test.invalid",
            f"builddate = {self.built}",
            "size = 4096",
            f"arch = {self.architecture}",
            f"origin = {self.name}-source",
            "license = MIT",
            *(f"depend = {name}" for name in self.depends),
            *([f"triggers = {' '.join(self.triggers)}"] if self.triggers else []),
        ]
        scripts = {name: f"#!/bin/sh\n{text}\n".encode() for name, text in self.scripts.items()}
        return _package(key, lines, scripts, data)

    def _entries(self) -> Iterable[tuple[tarfile.TarInfo, bytes]]:
        made: set[str] = set()
        for path, content in self.files.items():
            for parent in reversed(Path(path).parents[:-1]):
                if str(parent) not in made:
                    made.add(str(parent))
                    info = tarfile.TarInfo(str(parent))
                    info.type, info.mode = tarfile.DIRTYPE, 0o755
                    yield info, b""
            if isinstance(content, tarfile.TarInfo):
                yield content, b""
                continue
            data, mode = content if isinstance(content, tuple) else (content, 0o644)
            info = tarfile.TarInfo(path)
            info.size, info.mode = len(data), mode
            yield info, data


class Key:
    """A key that signs repositories; `name` is that of the file with its public half."""

    def __init__(self, directory: Path, name: str = KEY) -> None:
        self.name = name
        self._private = str(directory / f"{name}.private")
        subprocess.run(["openssl", "genrsa", "-out", self._private, "2048"], capture_output=True, check=True)
        command = ["openssl", "rsa", "-in", self._private, "-pubout"]
        self.public = subprocess.run(command, capture_output=True, check=True).stdout

    def segment(self, signed: bytes) -> bytes:
        """The signature of `signed`, as it stands before it in a file."""
        command = ["openssl", "dgst", "-sha1", "-sign", self._private]
        signature = subprocess.run(command, input=signed, capture_output=True, check=True).stdout
        info = tarfile.TarInfo(f".SIGN.RSA.{self.name}")
        info.size = len(signature)
        return _gzip(_tar([(info, signature)], end=False))


class Minirootfs:
    """An unpacked release archive: a source of real packages, and of a working apk where it can run."""

    def __init__(self, source: Path, tree: Path) -> None:
        self.source = source
        self.tree = tree
        tree.mkdir(parents=True)
        subprocess.run(["tar", "-xzf", source, "-C", tree], check=True)

    def packages(self, key: Key) -> dict[str, bytes]:
        """File name → file, of all real packages."""
        return dict(self._pack(stanza, key) for stanza in self.stanzas())

    def stanzas(self) -> list[list[tuple[str, str]]]:
        text = (self.tree / "lib/apk/db/installed").read_text()
        return [[(line[0], line[2:]) for line in part.splitlines()] for part in text.split("\n\n") if part.strip()]

    def _pack(self, stanza: list[tuple[str, str]], key: Key) -> tuple[str, bytes]:
        fields = dict(reversed(stanza))
        lines = [f"{_FIELDS[letter]} = {value}" for letter, value in stanza if letter in _FIELDS]
        for letter, value in stanza:
            if letter in _LISTS:
                lines += [f"{_LISTS[letter]} = {word}" for word in value.split()]
        scripts: dict[str, bytes] = {}
        for line in (self.tree / "lib/apk/db/triggers").read_text().splitlines():
            if line.startswith(fields["C"] + " "):
                lines.append(f"triggers = {line.partition(' ')[2]}")
        with tarfile.open(self.tree / "lib/apk/db/scripts.tar") as archived:
            for member in archived:
                identity, _, kind = member.name.removeprefix(f"{fields['P']}-{fields['V']}.").rpartition(".")
                file = archived.extractfile(member)
                if identity == fields["C"] and file is not None:
                    scripts[kind] = file.read()
        return f"{fields['P']}-{fields['V']}.apk", _package(key, lines, scripts, _data(self._files(stanza)))

    def _files(self, stanza: list[tuple[str, str]]) -> Iterable[tuple[tarfile.TarInfo, bytes]]:
        with tarfile.open(fileobj=io.BytesIO(), mode="w") as archived:
            directory = ""
            for letter, value in stanza:
                if letter not in "FR":
                    continue
                path = value if letter == "F" else f"{directory}/{value}".lstrip("/")
                directory = value if letter == "F" else directory
                if letter == "R":
                    info = archived.gettarinfo(self.tree / path, path)
                    yield info, (self.tree / path).read_bytes() if info.isreg() else b""
                elif path:
                    info = tarfile.TarInfo(path)  # the archive has not all of them: no dev/pts
                    info.type, info.mode = tarfile.DIRTYPE, 0o1777 if path in ("tmp", "var/tmp") else 0o755
                    yield info, b""


class AlpineRepository:
    """`directory`/<suite>/<component>/<architecture>/: what a mirror has."""

    def __init__(self, directory: Path, minirootfs: Minirootfs, key: Key) -> None:
        self.directory = directory
        self.key = key
        self.minirootfs = minirootfs

    @property
    def url(self) -> str:
        return f"file://{self.directory}"

    def place(self, component: str = "main", suite: str = f"v{RELEASE}", architecture: str = "x86_64") -> Path:
        place = self.directory / suite / component / architecture
        place.mkdir(parents=True, exist_ok=True)
        return place

    def add(self, place: Path, *packages: Package) -> None:
        for package in packages:
            (place / f"{package.name}-{package.version}.apk").write_bytes(package.pack(self.key))

    def publish(self, place: Path, key: Key | None = None) -> None:
        """Index the packages of `place` by the real apk, and sign the index."""
        (place / "APKINDEX.tar.gz").unlink(missing_ok=True)
        tree = str(self.minirootfs.tree)
        inside = 'mount --bind "$0" "$1/mnt" && exec chroot "$1" /bin/sh -c "$2"'
        index = "cd /mnt && apk index --allow-untrusted --no-warnings -q -o index $(ls | grep apk$)"
        command = ["unshare", "-m", "--propagation", "private", "sh", "-c", inside, str(place), tree, index]
        subprocess.run(command, check=True, capture_output=True)
        made = (place / "index").read_bytes()
        (place / "index").unlink()
        (place / "APKINDEX.tar.gz").write_bytes((key or self.key).segment(made) + made)


def static_package(minirootfs: Minirootfs, key: Key) -> bytes:
    """A package as apk-tools-static: one program, sbin/apk.static, that needs nothing of the host.

    The one here starts the release's own apk by its own loader: all that these need stands beside it.
    """
    files: dict[str, bytes | tuple[bytes, int] | tarfile.TarInfo] = {}
    for name in ("libapk.so.2.14.0", "libcrypto.so.3", "libssl.so.3", "libz.so.1"):
        files[f"lib/{name}"] = ((minirootfs.tree / "lib" / name).read_bytes(), 0o755)
    files["lib/ld-musl-x86_64.so.1"] = ((minirootfs.tree / "lib/ld-musl-x86_64.so.1").read_bytes(), 0o755)
    libc = tarfile.TarInfo("lib/libc.musl-x86_64.so.1")
    libc.type, libc.linkname = tarfile.SYMTYPE, "ld-musl-x86_64.so.1"
    files[libc.name] = libc
    files["sbin/apk.static"] = ((minirootfs.tree / "sbin/apk").read_bytes(), 0o755)
    return Package("apk-tools-static", "2.14.4-r0", files=files).pack(key)


def osbase(shipped: Path, name: str, key: Key, **more: str) -> None:
    """Write an osbase which takes its packages from the mirror of role `alpine`."""
    release = name.partition("/")[2]
    directory = shipped / "osbases" / name
    (directory / "keys").mkdir(parents=True, exist_ok=True)
    (directory / "keys" / key.name).write_bytes(key.public)
    settings = {
        "sources": f"[{{mirror: alpine, suite: v{release}, components: [main, community]}}]",
        "base-packages": "[alpine-keys, busybox, musl-utils]",
        "post-clean": "[/usr/share/man]",
        **more,
    }
    text = f"kind: osbase\nschema: 1\nname: {name}\ntitle: x\nstatus: supported\nengine: apk\nkeys: ['{key.name}']\n"
    (directory / "osbase.yml").write_text(text + "".join(f"{key}: {value}\n" for key, value in settings.items()))


def host(
    places: Places, mirror: str, tool: Path | None, sha256: str | None = None, architecture: str = "x86_64"
) -> None:
    """Write host.yml, with a mirror and the archive that apk comes from."""
    places.etc.mkdir(parents=True, exist_ok=True)
    text = f"kind: host\nschema: 1\narchitecture: {architecture}\nmirrors: {{alpine: '{mirror}'}}\n"
    if tool is not None:
        digest = sha256 or hashlib.sha256(tool.read_bytes()).hexdigest()
        text += f"tools: {{apk: {{archive: {tool}, sha256: '{digest}'}}}}\n"
    (places.etc / "host.yml").write_text(text)


@dataclass(frozen=True)
class Alpine:
    """What all tests share: real packages, indexed and signed. `at` makes a world of one's own out of it."""

    minirootfs: Minirootfs
    key: Key
    pristine: Path

    @classmethod
    def below(cls, top: Path, source: Path) -> Alpine:
        minirootfs, key = Minirootfs(source, top / "minirootfs"), Key(top)
        repository = AlpineRepository(top / "pristine", minirootfs, key)
        for name, content in minirootfs.packages(key).items():
            (repository.place() / name).write_bytes(content)
        repository.publish(repository.place())
        repository.publish(repository.place("community"))
        return cls(minirootfs, key, repository.directory)

    def at(self, top: Path) -> World:
        """A repository, an osbase that takes its packages from it, and places, below the new directory `top`."""
        shutil.copytree(self.pristine, top / "repository", copy_function=_link_package)
        repository = AlpineRepository(top / "repository", self.minirootfs, self.key)
        places = AlpinePlaces(top / "root", own=top / "shipped")
        osbase(places.own, OSBASE, self.key)
        host(places, repository.url, self.minirootfs.source)
        return World(places, repository)


@dataclass
class World:
    places: AlpinePlaces
    repository: AlpineRepository
    progress: Recorder = field(default_factory=Recorder)

    @property
    def builder(self) -> ImageBuilder:
        return builder(self.places, self.progress)

    def offer(self, *packages: Package) -> None:
        """Let the osbase's repositories have more packages."""
        place = self.repository.place("community")
        self.repository.add(place, *packages)
        self.repository.publish(place)

    def build(self, name: str, *packages: str, **more: object) -> BuiltImage:
        return self.builder.ensure(image(name, OSBASE, packages=packages, **more))

    @contextmanager
    def fetcher(self) -> Iterator[Fetcher]:
        """For base trees."""
        making = self.builder
        record = making.catalog.osbase(OSBASE)
        with making.fetcher(record, None, making.recipe(image("any", OSBASE)).base) as fetcher:
            yield fetcher

    def own_repository(self, name: str, key: Key, packages: tuple[Package, ...], suite: str = "own") -> Image:
        """An image with a repository of its own, signed with `key`, out of which it wants all packages."""
        own = AlpineRepository(self.repository.directory.parent / "own", self.repository.minirootfs, key)
        place = own.directory / suite / "x86_64"
        place.mkdir(parents=True, exist_ok=True)
        own.add(place, *packages)
        own.publish(place)
        source = Repository(url=own.url, suite=suite, key=key.name)
        wanted = tuple(package.name for package in packages)
        made = describe(self.places, image(name, OSBASE, packages=wanted, repositories=(source,)))
        (self.places.etc / "images" / key.name).write_bytes(key.public)
        return made


def _link_package(source: str, target: str) -> None:
    """No test writes into a package; but into an index."""
    (os.link if source.endswith(".apk") else shutil.copy)(source, target)


def _package(key: Key, information: list[str], scripts: Mapping[str, bytes], data: bytes) -> bytes:
    information = [*information, f"datahash = {hashlib.sha256(data).hexdigest()}"]
    entries = {".PKGINFO": "\n".join([*information, ""]).encode()}
    entries |= {f".{kind}": text for kind, text in scripts.items()}
    members = []
    for name, content in entries.items():
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = len(content), 0o755, BUILT
        members.append((info, content))
    control = _gzip(_tar(members, end=False))
    return key.segment(control) + control + data


def _data(entries: Iterable[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    return _gzip(_tar(((_checked(info, content), content) for info, content in entries), end=True))


def _checked(info: tarfile.TarInfo, content: bytes) -> tarfile.TarInfo:
    """With the checksum that apk keeps of each file."""
    content = info.linkname.encode() if info.issym() else content
    if info.issym() or info.isreg():
        info.pax_headers = {"APK-TOOLS.checksum.SHA1": hashlib.sha1(content, usedforsecurity=False).hexdigest()}
    return info


def _tar(entries: Iterable[tuple[tarfile.TarInfo, bytes]], *, end: bool) -> bytes:
    """end: with the two empty blocks that end a tar file; segments which others follow have none."""
    out = io.BytesIO()
    for info, content in entries:
        out.write(info.tobuf(tarfile.PAX_FORMAT))
        out.write(content + bytes(-len(content) % 512))
    return out.getvalue() + (bytes(1024) if end else b"")


def _gzip(data: bytes) -> bytes:
    return gzip.compress(data, compresslevel=1, mtime=0)
