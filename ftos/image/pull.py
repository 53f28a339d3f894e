# SPDX-License-Identifier: AGPL-3.0-or-later
"""The mechanics of a pull: from a server that may be hostile to a repository whose commit is known to be signed.

    workshop.config           what the containers may read: the key, how the remote is reached
    workshop.directory/here   ostree repository with the one commit that resembles what will come
    workshop.fetch/child      ostree repository, mode bare-user, written by the containers; foreign ids
    workshop.fetch/delta      a static delta, as it was downloaded
    workshop.directory/taken  root's own repository, mode bare-user: the objects of `child`, moved

Everything that a server says is read by an unprivileged process, in a container that has network and no files of this
host. A second container, without network, says whether the commit has the right signature: it begins with the bytes of
the commit, whose checksum was computed here. Root opens the objects only after that. A server can be of no use, and no
more: time and size are bounded.

A commit that is here already saves most of the download: a static delta leads from there to the new one, and of other
images with the same base only those files are fetched that differ.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ftos.errors import BuildError, quote
from ftos.host.trees import directory, directory_beneath, read_beneath
from ftos.image.download import SLOWEST, Order
from ftos.image.online import CONFIG, ENVIRONMENT, FETCH, download_command, online_binds, parse_download, proxies
from ftos.image.ostree import Ostree
from ftos.image.watchdog import fetching
from ftos.image.workshop import Workshop
from ftos.plan.containers import foreign_bind, host_bind

LOOK_SECONDS = 60
"""Within which a server must have told what it has."""
SUMMARY_LIMIT = 64 << 20
"""Bytes of the list of all that a server has, and of one commit."""

_CHILD = f"{FETCH}/child"
_DELTA = f"{FETCH}/delta"
_HERE = "/ftos/here"
_TAKEN = "/ftos/taken"
_LOCAL = "/ftos/remote"
_ENVIRONMENT = {**ENVIRONMENT, "OSTREE_GPG_HOME": f"{CONFIG}/none"}  # else the host's own keys would count as well
_BOUNDED = 'mkdir -p /var/tmp && ulimit -f "$1" && shift && exec timeout -k 5 "$@"'
"""In `sh -c`: blocks of 512 bytes that a file may have, seconds, command. ostree wants a /var/tmp."""
_SET_UP = f'ostree init --repo="$1" --mode=bare-user && cat {CONFIG}/remote >> "$1/config"'
_CHECK = (
    f'mkdir -p /var/tmp && set -- /tmp/check "$1" && {_SET_UP} && exec ostree pull-local --repo="$1" --remote=remote '
    f'--gpg-verify --untrusted --commit-metadata-only {_TAKEN} "$2"'
)
_COMMIT = re.compile(rb"[0-9a-f]{64}\n?")
_OBJECT = re.compile(r"[0-9a-f]{62}\.(commit|commitmeta|dirmeta|dirtree|file)")


class Pull:
    """Of one ref from one remote. Every method raises FtosError when the server, or what came, is of no use."""

    def __init__(self, workshop: Workshop, url: str, key: bytes, ref: str, store: Path, here: str | None) -> None:
        """key: content of the file with the public key. store: the repository with the commit `here`, if there is one
        that resembles what will come."""
        self.taken = workshop.directory / "taken"
        self._workshop = workshop
        self._store = store
        self._url = url.rstrip("/")
        self._ref = ref
        self._here = here
        self._commit = ""
        self._local = Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None
        if self._local is not None:
            if not self._local.is_dir():
                raise BuildError(f"there is no directory {quote(self._local)}")
            self._url = f"file://{_LOCAL}"
        self._configure(key)

    def look(self) -> str:
        """The commit that the remote has; the signature is the right one. Of its files none is here yet."""
        workshop = self._workshop
        pull = self._ostree("pull", "--commit-metadata-only", "--network-retries=1", "remote", self._ref)
        self._run("set-up", ["/bin/sh", "-c", _SET_UP, "sh", _CHILD], LOOK_SECONDS, SUMMARY_LIMIT, network=False)
        try:
            self._run("look", pull, LOOK_SECONDS, SUMMARY_LIMIT)
        except BuildError as error:
            if "signature" not in error.message and "summary.sig" not in error.message:
                raise
            # Between its list and the signature of it a server may have been changed by its owner.
            self._run("look", pull, LOOK_SECONDS, SUMMARY_LIMIT)
        with directory(workshop.fetch) as fetch:
            commit = read_beneath(fetch, f"child/refs/remotes/remote/{self._ref}", 65) or b""
        if not _COMMIT.fullmatch(commit):
            raise BuildError("what the server gave for a commit is none")
        self._commit = commit.decode().strip()
        self._take()
        name = f"objects/{self._commit[:2]}/{self._commit[2:]}.commit"
        with directory(self.taken) as taken:
            content = read_beneath(taken, name, SUMMARY_LIMIT) or b""
        if hashlib.sha256(content).hexdigest() != self._commit:
            raise BuildError("the commit that the server gave is damaged")
        self._check_signature()
        return self._commit

    def fetch(self, size: int, is_former: bool) -> None:
        """Get the files of the commit into `taken`; those which are here already are not among them.

        size: bytes of all files, as the signed manifest has it. is_former: the commit `here` is the same image, before.
        """
        # Objects may be larger than what is in them, and directories count too.
        limit = size + size // 2 + SUMMARY_LIMIT
        with (self.taken / "config").open("a") as file:
            file.write(f"[core]\nparent={self._store}\n")
        seconds = LOOK_SECONDS + limit // SLOWEST
        # Without a delta from what is here, single files: those that are here are not fetched again.
        if not ((is_former or self._here is None) and self._by_delta(limit, seconds)):
            pull = self._ostree("pull", "--disable-static-deltas", "--network-retries=2", "remote", self._commit)
            self._run("pull of the files", pull, seconds, limit)
        self._take()
        # The signature was looked at, and its checksum is nobody's: the store has no use for it.
        (self.taken / f"objects/{self._commit[:2]}/{self._commit[2:]}.commitmeta").unlink(missing_ok=True)

    # --- inside ---

    def _configure(self, key: bytes) -> None:
        workshop = self._workshop
        remote = f"[core]\nfsync=false\n{'' if self._here is None else f'parent={_HERE}'}\n"
        remote += f'[remote "remote"]\nurl={self._url}\n'
        remote += f"gpg-verify=true\ngpg-verify-summary=true\ngpgkeypath={CONFIG}/key\n"
        (workshop.config / "remote").write_text(remote)
        (workshop.config / "key").write_bytes(key)
        (workshop.config / "none").mkdir()
        here = Ostree(workshop.directory / "here", "the copy of what is here")
        here.initialise()
        if self._here is not None:
            # Hardlinks of the objects of this commit only: what else is in the store is nobody's business.
            here.pull_local(self._store, self._here)
        Ostree(self.taken, "what was pulled").initialise("bare-user")
        for name in ("child", "delta"):
            workshop.make_foreign(workshop.fetch / name)

    def _check_signature(self) -> None:
        command = ["/bin/sh", "-c", _CHECK, "sh", self._commit]
        binds = [host_bind(self._workshop.config, CONFIG), foreign_bind(self.taken, _TAKEN, read_only=True)]
        binds.append(foreign_bind(self._workshop.directory / "here", _HERE, read_only=True))
        self._workshop.with_tools("look at the signature", command, binds, _ENVIRONMENT)

    def _by_delta(self, limit: int, seconds: int) -> bool:
        """Whether there was a static delta, and all is in it.

        ostree's own client gets most files of a delta a second time, one by one, when the commit is signed with GPG: it
        begins to look for what is missing as soon as it has the signature.
        """
        place = f"{self._url}/{delta_path(self._here, self._commit)}/"
        orders = [
            Order([(f"{place}superblock", "there is no delta")], "superblock", limit),
            Order([(place, "part of the delta ")], "", limit, numbered=True),
        ]
        command = download_command(self._workshop, orders, "delta")
        try:
            self._run("download of a delta", command, seconds, limit, self._count)
            apply = self._ostree("static-delta", "apply-offline", _DELTA)
            self._run("use of the delta", apply, seconds, limit, network=False)
        except BuildError:
            return False
        return True

    def _count(self, line: bytes) -> bool:
        progress = parse_download(line)
        if progress is not None:
            self._workshop.progress.update(0, 0, f"{progress[1]} MiB")
        return progress is not None

    def _take(self) -> None:
        """Move the objects of `child`, as far as they are regular files, to `taken`; what is there stays."""
        with directory(self._workshop.fetch) as fetch, directory_beneath(fetch, "child/objects") as objects:
            for prefix in filter(re.compile("[0-9a-f]{2}").fullmatch, os.listdir(objects)):
                target = self.taken / "objects" / prefix
                target.mkdir(exist_ok=True)
                target.chmod(0o755)
                with directory(prefix, objects) as below, directory(target) as beside:
                    known = set(os.listdir(beside))
                    for name in filter(_OBJECT.fullmatch, os.listdir(below)):
                        status = os.stat(name, dir_fd=below, follow_symlinks=False)
                        if name not in known and stat.S_ISREG(status.st_mode):
                            os.rename(name, name, src_dir_fd=below, dst_dir_fd=beside)

    def _ostree(self, verb: str, *arguments: str) -> list[str]:
        return ["ostree", verb, *arguments, f"--repo={_CHILD}"]

    def _run(
        self,
        step: str,
        command: Sequence[str],
        seconds: int,
        limit: int,
        is_progress: Callable[[bytes], bool] = lambda line: False,
        network: bool = True,
    ) -> None:
        """limit: bytes of the largest file that may be written."""
        binds = [
            *online_binds(self._workshop),
            foreign_bind(self._workshop.directory / "here", _HERE, read_only=True),
            *([] if self._local is None else [host_bind(self._local, _LOCAL)]),
        ]
        shell = ["/bin/sh", "-c", _BOUNDED, "sh", str(limit // 512), str(seconds), *command]
        environment = _ENVIRONMENT | (proxies() if network else {})
        patience = fetching(limit) if network else None
        self._workshop.with_tools(step, shell, binds, environment, is_progress, patience)


def delta_path(before: str | None, commit: str) -> str:
    """Where ostree keeps the delta between two commits, relative to the repository."""
    name = "-".join(_short(checksum) for checksum in (before, commit) if checksum is not None)
    return f"deltas/{name[:2]}/{name[2:]}"


def _short(checksum: str) -> str:
    return base64.b64encode(bytes.fromhex(checksum)).decode().rstrip("=").replace("/", "_")
