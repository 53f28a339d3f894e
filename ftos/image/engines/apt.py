# SPDX-License-Identifier: AGPL-3.0-or-later
"""Debian's apt and dpkg as an engine.

Fetch: the host's apt-get, as an unprivileged process in a container that has network and none of the host's files, with
a configuration of its own. It verifies indexes by the osbase's keys and says which files are needed, with their hashes;
root takes the files out of the container's directory and checks the hashes itself.

Base tree: the files of the essential packages and apt are unpacked by the host's dpkg-deb and tar, because nothing of
the tree can run before; then the tree's own dpkg, in the build container, installs the same packages properly. Image:
the tree's own apt-get installs from the files. Neither has network.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ftos.errors import BuildError, quote
from ftos.host.trees import OPEN_DIRECTORY, copy_verified, directory, directory_beneath, read_beneath
from ftos.image.engines import FetchRequest
from ftos.image.engines.apt_text import (
    CONFIG,
    FETCH,
    apt_configuration,
    debian_architecture,
    local_directory,
    merged_directories,
    parse_date,
    parse_get,
    parse_installed,
    parse_status,
    parse_uri,
    source_line,
    transport_settings,
)
from ftos.image.packages import LockedPackage, PackageCache, PackageLock
from ftos.image.store import InstalledPackage
from ftos.image.tree import Leftovers
from ftos.image.workshop import PACKAGES, Workshop
from ftos.plan.containers import foreign_bind, host_bind
from ftos.plan.records import FOREIGN_BASE, Mount, MountFlag

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_FETCH_ENVIRONMENT = {"APT_CONFIG": f"{CONFIG}/apt.conf", "HOME": "/", "LC_ALL": "C.UTF-8", "PATH": _PATH}
_INSTALL_ENVIRONMENT = {
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PATH": _PATH,
    # Dates that programs write into files (shadow(5)): the same ones in every build.
    "SOURCE_DATE_EPOCH": "86400",
}
_NAME_SERVICE = ("gai.conf", "hosts", "nsswitch.conf", "resolv.conf", "services")
_STATUS = "var/lib/dpkg/status"
_STATUS_LIMIT = 64 << 20
_INDEX_LIMIT = 16 << 20
_DOWNLOADER = "/usr/lib/apt/apt-helper"
_NO_INDEXES = {"auxfiles", "lock", "partial"}
_INDEX = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._:@%+~-]{0,250}")

_UNPACK = """
set -eu
cd /ftos/target
mkdir -p usr
for name in $1; do
    mkdir -p "usr/$name"
    ln -s "usr/$name" "$name"
done
for file in /ftos/packages/*.deb; do
    echo "unpack: $file"
    dpkg-deb --fsys-tarfile "$file" | tar -x --keep-directory-symlink -f -
done
mkdir -p var/lib/dpkg/info var/lib/dpkg/updates
touch var/lib/dpkg/status var/lib/dpkg/available
# Nothing that a package installs here may start a service, and nobody will ask again once the tree is an image.
printf '#!/bin/sh\\nexit 101\\n' > usr/sbin/policy-rc.d
chmod 755 usr/sbin/policy-rc.d
"""
# Not 1: dpkg closes its status descriptor for the scripts that it runs, and they want a standard output.
_DPKG = "--force-unsafe-io", "--force-confdef", "--force-confold", "--status-fd=3"
_CONFIGURE = f"exec dpkg {' '.join(_DPKG)} --force-depends --install {PACKAGES}/*.deb 3>&1"
_INSTALL = (
    "exec apt-get install -y -q --no-install-recommends"
    " -o APT::Sandbox::User=root -o Acquire::Languages=none -o Dpkg::Use-Pty=false -o APT::Keep-Fds::=3"
    " -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/dev/null"
    f" -o APT::Keep-Fds::=3 {' '.join(f'-o Dpkg::Options::={option}' for option in _DPKG)} {PACKAGES}/*.deb 3>&1"
)


class Apt:
    leftovers = Leftovers(
        files=(
            *(f"etc/{name}-" for name in ("group", "gshadow", "passwd", "shadow", "subgid", "subuid")),
            "etc/.pwd.lock",
            *(f"var/cache/debconf/{name}.dat-old" for name in ("config", "passwords", "templates")),
            "var/cache/ldconfig/aux-cache",
            *(f"var/lib/dpkg/{name}" for name in ("lock", "lock-frontend", "triggers/Lock")),
            *(f"var/lib/dpkg/{name}-old" for name in ("available", "diversions", "statoverride", "status")),
        ),
        logs=("var/cache/apt", "var/lib/apt/lists", "var/log"),
    )

    # --- fetch ---

    def fetch(self, workshop: Workshop, cache: PackageCache, request: FetchRequest) -> PackageLock:
        self._configure(workshop, request)
        workshop.stage("refresh the package indexes")
        binds = self._fetch_binds(workshop, request)
        self._apt(workshop, "fetch of the package indexes", ["apt-get", "update", "-q"], binds, network=True)
        with directory(workshop.fetch) as fetched, directory_beneath(fetched, "lists") as lists:
            indexes = keep_indexes(lists, request.indexes)
        workshop.stage("find the packages that are needed")
        packages = self._resolve(workshop, request, binds)
        self._download(workshop, cache, packages, binds)
        return PackageLock(base=request.base, packages=packages, indexes=indexes)

    def _configure(self, workshop: Workshop, request: FetchRequest) -> None:
        """Fill the directory that the container may read, and give it the indexes of the last time."""
        config, fetch = workshop.config, workshop.fetch
        architecture = debian_architecture(request.architecture)
        (config / "none").mkdir()
        (config / "keys").mkdir()
        for name, content in request.keys.items():
            (config / "keys" / name).write_bytes(content)
        (config / "apt.conf").write_text(apt_configuration(architecture, _host_transport()))
        lines = [source_line(source.url, source.suite, source.components, source.keys) for source in request.sources]
        (config / "sources.list").write_text("".join(line + "\n" for line in lines))
        (config / "status").write_bytes(_status_of(request.base_tree))
        for name in ("archives", "archives/partial", "lists", "lists/partial"):
            workshop.make_foreign(fetch / name)
        for index in request.indexes.iterdir():
            shutil.copy2(index, fetch / "lists" / index.name)
            os.chown(fetch / "lists" / index.name, FOREIGN_BASE, FOREIGN_BASE)

    def _fetch_binds(self, workshop: Workshop, request: FetchRequest) -> list[Mount]:
        optional = MountFlag.FILE | MountFlag.OPTIONAL
        local = {source.url for source in request.sources if source.url.startswith("file:///")}
        return [
            host_bind(workshop.config, CONFIG),
            foreign_bind(workshop.fetch, FETCH, read_only=False),
            *(host_bind(Path("/etc", name), f"/etc/{name}", optional) for name in _NAME_SERVICE),
            *(host_bind(Path(url.removeprefix("file://")), local_directory(url)) for url in sorted(local)),
        ]

    def _apt(
        self,
        workshop: Workshop,
        step: str,
        command: list[str],
        binds: list[Mount],
        is_progress: Callable[[bytes], bool] = lambda line: False,
        network: bool = False,
    ) -> None:
        workshop.with_tools(step, command, binds, _FETCH_ENVIRONMENT, is_progress, network)

    def _resolve(self, workshop: Workshop, request: FetchRequest, binds: list[Mount]) -> tuple[LockedPackage, ...]:
        found: dict[str, LockedPackage] = {}

        def take(line: bytes) -> bool:
            package = parse_uri(line)
            if package is not None:
                found[package.file] = package
            return package is not None

        essential = ["?essential", "apt"] if request.base_tree is None else []
        command = ["apt-get", "install", "-y", "-qq", "--print-uris", "--", *essential, *request.packages]
        if len(command) > 6:
            self._apt(workshop, "choice of the packages", command, binds, take)
        return tuple(sorted(found.values(), key=lambda package: package.file))

    def _download(
        self, workshop: Workshop, cache: PackageCache, packages: Sequence[LockedPackage], binds: list[Mount]
    ) -> None:
        missing = cache.missing(packages)
        workshop.stage(f"download {len(missing)} of {len(packages)} packages")
        if not missing:
            return

        def count(line: bytes) -> bool:
            got = parse_get(line)
            if got is not None:
                workshop.progress.update(min(got[0] - 1, len(missing)), len(missing), got[1])
            return got is not None

        triples = ((package.url, f"{FETCH}/archives/{package.file}", f"SHA256:{package.sha256}") for package in missing)
        command = [_DOWNLOADER, "download-file", *(word for triple in triples for word in triple)]
        self._apt(workshop, "download of the packages", command, binds, count, network=True)
        with directory(workshop.fetch) as fetch, directory_beneath(fetch, "archives") as archives:
            for package in missing:
                cache.add(archives, package)
        workshop.progress.update(len(missing), len(missing), "")

    # --- install ---

    def bootstrap(self, workshop: Workshop, lock: PackageLock, architecture: str) -> None:
        workshop.stage("unpack the base tree")
        count = _Counter(workshop, len(lock.packages))
        workshop.with_tools(
            "unpacking of the base tree",
            ["/bin/sh", "-c", _UNPACK, "sh", " ".join(merged_directories(debian_architecture(architecture)))],
            [workshop.target_bind("/ftos/target"), host_bind(workshop.packages, "/ftos/packages")],
            _FETCH_ENVIRONMENT,
            count.unpacked,
        )
        workshop.stage("install the base tree")
        self._inside(workshop, "installation of the base tree", _CONFIGURE, [workshop.empty], len(lock.packages))

    def install(self, workshop: Workshop, lock: PackageLock, layers: Sequence[Path]) -> None:
        workshop.stage("install the packages")
        if lock.packages:
            self._inside(workshop, "installation of the packages", _INSTALL, layers, len(lock.packages))

    def _inside(self, workshop: Workshop, step: str, script: str, layers: Sequence[Path], total: int) -> None:
        count = _Counter(workshop, total)
        workshop.inside(step, ["/bin/sh", "-c", script], layers, _INSTALL_ENVIRONMENT, count.installed)

    def installed(self, tree: int) -> tuple[InstalledPackage, ...]:
        data = read_beneath(tree, _STATUS, _STATUS_LIMIT)
        return parse_status((data or b"").decode(errors="replace"))


def keep_indexes(lists: int, known: Path) -> dict[str, str]:
    """Take the indexes of the directory fd `lists`, which the fetching container wrote, into the directory `known`;
    the SHA-256 of each signed one.

    Raises BuildError, and takes none, when a signed one is older than the one known: somebody may replay it to bring
    back packages with known holes. (apt keeps the newer one by itself; but apt was in the container.)
    """
    names = sorted({name for name in os.listdir(lists) if _INDEX.fullmatch(name)} - _NO_INDEXES)
    signed = [name for name in names if name.endswith("Release")]
    with directory(known) as before:
        for name in signed:
            old, new = (parse_date(read_beneath(place, name, _INDEX_LIMIT) or b"") for place in (before, lists))
            if old is not None and (new is None or new < old):
                raise BuildError(
                    f"the signed index {quote(name)} is of {new}, and thus older than the one known, of {old}",
                    f"try again later, or another mirror; to take it nonetheless, remove {quote(known / name)}",
                )
    digests = {name: copy_verified(lists, name, known / name) for name in names}
    return {name: digests[name] for name in signed}


class _Counter:
    """Counts packages by the lines that tell of them."""

    def __init__(self, workshop: Workshop, total: int) -> None:
        self._progress = workshop.progress
        self._total = total
        self._done: set[str] = set()

    def unpacked(self, line: bytes) -> bool:
        head, _, file = line.partition(b": ")
        return head == b"unpack" and self._tell(file.decode(errors="replace").rpartition("/")[2].partition("_")[0])

    def installed(self, line: bytes) -> bool:
        name = parse_installed(line)
        return self._tell(name) if name is not None else line.startswith((b"status: ", b"processing: "))

    def _tell(self, name: str) -> bool:
        self._done.add(name)
        self._progress.update(min(len(self._done), self._total), self._total, name)
        return True


def _status_of(base_tree: Path | None) -> bytes:
    """dpkg's list of what is installed in a tree; nothing for none."""
    if base_tree is None:
        return b""
    tree = os.open(base_tree, OPEN_DIRECTORY)
    try:
        data = read_beneath(tree, _STATUS, _STATUS_LIMIT)
    finally:
        os.close(tree)
    if data is None:
        raise BuildError(f"the base tree {quote(base_tree)} has no /{_STATUS}")
    return data


def _host_transport() -> list[str]:
    """How the host's apt reaches mirrors (proxies, certificates); nothing on a host without apt."""
    try:
        done = subprocess.run(
            ["apt-config", "dump"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError:
        return []
    return transport_settings(done.stdout)
