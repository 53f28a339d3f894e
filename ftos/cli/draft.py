# SPDX-License-Identifier: AGPL-3.0-or-later
"""The draft of a deployment that is being edited.

    STATE/drafts/NAME.yml     what the person has written
    STATE/drafts/NAME.base    the text which the draft was begun from, so that a change by others is seen

It leaves only when it was saved, or when the person says so.
"""

from __future__ import annotations

import difflib
import os
import shlex
import subprocess

from ftos.cli.context import App
from ftos.cli.deployments import checked, locked, save
from ftos.errors import Busy, FtosError, quote
from ftos.host.files import write_atomically
from ftos.host.places import Places
from ftos.spec.problems import DescriptorErrors
from ftos.spec.records import Deployment


class Draft:
    def __init__(self, places: Places, name: str) -> None:
        self.name = name
        self.original = places.descriptor_directories("deployment")[0] / f"{name}.yml"
        directory = places.state / "drafts"
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = directory / f"{name}.yml"
        self.base = directory / f"{name}.base"

    def exists(self) -> bool:
        return self.path.exists() and self.base.exists()

    def begin(self) -> None:
        """Make the draft: a copy of the deployment as it is."""
        text = self.original.read_bytes()
        write_atomically(self.base, text, 0o600)
        write_atomically(self.path, text, 0o600)

    def discard(self) -> None:
        self.path.unlink(missing_ok=True)
        self.base.unlink(missing_ok=True)

    def unchanged(self) -> bool:
        return self.path.read_bytes() == self.base.read_bytes()

    def rebase(self) -> str:
        """Take the deployment as it is now for the draft's beginning; returns what has changed since, as a diff."""
        before, now = self.base.read_bytes(), self.original.read_bytes()
        write_atomically(self.base, now, 0o600)
        old, new = (text.decode(errors="replace").splitlines() for text in (before, now))
        return "\n".join(difflib.unified_diff(old, new, "before", "now", lineterm=""))

    def open_editor(self) -> None:
        """Let the person edit; raises FtosError when the editor can't be started or fails."""
        editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
        try:
            status = subprocess.run([*shlex.split(editor), str(self.path)], check=False).returncode
        except (OSError, ValueError) as error:
            raise FtosError(
                f"the editor {quote(editor)} can't be started", "set EDITOR to one that is there"
            ) from error
        if status:
            raise FtosError(f"the editor {quote(editor)} failed with status {status}; nothing was saved")
        if not self.path.exists():
            raise FtosError("the editor left no file behind; nothing was saved")

    def save(self, app: App) -> Deployment:
        """Check the draft, make it the deployment, and drop it. Raises BadInput for what is wrong in it, Busy when the
        deployment was changed by somebody else."""
        with locked(app):
            now = self.original.read_bytes()
            if now != self.base.read_bytes():
                raise Busy(f"{self.name} was changed by somebody else meanwhile; nothing was saved")
            try:
                former = app.catalog.deployment(self.name)
            except DescriptorErrors:
                former = None  # what is there is broken; the draft may mend it
            text = self.path.read_bytes()
            deployment = checked(app, text, self.path, former)
            save(self.original, text)
        self.discard()
        return deployment
