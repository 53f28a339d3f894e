# SPDX-License-Identifier: AGPL-3.0-or-later
"""The ostree command: the only place that runs it. Failures become FtosError with what ostree said."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from ftos.errors import FtosError, Unsupported, quote


class Ostree:
    """One repository of mode `bare`: files keep owner and permission bits; hardlinks of them are checkouts."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self.lock: int | None = None
        """fd of a lock which each command keeps: when this process is killed, its last command still has the lock."""

    def initialise(self) -> None:
        """Make the repository; nothing happens when there is one."""
        self._run("init", "--mode=bare")

    def commit(self, trees: Sequence[str], skip: Path, subject: str, body: Path, keep_fds: Sequence[int] = ()) -> str:
        """Commit the union of the directories `trees` (a later one wins), on no branch; the commit's checksum.

        body: file with the text of the commit's message.
        skip: file with paths (`/a/b`, one a line) that are left out with all below; each must exist.
        keep_fds: fds which `trees` names as /proc/self/fd/N/.
        """
        done = self._run(
            "commit",
            "--orphan",
            "--no-bindings",
            "--no-xattrs",
            f"--subject={subject}",
            f"--body-file={body}",
            f"--skip-list={skip}",
            *(f"--tree=dir={tree}" for tree in trees),
            keep_fds=keep_fds,
        )
        return done.strip()

    def body(self, commit: str) -> str:
        """The text of the message of `commit`, which is one line."""
        return self._run("show", commit).rstrip().rpartition("\n")[2].strip()

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

    def _run(self, verb: str, *arguments: str, keep_fds: Sequence[int] = ()) -> str:
        try:
            process = subprocess.Popen(
                ["ostree", verb, f"--repo={self._repository}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8"},
                pass_fds=(*keep_fds, *([] if self.lock is None else [self.lock])),
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
            raise FtosError(f"the image store refused to {verb}: {quote(said)}", "`ostree fsck` checks the store")
        return output
