# SPDX-License-Identifier: AGPL-3.0-or-later
"""Alpine's apk as an engine. Getting packages is in `ftos.image.engines.apk_fetch`.

Base tree: the host's tar unpacks the files of all packages, because nothing of the tree can run before; then the tree's
own apk, in the build container, installs the same packages properly, with their scripts and triggers. Image: the tree's
own apk adds the package files. Neither has network or repositories, so apk can take nothing but the files.

apk is told to take files of any signature: each is the very one that a signed index names (its checksum was compared),
and the key of an image's own repository must not enter the tree. It still compares the data with its control segment.

A failed script of a package is a failed build. apk goes on after one and only counts it, and it does not even count a
failed trigger; but it marks the package as broken in its database.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ftos.errors import BuildError
from ftos.host.trees import read_beneath, status_beneath
from ftos.image.engines import FetchRequest
from ftos.image.engines.apk_fetch import ApkFetcher
from ftos.image.engines.apk_text import parse_change, parse_installed
from ftos.image.manifest import InstalledPackage, LockedPackage
from ftos.image.online import ENVIRONMENT
from ftos.image.tree import Leftovers
from ftos.image.workshop import PACKAGES, Workshop
from ftos.plan.containers import host_bind

_DATABASES = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_DATABASE_LIMIT = 256 << 20
_INSTALL_ENVIRONMENT = {**ENVIRONMENT, "HOME": "/root"}

_UNPACK = """
set -eu
keep=
if tar --version 2>/dev/null | grep -q GNU; then
    keep='--keep-directory-symlink --warning=no-unknown-keyword'
fi
for file in /ftos/packages/*.apk; do
    echo "unpack: ${file##*/}"
    tar -x -z $keep -f "$file" -C /ftos/target --exclude='.SIGN.*' --exclude=.PKGINFO --exclude=.trigger \
        --exclude='.pre-*' --exclude='.post-*'
done
"""
# The world has names without versions: apk writes the checksum of a file that it was given. busybox writes the day on
# which an account was made into /etc/shadow: the same one in every build.
_ADD = f"""
world=$(cat /etc/apk/world 2>/dev/null)
apk add $1 --no-network --no-cache --no-progress --repositories-file /dev/null --allow-untrusted --clean-protected \
    {PACKAGES}/*.apk || exit
shift
if grep -q '^f:' /lib/apk/db/installed; then
    echo 'a script of a package failed, or its files could not be installed'
    exit 1
fi
printf '%s\\n' $world "$@" | sort -u > /etc/apk/world
[ ! -f /etc/shadow ] || sed -i -E 's/^([^:]*:[^:]*:)[1-9][0-9]*:/\\11:/' /etc/shadow
"""


class Apk:
    leftovers = Leftovers(
        files=(
            *(f"etc/{name}-" for name in ("group", "gshadow", "passwd", "shadow")),
            "lib/apk/db/lock",
            "usr/lib/apk/db/lock",
        ),
        logs=("var/cache/apk", "var/cache/misc", "var/log"),
    )

    def fetcher(self, workshop: Workshop, request: FetchRequest) -> ApkFetcher:
        return ApkFetcher(workshop, request)

    def bootstrap(self, workshop: Workshop, packages: Sequence[LockedPackage], architecture: str) -> None:
        workshop.stage("unpack the base tree")
        count = _Counter(workshop, len(packages))
        workshop.with_tools(
            "unpacking of the base tree",
            ["/bin/sh", "-c", _UNPACK],
            [workshop.target_bind("/ftos/target"), host_bind(workshop.packages, "/ftos/packages")],
            ENVIRONMENT,
            count.unpacked,
        )
        workshop.stage("install the base tree")
        self._add(workshop, "installation of the base tree", packages, [workshop.empty], "--initdb")

    def install(self, workshop: Workshop, packages: Sequence[LockedPackage], layers: Sequence[Path]) -> None:
        workshop.stage("install the packages")
        if packages:
            self._add(workshop, "installation of the packages", packages, layers, "")

    def _add(
        self, workshop: Workshop, step: str, packages: Sequence[LockedPackage], layers: Sequence[Path], option: str
    ) -> None:
        command = ["/bin/sh", "-c", _ADD, "sh", option, *(package.name for package in packages)]
        workshop.inside(step, command, layers, _INSTALL_ENVIRONMENT, _Counter(workshop, len(packages)).installed)

    def database(self, tree: int) -> bytes:
        for path in _DATABASES:
            if status_beneath(tree, path) is not None:
                return read_beneath(tree, path, _DATABASE_LIMIT) or b""
        raise BuildError("the tree has no database of apk")

    def installed(self, database: bytes) -> tuple[InstalledPackage, ...]:
        return parse_installed(database)


class _Counter:
    """Tells progress by the lines that packages are announced with."""

    def __init__(self, workshop: Workshop, total: int) -> None:
        self._progress = workshop.progress
        self._total = total
        self._done = 0

    def unpacked(self, line: bytes) -> bool:
        if not line.startswith(b"unpack: "):
            return False
        self._progress.update(min(self._done, self._total), self._total, "")
        self._done += 1
        return True

    def installed(self, line: bytes) -> bool:
        change = parse_change(line)
        if change is not None:
            self._progress.update(min(change.number - 1, self._total), self._total, change.name)
        return change is not None
