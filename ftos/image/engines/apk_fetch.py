# SPDX-License-Identifier: AGPL-3.0-or-later
"""The half of the apk engine that gets packages.

Three kinds of containers, none of which has more than it needs. One has network and downloads files. One has the apk
program, no network, the indexes as root took them over, and the keys of one source: it checks signatures. One has the
apk program and all indexes, which are right by now: it chooses packages. The keys of different sources never meet, so
an image's own key signs for the image's own repository and for nothing else, while apk by itself would take any key in
its directory for any repository. Root looks up what apk chose in the indexes, and checks every package file itself.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path

from ftos.errors import BuildError, quote
from ftos.host.files import read_limited
from ftos.host.trees import copy_verified, directory, directory_beneath
from ftos.image.download import Order
from ftos.image.engines import OWN_KEY, FetchRequest, PackageSource
from ftos.image.engines.apk_file import vouched
from ftos.image.engines.apk_text import (
    INDEX,
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
    repository_urls,
)
from ftos.image.engines.apk_tool import ApkTool
from ftos.image.engines.indexes import changing, copy_indexes
from ftos.image.manifest import LockedPackage
from ftos.image.online import (
    CONFIG,
    ENVIRONMENT,
    as_seen,
    download_command,
    local_binds,
    online_binds,
    parse_download,
    proxies,
)
from ftos.image.packages import PackageCache
from ftos.image.watchdog import fetching
from ftos.image.workshop import Workshop
from ftos.plan.containers import host_bind

ESSENTIAL = ("alpine-baselayout", "apk-tools")
"""What a base tree has whatever its osbase says: accounts, directories and a shell; what installs the images on top."""
_INDEX_LIMIT = 64 << 20


class ApkFetcher:
    """See `ftos.image.engines.Fetcher`."""

    def __init__(self, workshop: Workshop, request: FetchRequest) -> None:
        self._workshop = workshop
        self._request = request
        self._architecture = alpine_architecture(request.architecture)
        for name in ("download", "indexes"):
            workshop.make_foreign(workshop.fetch / name)
        self._config = [host_bind(workshop.config, CONFIG)]
        self._indexes = self._fresh("indexes")
        """Those that are chosen from: the newest when this was made, and after a refresh its own."""
        self._parsed: dict[str, Index] = {}
        """Name of such an index → what is in it."""
        copy_indexes(request.indexes, self._indexes)

    def refresh(self) -> dict[str, str]:
        self._workshop.stage("refresh the package indexes")
        repositories = [url for source in self._request.sources for url in self._repositories(source)]
        indexes = [self._index_url(url) for url in repositories]
        self._download("indexes", [Order([self._place(url)], index_name(url), _INDEX_LIMIT) for url in indexes])
        taken = self._fresh("taken")
        with directory(self._workshop.fetch) as fetch, directory_beneath(fetch, "indexes") as fetched:
            digests = {name: copy_verified(fetched, name, taken / name) for name in map(index_name, indexes)}
        parsed: dict[str, Index] = {}
        for source in self._request.sources:
            parsed |= self._check(source, taken)
        with changing(self._request.indexes):
            for url, index in zip(repositories, indexes, strict=True):
                name = index_name(index)
                _refuse_older(parsed[name], url, self._request.indexes / name)
            with directory(taken) as right:
                for name in digests:
                    copy_verified(right, name, self._request.indexes / name)
        for name in digests:
            (taken / name).replace(self._indexes / name)
        self._parsed |= parsed
        return digests

    def resolve(self, packages: Sequence[str], installed: bytes) -> tuple[LockedPackage, ...]:
        self._workshop.stage("find the packages that are needed")
        wanted = packages if installed else (*ESSENTIAL, *packages)
        if not wanted:
            return ()
        known = list(self._known())
        self._lay_out(known, installed)
        changes: list[Change] = []

        def take(line: bytes) -> bool:
            change = parse_change(line)
            if change is not None:
                changes.append(change)
            return change is not None

        arguments = ["add", "--simulate", "--root", f"{CONFIG}/root", "--arch", self._architecture]
        arguments += ["--repositories-file", f"{CONFIG}/repositories", "--allow-untrusted"]
        arguments += ["--no-network", "--no-cache", "--no-progress"]
        self._tool.run("choice of the packages", [*arguments, *wanted], self._config, take)
        return tuple(sorted(self._locked(changes, known), key=lambda package: package.file))

    def database_of(self, packages: Sequence[LockedPackage]) -> bytes:
        stanzas = {stanza.get("C"): stanza for _, index in self._known() for stanza in index.stanzas}
        found = [stanzas.get(checksum_field(package.checksum)) for package in packages]
        for package, stanza in zip(packages, found, strict=True):
            if stanza is None:
                raise BuildError(f"the package {quote(package.file)} is in no index any more")
        return as_database(stanza for stanza in found if stanza is not None)

    def download(self, cache: PackageCache, packages: Sequence[LockedPackage]) -> None:
        missing = cache.missing(packages)
        if not missing:
            return
        self._workshop.stage(f"download {len(missing)} of {len(packages)} packages")
        orders = [Order([self._place(url) for url in self._urls(p)], p.file, p.size) for p in missing]
        self._download("download", orders)
        with directory(self._workshop.fetch) as fetch, directory_beneath(fetch, "download") as fetched:
            for package in missing:
                cache.add(fetched, package, partial(vouched, package=package))
        self._workshop.progress.update(len(missing), len(missing), "")

    # --- the network ---

    def _download(self, place: str, orders: Sequence[Order]) -> None:
        """Get files into the directory `place` of workshop.fetch."""
        workshop = self._workshop

        def count(line: bytes) -> bool:
            progress = parse_download(line)
            if progress is not None and 0 < progress[0] <= len(orders):
                workshop.progress.update(progress[0] - 1, len(orders), orders[progress[0] - 1].name)
            return progress is not None

        workshop.with_tools(
            f"download of the {'packages' if place == 'download' else 'package indexes'}",
            download_command(workshop, orders, place),
            [*online_binds(workshop), *local_binds(self._mirrors())],
            {**ENVIRONMENT, **proxies()},
            count,
            network=fetching(*(order.limit for order in orders)),
        )

    def _mirrors(self) -> list[str]:
        return [source.url for source in self._request.sources]

    def _place(self, url: str) -> tuple[str, str]:
        """Where the container finds what is at `url`, and how a person knows it."""
        return as_seen(url, self._mirrors()), url

    def _urls(self, package: LockedPackage) -> list[str]:
        """Where the file of `package` may be: where the lock says, unless that is on no mirror of today; then in any
        repository of today first. Its checksum decides."""
        repositories = [url for source in self._request.sources for url in self._repositories(source)]
        if any(package.url.startswith(f"{url}/") for url in repositories):
            return [package.url]
        return [*(f"{url}/{self._architecture}/{package.file}" for url in repositories), package.url]

    # --- indexes ---

    def _repositories(self, source: PackageSource) -> tuple[str, ...]:
        return repository_urls(source.url, source.suite, source.components)

    def _index_url(self, repository: str) -> str:
        return f"{repository}/{self._architecture}/{INDEX}"

    def _check(self, source: PackageSource, taken: Path) -> dict[str, Index]:
        """The indexes of `source` in the directory `taken`, by name. Raises BuildError unless they are signed by its
        keys and of the osbase's release."""
        keys = self._fresh("keys")
        for name in source.keys:
            # apk looks a key up by the name which the signature gives.
            (keys / (name.removeprefix(OWN_KEY) if source.extra else name)).write_bytes(self._request.keys[name])
        urls = {url: index_name(self._index_url(url)) for url in self._repositories(source)}
        arguments = ["--keys-dir", f"{CONFIG}/keys", "--repositories-file", "/dev/null", "verify"]
        arguments += [f"{CONFIG}/taken/{name}" for name in urls.values()]
        self._tool.run(f"check of the signature of {', '.join(urls)}", arguments, self._config)
        indexes = {}
        for url, name in urls.items():
            indexes[name] = index = _read(taken / name, url)
            foreign = foreign_release(self._request.osbase, url, index) if source.extra else None
            if foreign is not None:
                raise BuildError(
                    f"the repository {quote(url)} belongs to {foreign}, not to {self._request.osbase}",
                    "name the repository for this release, or build the image on the other osbase",
                )
        return indexes

    def _known(self) -> Iterator[tuple[str, Index]]:
        """URL of each repository, in the order of the sources, and the index that is known of it."""
        for source in self._request.sources:
            for url in self._repositories(source):
                name = index_name(self._index_url(url))
                if not (self._indexes / name).exists():
                    raise BuildError(f"no index of the repository {quote(url)} is known yet", "try again with network")
                if name not in self._parsed:
                    self._parsed[name] = _read(self._indexes / name, url)
                yield url, self._parsed[name]

    # --- the choice ---

    def _lay_out(self, known: Sequence[tuple[str, Index]], installed: bytes) -> None:
        """Make a root with nothing but the database `installed`, and repositories with nothing but indexes.

        What is installed is also wanted: apk must not remove it to please a new package.
        """
        root, repositories = self._fresh("root"), self._fresh("available")
        for path in ("etc/apk", "usr/lib/apk/db", "var/cache/apk"):
            (root / path).mkdir(parents=True)
        (root / "lib").symlink_to("usr/lib")  # the database's place before and after Alpine merged /usr
        (root / "usr/lib/apk/db/installed").write_bytes(installed)
        world = (line[2:] for line in installed.splitlines(keepends=True) if line.startswith(b"P:"))
        (root / "etc/apk/world").write_bytes(b"".join(world))
        lines = []
        for number, (url, _) in enumerate(known):
            place = repositories / str(number) / self._architecture
            place.mkdir(parents=True)
            shutil.copyfile(self._indexes / index_name(self._index_url(url)), place / INDEX)
            lines.append(f"{CONFIG}/available/{number}\n")
        (self._workshop.config / "repositories").write_text("".join(lines))

    def _locked(self, changes: Sequence[Change], known: Sequence[tuple[str, Index]]) -> Iterator[LockedPackage]:
        """What `changes` installs, out of the first repository that has it: the osbase's come first."""
        if [change.number for change in changes] != list(range(1, len(changes) + 1)) or any(
            change.total != len(changes) for change in changes
        ):
            raise BuildError("apk announced its choice in a form that is not understood")
        removed = [change.name for change in changes if change.verb == "Purging"]
        if removed:
            raise BuildError(
                f"the packages can only be installed without {', '.join(map(quote, removed))}, which the base tree has"
            )
        available: dict[tuple[str, str], LockedPackage] = {}
        chosen = {(change.name, change.version) for change in changes}
        for url, index in known:
            for stanza in index.stanzas:
                key = stanza.get("P", ""), stanza.get("V", "")
                if key in chosen and key not in available:
                    available[key] = locked_package(stanza, url, self._architecture)
        for change in changes:
            if (change.name, change.version) not in available:
                raise BuildError(f"apk chose {quote(f'{change.name}-{change.version}')}, which is in no index")
            yield available[change.name, change.version]

    # --- helpers ---

    @cached_property
    def _tool(self) -> ApkTool:
        return ApkTool(self._workshop, self._request.tools)

    def _fresh(self, name: str) -> Path:
        """An empty directory in workshop.config, which root alone writes."""
        path = self._workshop.config / name
        if path.exists():
            shutil.rmtree(path)
        path.mkdir()
        return path


def _refuse_older(index: Index, url: str, known: Path) -> None:
    if known.exists() and is_older(index, _read(known, url)):
        raise BuildError(
            f"the signed index of {quote(url)} is older than the one known",
            f"try again later, or another mirror; to take it nonetheless, remove {quote(known, 4096)}",
        )


def _read(file: Path, url: str) -> Index:
    try:
        return parse_index(read_limited(file, _INDEX_LIMIT))
    except BuildError as error:
        raise BuildError(f"the repository {quote(url)}: {error.message}") from error
