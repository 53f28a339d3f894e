# SPDX-License-Identifier: AGPL-3.0-or-later
"""The half of the apt engine that gets packages.

The host's apt-get, as an unprivileged process in a container that has network and none of the host's files, with a
configuration of its own. It verifies indexes by the keys of their sources and says which files are needed, with their
hashes; root takes the files out of the container's directory and checks the hashes itself.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from ftos.errors import BuildError, quote
from ftos.host.trees import copy_verified, directory, directory_beneath, read_beneath
from ftos.image.engines import FetchRequest
from ftos.image.engines.apt_text import (
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
from ftos.image.engines.indexes import INDEX_NAME, changing, copy_indexes
from ftos.image.manifest import LockedPackage
from ftos.image.online import CONFIG, ENVIRONMENT, FETCH, as_known, as_seen, local_binds, online_binds
from ftos.image.packages import PackageCache
from ftos.image.watchdog import Patience, fetching
from ftos.image.workshop import Workshop
from ftos.plan.records import FOREIGN_BASE

_ENVIRONMENT = {**ENVIRONMENT, "APT_CONFIG": f"{CONFIG}/apt.conf"}
_STATUS_LIMIT = 64 << 20
_INDEX_LIMIT = 16 << 20
_ALL_INDEXES = 64 << 20
"""Bytes that a refresh fetches at most, packed; those of Debian's main suite have about 10 MiB."""
_DOWNLOADER = "/usr/lib/apt/apt-helper"
_RELEASES = "$(REPO_URI)|$(RELEASE)|$(ORIGIN)|$(CODENAME)|$(SUITE)"
_NO_INDEXES = {"auxfiles", "lock", "partial"}


class AptFetcher:
    """See `ftos.image.engines.Fetcher`."""

    def __init__(self, workshop: Workshop, request: FetchRequest) -> None:
        self._workshop = workshop
        self._request = request
        self._configure()
        self._mirrors = [source.url for source in request.sources]
        self._binds = [*online_binds(workshop), *local_binds(self._mirrors)]

    def refresh(self) -> dict[str, str]:
        self._workshop.stage("refresh the package indexes")
        self._apt("fetch of the package indexes", ["apt-get", "update", "-q"], network=fetching(_ALL_INDEXES))
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
                url = as_known(package.url, self._mirrors, "copy")
                found[package.file] = replace(package, url=url)
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
        self._workshop.stage(f"download {len(missing)} of {len(packages)} packages")
        urls = {package.file: self._urls(package) for package in missing}
        left, attempt = missing, 0
        while left:
            failure = None
            try:
                self._fetch([(package, urls[package.file][attempt]) for package in left])
            except BuildError as error:
                failure = error
            with directory(self._workshop.fetch) as fetch, directory_beneath(fetch, "archives") as archives:
                for package in left:
                    with suppress(*([BuildError] if failure is not None else [])):
                        cache.add(archives, package)
            left, attempt = cache.missing(left), attempt + 1
            if failure is not None and any(len(urls[package.file]) == attempt for package in left):
                raise failure
        self._workshop.progress.update(len(missing), len(missing), "")

    def _urls(self, package: LockedPackage) -> list[str]:
        """Where the file of `package` may be: where the lock says, unless that is on no mirror of today; then at the
        same place of those first. Its checksum decides."""
        roots = [url.rstrip("/") + "/" for url in dict.fromkeys(self._mirrors)]
        _, pool, path = package.url.partition("/pool/")
        if package.url.startswith(tuple(roots)) or not pool:
            return [package.url]
        return [*(f"{root}pool/{path}" for root in roots), package.url]

    def _fetch(self, wanted: Sequence[tuple[LockedPackage, str]]) -> None:
        """Get the file of each package, which is at the URL, into the archives."""
        workshop = self._workshop

        def count(line: bytes) -> bool:
            got = parse_get(line)
            if got is not None:
                workshop.progress.update(min(got[0] - 1, len(wanted)), len(wanted), got[1])
            return got is not None

        triples = (
            (
                as_seen(url, self._mirrors, "copy"),
                f"{FETCH}/archives/{package.file}",
                package.checksum.replace("sha256", "SHA256"),
            )
            for package, url in wanted
        )
        command = [_DOWNLOADER, "download-file", *(word for triple in triples for word in triple)]
        patience = fetching(*(package.size for package, _ in wanted))
        self._apt("download of the packages", command, count, patience)

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
        for index in copy_indexes(request.indexes, fetch / "lists"):
            os.chown(index, FOREIGN_BASE, FOREIGN_BASE)

    def _apt(
        self,
        step: str,
        command: list[str],
        is_progress: Callable[[bytes], bool] = lambda line: False,
        network: Patience | None = None,
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
    with changing(known):
        with directory(known) as before:
            for name in signed:
                old, new = (parse_date(read_beneath(place, name, _INDEX_LIMIT) or b"") for place in (before, lists))
                if old is not None and (new is None or new < old):
                    raise BuildError(
                        f"the signed index {quote(name)} is of {new}, and thus older than the one known, of {old}",
                        f"try again later, or another mirror; to take it nonetheless, remove {quote(known / name)}",
                    )
        # The signed ones last: should this process be killed amid it, apt will see that the others are to be fetched.
        others = [name for name in names if name not in signed]
        digests = {name: copy_verified(lists, name, known / name) for name in (*others, *signed)}
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
