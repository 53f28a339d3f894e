# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ostree command: the only place that runs it. Failures become FtosError with what ostree said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ftos.errors import FtosError, Unsupported, quote
from ftos.host.files import read_limited
from ftos.image.objects import commit_body
from ftos.image.watchdog import reserve

_COMMIT_LIMIT = 64 << 20


class Ostree:
    """One repository. `what` it is, is for messages.

    That of the store has mode `bare`: files keep owner and permission bits; hardlinks of them are checkouts.
    """

    def __init__(self, repository: Path, what: str = "the image store") -> None:
        self._repository = repository
        self._what = what
        self.locks: list[int] = []
        """fds of locks which each command keeps: when this process is killed, its last command still has them."""

    def initialise(self, mode: str = "bare") -> None:
        """Make the repository; nothing happens when there is one."""
        self._run("init", f"--mode={mode}")
        # Else 3 % of the disk, which on a phone may be all that is left.
        free = max(1, reserve(self._repository) >> 20)
        self._run("config", "set", "core.min-free-space-size", f"{free}MB")

    def commit(self, trees: Sequence[Path], skip: Path, subject: str, body: Path) -> str:
        """Commit the union of the directories `trees` (a later one wins), on no branch; the commit's checksum.

        Files in them which are hardlinks of objects are not read again.

        body: file with the text of the commit's message.
        skip: file with paths (`/a/b`, one a line) that are left out with all below; each must exist.
        """
        done = self._run(
            "commit",
            "--orphan",
            "--no-bindings",
            "--no-xattrs",
            "--devino-canonical",
            f"--subject={subject}",
            f"--body-file={body}",
            f"--skip-list={skip}",
            *(f"--tree=dir={tree}" for tree in trees),
        )
        return done.strip()

    def body(self, commit: str) -> str:
        """The text of the message of `commit`. `ostree show` would look at signatures, too, as root."""
        path = self._repository / f"objects/{commit[:2]}/{commit[2:]}.commit"
        try:
            return commit_body(read_limited(path, _COMMIT_LIMIT))
        except ValueError as error:
            raise FtosError(f"{quote(path)} is damaged") from error

    def content_checksum(self, commit: str) -> str:
        """Equal for equal trees, whenever they were committed."""
        lines = self._run("show", commit).splitlines()
        return next(line.split()[1] for line in lines if line.startswith("ContentChecksum:"))

    def check_out(self, commit: str, target: Path) -> None:
        """Hardlink the tree of `commit` into the new directory `target`."""
        self._run("checkout", "--require-hardlinks", commit, str(target))

    def set_ref(self, ref: str, commit: str) -> None:
        """Let `ref` name `commit`, whatever it named before."""
        self._run("refs", "--force", f"--create={ref}", commit)

    def delete_ref(self, ref: str) -> None:
        """Delete exactly `ref`."""
        self._run("refs", "--delete", ref)

    def prune(self) -> None:
        """Drop every object that no ref reaches."""
        self._run("prune", "--refs-only")

    def check(self) -> None:
        """Raises FtosError when an object is damaged or missing."""
        self._run("fsck", "--quiet")

    # --- between repositories ---

    def pull_local(self, source: Path, commit: str) -> None:
        """Take `commit` out of the repository `source`, with a look at the checksum of each object; no ref names it."""
        self._run("pull-local", "--untrusted", str(source), commit)

    def sign(self, commit: str, key: str, home: Path) -> None:
        """Add the signature of the GPG key with the id `key`, out of the GPG directory `home`, if it is not there."""
        self._run("gpg-sign", f"--gpg-homedir={home}", commit, key)

    def make_delta(self, commit: str, before: str | None) -> None:
        """Make the static delta that leads from the commit `before`, or from nothing, to `commit`, if it is not there.

        All is in it; by ostree's default large files would be left to be fetched by themselves.
        """
        start = "--empty" if before is None else f"--from={before}"
        self._run("static-delta", "generate", "--if-not-exists", "--min-fallback-size=0", start, f"--to={commit}")

    def write_summary(self, key: str, home: Path) -> None:
        """Write the list of all refs and deltas, and its signature as `sign` makes it."""
        self._run("summary", "--update", f"--gpg-sign={key}", f"--gpg-homedir={home}")

    def _run(self, verb: str, *arguments: str) -> str:
        try:
            process = subprocess.Popen(
                ["ostree", verb, *arguments, f"--repo={self._repository}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                umask=0o022,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                pass_fds=self.locks,
            )
        except FileNotFoundError:
            raise Unsupported("the command ostree is not installed", "install the package ostree") from None
        with process:
            try:
                output, said = process.communicate()
            except BaseException:
                # At Ctrl-C, subprocess would not wait for it, and the clean-up would meet it at work.
                process.kill()
                process.wait()
                raise
        if process.returncode != 0:
            said = said.strip().removeprefix("error: ")
            raise FtosError(f"{self._what} refused to {verb}: {quote(said)}", "`ftos image fsck` checks the store")
        return output
