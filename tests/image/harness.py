# SPDX-License-Identifier: AGPL-3.0-or-later
"""Real builds for tests: places with a shared package cache, and packages of the test's own making.

Run as a program, it builds an image and dies on the way:  harness.py ROOT IMAGE STAGE
It is killed at the start of the first stage whose name begins with STAGE.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import signal
import stat
import subprocess
import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from ftos.host.facts import HostFacts, gather
from ftos.host.places import Places
from ftos.image.build import ImageBuilder
from ftos.plan.records import FOREIGN_BASE, ID_COUNT
from ftos.runtime.container import run_to_end
from ftos.spec.catalog import Catalog
from ftos.spec.records import Image

UNREACHABLE = {"debian": "http://127.0.0.1:9/debian", "debian-security": "http://127.0.0.1:9/debian-security"}


@dataclass
class Recorder:
    """Progress that is remembered. `dies_at`: begin of the stage's name at whose start this process is killed."""

    dies_at: str | None = None
    stages: list[str] = field(default_factory=list)
    updates: list[tuple[int, int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def stage(self, name: str) -> None:
        if self.dies_at is not None and name.startswith(self.dies_at):
            os.kill(os.getpid(), signal.SIGKILL)
        self.stages.append(name)

    def update(self, done: int, total: int, what: str) -> None:
        self.updates.append((done, total, what))

    def note(self, text: str) -> None:
        self.notes.append(text)


def image(name: str, osbase: str = "debian/trixie", **more: object) -> Image:
    return Image(
        kind="image",
        schema=1,
        name=name,
        title=name,
        version="1",
        osbase=osbase,
        command=("/bin/sh",),
        **more,  # type: ignore[arg-type]
    )


def builder(places: Places, progress: Recorder | None = None, *, offline: bool = False) -> ImageBuilder:
    """A builder by the real launcher. offline: every mirror is out of reach."""
    catalog = Catalog(places)
    facts = gather(catalog.host())
    if offline:
        facts = HostFacts(facts.architecture, "none", "C.UTF-8", "Etc/UTC", None, UNREACHABLE)
    runner = partial(run_to_end, places)
    return ImageBuilder(places, catalog, facts, runner, progress or Recorder(), in_use=tuple)


def assert_nothing_dangerous(tree: Path) -> None:
    """What holds of every committed tree: no special file, setuid bit, extended attribute or id of the host."""
    for directory, _, files in os.walk(tree):
        for path in (Path(directory), *(Path(directory, file) for file in files)):
            status = path.lstat()
            assert stat.S_IFMT(status.st_mode) in (stat.S_IFREG, stat.S_IFDIR, stat.S_IFLNK), path
            assert stat.S_ISLNK(status.st_mode) or not status.st_mode & 0o6000, path
            assert FOREIGN_BASE <= status.st_uid < FOREIGN_BASE + ID_COUNT, path
            assert FOREIGN_BASE <= status.st_gid < FOREIGN_BASE + ID_COUNT, path
            assert os.listxattr(path, follow_symlinks=False) == [], path


def fresh(root: Path, shared: Places) -> Places:
    """Places of their own, with the packages of `shared`."""
    places = Places(root)
    places.cache.parent.mkdir(parents=True)
    shared.cache.mkdir(parents=True, exist_ok=True)
    places.cache.symlink_to(shared.cache)
    return places


def describe(places: Places, made: Image) -> Image:
    """Write the descriptor of an image whose keys are looked for beside it; the image as it is."""
    directory = places.etc / "images"
    directory.mkdir(parents=True, exist_ok=True)
    text = f"kind: image\nschema: 1\nname: {made.name}\ntitle: x\nversion: '1'\nosbase: {made.osbase}\n"
    packages = ", ".join(made.packages)
    repositories = ", ".join(
        f"{{url: {r.url}, suite: {r.suite}, components: [{', '.join(r.components)}], key: {r.key}}}"
        for r in made.repositories
    )
    (directory / f"{made.name}.yml").write_text(
        f"{text}packages: [{packages}]\nrepositories: [{repositories}]\ncommand: [/bin/sh]\n"
    )
    return replace(Catalog(places).image(made.name))


class LocalRepository:
    """A signed package repository in a directory, with packages of one script each."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._home = directory / "gnupg"
        self._home.mkdir(parents=True, mode=0o700)
        (directory / "pool").mkdir()
        self._gpg("--quick-generate-key", "--passphrase", "", "test@test.invalid", "ed25519", "sign", "never")
        self.key = self._gpg("--armor", "--export")

    def _gpg(self, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", str(self._home), "--batch", "--quiet", "--no-autostart", *arguments]
        if arguments[0] != "--armor":
            command.remove("--no-autostart")
        return subprocess.run(command, capture_output=True, check=True).stdout

    def close(self) -> None:
        """End the key agent, which gpg has started."""
        subprocess.run(["gpgconf", "--homedir", str(self._home), "--kill", "all"], check=True)

    def add(self, name: str, postinst: str, version: str = "1") -> None:
        """A package whose only content is what its script does."""
        tree = self.directory / "source" / name
        (tree / "DEBIAN").mkdir(parents=True, exist_ok=True)
        (tree / f"usr/share/{name}").mkdir(parents=True, exist_ok=True)
        (tree / f"usr/share/{name}/file").write_text(name)
        (tree / "DEBIAN/control").write_text(
            f"Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: t <t@test.invalid>\nDescription: t\n"
        )
        script = tree / "DEBIAN/postinst"
        script.write_text(f"#!/bin/sh\n{postinst}\n")
        script.chmod(0o755)
        target = self.directory / f"pool/{name}_{version}_all.deb"
        subprocess.run(
            ["dpkg-deb", "--root-owner-group", "-b", str(tree), str(target)], capture_output=True, check=True
        )

    def publish(
        self, date: str = "Sat, 01 Aug 2026 00:00:00 UTC", words: str = "Origin: Test\nCodename: local"
    ) -> None:
        """Make and sign the indexes, as of `date`; `words` say whose they are."""
        index = b""
        for file in sorted((self.directory / "pool").iterdir()):
            control = subprocess.run(["dpkg-deb", "-f", str(file)], capture_output=True, check=True).stdout
            digest = hashlib.sha256(file.read_bytes()).hexdigest()
            entry = f"Filename: pool/{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n\n"
            index += control + entry.encode()
        suite = self.directory / "dists/local"
        suite.joinpath("main/binary-amd64").mkdir(parents=True, exist_ok=True)
        sums = ""
        for name, content in (("Packages", index), ("Packages.gz", gzip.compress(index, mtime=0))):
            (suite / "main/binary-amd64" / name).write_bytes(content)
            sums += f" {hashlib.sha256(content).hexdigest()} {len(content)} main/binary-amd64/{name}\n"
        release = suite / "Release"
        release.write_text(
            f"{words}\nLabel: Test\nSuite: local\nArchitectures: amd64\nComponents: main\nDate: {date}\nSHA256:\n{sums}"
        )
        (suite / "InRelease").unlink(missing_ok=True)
        self._gpg("--output", str(suite / "InRelease"), "--clearsign", str(release))


def main() -> None:
    root, name, stage = sys.argv[1:]
    builder(Places(Path(root)), Recorder(stage)).ensure(image(name, packages=("nano",)))


if __name__ == "__main__":
    main()
