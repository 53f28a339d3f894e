# SPDX-License-Identifier: AGPL-3.0-or-later
"""The apk program with which packages are chosen and signatures checked.

The host's own where it has one. Else it comes out of an archive which the owner names in host.yml with its checksum: a
root file system of Alpine with apk in it (`alpine-minirootfs-*.tar.gz`), or the package with apk as one static file
(`apk-tools-static-*.apk`). The bytes whose checksum was right are those that are unpacked, by the host's tar in a
container without network, into a directory of the build; nothing of it runs outside a container.
"""

from __future__ import annotations

import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ftos.errors import BuildError, Unsupported, quote
from ftos.host.trees import copy_verified, directory, status_beneath
from ftos.image.online import CONFIG, ENVIRONMENT
from ftos.image.workshop import Workshop
from ftos.plan.containers import foreign_bind, host_bind
from ftos.plan.records import Mount
from ftos.spec.records import Tool

_PLACES = tuple(f"{place}/{name}" for place in ("sbin", "usr/sbin", "bin", "usr/bin") for name in ("apk.static", "apk"))
_ARCHIVE, _TARGET = f"{CONFIG}/apk.archive", "/ftos/target"


class ApkTool:
    """The program, ready to run in the containers of one workshop. Raises BuildError, Unsupported."""

    def __init__(self, workshop: Workshop, tools: Mapping[str, Tool]) -> None:
        self._workshop = workshop
        self._tree: Path | None = None
        self._program = shutil.which("apk") or self._unpack(tools.get("apk"))

    def run(
        self,
        step: str,
        arguments: Sequence[str],
        binds: Sequence[Mount],
        is_progress: Callable[[bytes], bool] = lambda line: False,
    ) -> None:
        """Without network. Raises BuildError when it fails."""
        command = [self._program, *arguments]
        self._workshop.with_tools(step, command, binds, ENVIRONMENT, is_progress, tree=self._tree)

    def _unpack(self, tool: Tool | None) -> str:
        """Path of the program in the tree of `tool`."""
        if tool is None:
            raise Unsupported(
                "this host has no apk, which chooses the packages of Alpine",
                "name an archive that has it in host.yml, as  "
                "tools: {apk: {archive: /path/alpine-minirootfs-….tar.gz, sha256: …}}",
            )
        workshop, archive = self._workshop, Path(tool.archive).resolve()
        try:
            with directory(archive.parent) as beside:
                copy_verified(beside, archive.name, workshop.config / Path(_ARCHIVE).name, tool.sha256)
        except (OSError, BuildError) as error:
            reason = error.strerror if isinstance(error, OSError) else error.message
            raise BuildError(
                f"the archive with apk, {quote(archive)}, can't be used: {reason}",
                "correct `tools:` in host.yml; the checksum must be the one which Alpine published for this archive",
            ) from error
        tree = workshop.directory / "tool"
        workshop.make_foreign(tree)
        # What other programs than apk have there is of no use, and a device node could not be made.
        command = ["tar", "-x", "-z", "-f", _ARCHIVE, "-C", _TARGET, "--exclude=./dev", "--exclude=dev"]
        binds = [host_bind(workshop.config, CONFIG), foreign_bind(tree, _TARGET, read_only=False)]
        workshop.with_tools(f"unpacking of {quote(archive)}", command, binds, ENVIRONMENT)
        self._tree = tree
        with directory(tree) as fd:
            for place in _PLACES:
                status = status_beneath(fd, place)
                if status is not None and stat.S_ISREG(status.st_mode):
                    return f"/{place}"
        raise BuildError(
            f"there is no apk program in the archive {quote(tool.archive)}",
            "an alpine-minirootfs or apk-tools-static archive has one",
        )
