# SPDX-License-Identifier: AGPL-3.0-or-later
"""Debian's apt and dpkg as an engine: the half that makes trees. The half that gets packages is `apt_fetch`.

Base tree: the files of the essential packages and apt are unpacked by the host's dpkg-deb and tar, because nothing of
the tree can run before; then the tree's own dpkg, in the build container, installs the same packages properly. Image:
the tree's own apt-get installs from the files. Neither has network.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftos.errors import BuildError
from ftos.host.trees import read_beneath
from ftos.image.engines import Fetcher, FetchRequest
from ftos.image.engines.apt_fetch import AptFetcher
from ftos.image.engines.apt_text import debian_architecture, merged_directories, parse_installed, parse_status
from ftos.image.manifest import InstalledPackage, LockedPackage
from ftos.image.online import ENVIRONMENT
from ftos.image.tree import Leftovers
from ftos.image.workshop import PACKAGES, Workshop
from ftos.plan.containers import host_bind

_INSTALL_ENVIRONMENT = {
    "DEBCONF_NONINTERACTIVE_SEEN": "true",
    "DEBIAN_FRONTEND": "noninteractive",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
    "PATH": ENVIRONMENT["PATH"],
    # Dates that programs write into files (shadow(5)): the same ones in every build.
    "SOURCE_DATE_EPOCH": "86400",
}
_STATUS = "var/lib/dpkg/status"
_STATUS_LIMIT = 64 << 20

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

    def fetcher(self, workshop: Workshop, request: FetchRequest) -> Fetcher:
        return AptFetcher(workshop, request)

    def bootstrap(self, workshop: Workshop, packages: Sequence[LockedPackage], architecture: str) -> None:
        workshop.stage("unpack the base tree")
        count = _Counter(workshop, len(packages))
        workshop.with_tools(
            "unpacking of the base tree",
            ["/bin/sh", "-c", _UNPACK, "sh", " ".join(merged_directories(debian_architecture(architecture)))],
            [workshop.target_bind("/ftos/target"), host_bind(workshop.packages, "/ftos/packages")],
            ENVIRONMENT,
            count.unpacked,
        )
        workshop.stage("install the base tree")
        self._inside(workshop, "installation of the base tree", _CONFIGURE, [workshop.empty], len(packages))

    def install(self, workshop: Workshop, packages: Sequence[LockedPackage], layers: Sequence[Path]) -> None:
        workshop.stage("install the packages")
        if packages:
            self._inside(workshop, "installation of the packages", _INSTALL, layers, len(packages))

    def _inside(self, workshop: Workshop, step: str, script: str, layers: Sequence[Path], total: int) -> None:
        count = _Counter(workshop, total)
        workshop.inside(step, ["/bin/sh", "-c", script], layers, _INSTALL_ENVIRONMENT, count.installed)

    def database(self, tree: int) -> bytes:
        data = read_beneath(tree, _STATUS, _STATUS_LIMIT)
        if data is None:
            raise BuildError(f"the tree has no /{_STATUS}")
        return data

    def installed(self, database: bytes) -> tuple[InstalledPackage, ...]:
        return parse_status(database.decode(errors="replace"))


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
