# SPDX-License-Identifier: AGPL-3.0-or-later
"""The half of the apt engine that gets packages.

The host's apt-get, as an unprivileged process in a container that has network and none of the host's files, with a
configuration of its own. It verifies indexes by the keys of their sources and says which files are needed, with their
hashes; root takes the files out of the container's directory and checks the hashes itself.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from ftos.errors import BuildError, quote
from ftos.host.trees import copy_verified, directory, directory_beneath, read_beneath
from ftos.image.engines import FetchRequest
from ftos.image.engines.apt_text import (
    INDEX_NAME,
    apt_configuration,
    as_status,
    debian_architecture,
    foreign_release,
    parse_date,
    parse_get,
    parse_release,
    parse_uri,
    source_line,
    transport_settings,
)
from ftos.image.manifest import LockedPackage
from ftos.image.online import CONFIG, ENVIRONMENT, FETCH, local_binds, online_binds
from ftos.image.packages import PackageCache
from ftos.image.workshop import Workshop
from ftos.plan.records import FOREIGN_BASE

_ENVIRONMENT = {**ENVIRONMENT, "APT_CONFIG": f"{CONFIG}/apt.conf"}
_STATUS_LIMIT = 64 << 20
_INDEX_LIMIT = 16 << 20
_DOWNLOADER = "/usr/lib/apt/apt-helper"
_RELEASES = "$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(CODENAME)|$(SUITE)"
_NO_INDEXES = {"auxfiles", "lock", "partial"}


class AptFetcher:
    """See `ftos.image.engines.Fetcher`."""

    def __init__(self, workshop: Workshop, request: FetchRequest) -> None:
        self._workshop = workshop
        self._request = request
        self._configure()
        self._binds = [*online_binds(workshop), *local_binds(source.url for source in request.sources)]

    def refresh(self) -> dict[str, str]:
        self._workshop.stage("refresh the package indexes")
        self._apt("fetch of the package indexes", ["apt-get", "update", "-q"], network=True)
        if any(source.extra for source in self._request.sources):
            self._refuse_foreign()
        with directory(self._workshop.fetch) as fetched, directory_beneath(fetched, "lists") as lists:
            return keep_indexes(lists, self._request.indexes)

    def resolve(self, packages: Sequence[str], installed: bytes) -> tuple[LockedPackage, ...]:
        self._workshop.stage("find the packages that are needed")
        (self._workshop.config / "status").write_bytes(installed)
        wanted = [*(["?essential", "apt"] if not installed else []), *packages]
        found: dict[str, LockedPackage] = {}

        def take(line: bytes) -> bool:
            package = parse_uri(line)
            if package is not None:
                found[package.file] = package
            return package is not None

        if wanted:
            command = ["apt-get", "install", "-y", "-qq", "--print-uris", "--", *wanted]
            self._apt("choice of the packages", command, take)
        return tuple(sorted(found.values(), key=lambda package: package.file))

    def database_of(self, packages: Sequence[LockedPackage]) -> bytes:
        command = 'exec apt-cache show -- "$@" > /ftos/fetch/database'
        names = [f"{package.name}:{package.architecture}={package.version}" for package in packages]
        self._apt("description of the packages", ["/bin/sh", "-c", command, "sh", *names])
        with directory(self._workshop.fetch) as fetch:
            return as_status(read_beneath(fetch, "database", _STATUS_LIMIT) or b"")

    def download(self, cache: PackageCache, packages: Sequence[LockedPackage]) -> None:
        missing = cache.missing(packages)
        if not missing:
            return
        workshop = self._workshop
        workshop.stage(f"download {len(missing)} of {len(packages)} packages")

        def count(line: bytes) -> bool:
            got = parse_get(line)
            if got is not None:
                workshop.progress.update(min(got[0] - 1, len(missing)), len(missing), got[1])
            return got is not None

        triples = (
            (package.url, f"{FETCH}/archives/{package.file}", package.checksum.replace("sha256", "SHA256"))
            for package in missing
        )
        command = [_DOWNLOADER, "download-file", *(word for triple in triples for word in triple)]
        self._apt("download of the packages", command, count, network=True)
        with directory(workshop.fetch) as fetch, directory_beneath(fetch, "archives") as archives:
            for package in missing:
                cache.add(archives, package)
        workshop.progress.update(len(missing), len(missing), "")

    def _configure(self) -> None:
        """Fill the directory that the container may read, and give it the indexes of the last time."""
        config, fetch, request = self._workshop.config, self._workshop.fetch, self._request
        (config / "none").mkdir()
        (config / "keys").mkdir()
        for name, content in request.keys.items():
            (config / "keys" / name).write_bytes(content)
        architecture = debian_architecture(request.architecture)
        (config / "apt.conf").write_text(apt_configuration(architecture, _host_transport()))
        lines = [source_line(source.url, source.suite, source.components, source.keys) for source in request.sources]
        (config / "sources.list").write_text("".join(line + "\n" for line in lines))
        (config / "status").touch()
        for name in ("archives", "archives/partial", "lists", "lists/partial"):
            self._workshop.make_foreign(fetch / name)
        for index in request.indexes.iterdir():
            shutil.copy2(index, fetch / "lists" / index.name)
            os.chown(fetch / "lists" / index.name, FOREIGN_BASE, FOREIGN_BASE)

    def _apt(
        self,
        step: str,
        command: list[str],
        is_progress: Callable[[bytes], bool] = lambda line: False,
        network: bool = False,
    ) -> None:
        self._workshop.with_tools(step, command, self._binds, _ENVIRONMENT, is_progress, network)

    def _refuse_foreign(self) -> None:
        """Raises BuildError when an extra source is of another distro or release, by its own signed words."""
        found: list[tuple[str, str, str]] = []

        def take(line: bytes) -> bool:
            release = parse_release(line)
            if release is not None and any(
                source.extra and release.is_of(source.url, source.suite) for source in self._request.sources
            ):
                what = foreign_release(self._request.osbase, release)
                if what:
                    found.append((release.url, release.suite, what))
            return release is not None

        self._apt("look at the repositories", ["apt-get", "indextargets", "--format", _RELEASES], take)
        for url, suite, what in found:
            raise BuildError(
                f"the repository {quote(url)}, suite {quote(suite)}, belongs to {what}, not to {self._request.osbase}",
                "name the suite for this release, or build the image on the other osbase",
            )


def keep_indexes(lists: int, known: Path) -> dict[str, str]:
    """Take the indexes of the directory fd `lists`, which the fetching container wrote, into the directory `known`;
    the SHA-256 of each signed one.

    Raises BuildError, and takes none, when a signed one is older than the one known: somebody may replay it to bring
    back packages with known holes. (apt keeps the newer one by itself; but apt was in the container.)
    """
    names = sorted({name for name in os.listdir(lists) if INDEX_NAME.fullmatch(name)} - _NO_INDEXES)
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
