# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known about this device: architecture, GPU, locale, time zone, owner, package mirrors.

In: the host's own configuration, and the owner's words (host.yml), each of which wins over what is found. Out:
`HostFacts`. Nothing is written, nothing is remembered. The mirrors cost a run of apt-get and are looked up when they
are first asked for.
"""

from __future__ import annotations

import os
import pwd
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ftos.errors import BadInput, quote


class OwnersWords(Protocol):
    """The record of host.yml (`ftos.spec.records.Host`), as far as facts are concerned."""

    @property
    def owner(self) -> str | None: ...
    @property
    def mirrors(self) -> Mapping[str, str]: ...
    @property
    def gpu(self) -> str | None: ...
    @property
    def locale(self) -> str | None: ...
    @property
    def timezone(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Account:
    """A login of this device."""

    name: str
    uid: int
    gid: int
    home: Path


@dataclass(frozen=True)
class HostFacts:
    architecture: str
    """The kernel's word for it: `x86_64`, `aarch64`."""
    gpu: str
    """Kernel driver of the first GPU, `_` written as `-` (`msm`, `virtio-gpu`); `none` without one."""
    locale: str
    timezone: str
    owner: Account | None
    """Whose directories may be lent to apps. None where no account qualifies."""
    own_mirrors: Mapping[str, str] = field(default_factory=dict)
    """Mirrors that the owner named in host.yml."""

    @cached_property
    def mirrors(self) -> dict[str, str]:
        """Role of a mirror (`debian`, `debian-security`) → URL without trailing slash; the owner's words win."""
        return {**_host_mirrors(), **{role: url.rstrip("/") for role, url in self.own_mirrors.items()}}


def gather(host: OwnersWords, root: Path = Path("/")) -> HostFacts:
    """Facts of the device whose file system is `root` (accounts: of the running one).

    Raises BadInput when `host` names an owner that has no account here.
    """
    return HostFacts(
        architecture=os.uname().machine,
        gpu=host.gpu or _gpu(root),
        locale=host.locale or _locale(root),
        timezone=host.timezone or _timezone(root),
        owner=_owner(host.owner),
        own_mirrors=dict(host.mirrors),
    )


def _owner(name: str | None) -> Account | None:
    if name is not None:
        try:
            return _account(pwd.getpwnam(name))
        except KeyError:
            raise BadInput(
                f"the owner {quote(name)} has no account on this device", "correct `owner:` in host.yml"
            ) from None
    sudo_uid = os.environ.get("SUDO_UID", "")
    candidates = [1000, *([int(sudo_uid)] if sudo_uid.isascii() and sudo_uid.isdecimal() else [])]
    for uid in candidates:
        try:
            return _account(pwd.getpwuid(uid))
        except (KeyError, OverflowError):
            continue
    return None


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


def _gpu(root: Path) -> str:
    for driver in sorted(root.glob("sys/class/drm/card*/device/driver")):
        return driver.resolve().name.lower().replace("_", "-")
    return "none"


def _locale(root: Path) -> str:
    for name in ("etc/locale.conf", "etc/default/locale"):
        for line in _lines(root / name):
            key, _, value = line.partition("=")
            if key.strip() == "LANG" and value.strip(" \t\"'"):
                return value.strip(" \t\"'")
    return "C.UTF-8"


def _timezone(root: Path) -> str:
    try:
        target = str((root / "etc/localtime").readlink())
    except OSError:
        target = ""
    _, found, zone = target.partition("/zoneinfo/")
    if found and zone:
        return zone
    return next((line.strip() for line in _lines(root / "etc/timezone") if line.strip()), "Etc/UTC")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


# --- mirrors --------------------------------------------------------------------------------------------------------

_ROLES = {"Debian": "debian", "Debian-Security": "debian-security"}
"""What Debian's archives call themselves (`Label:` of their signed Release files) → role of the mirror."""


def _host_mirrors() -> dict[str, str]:
    """Roles which the host's apt configuration serves.

    An archive is known by its label, once its indexes are there; before, by how mirrors of Debian are laid out (the
    last part of the path). A wrong guess is harmless: the archive's signature is checked against the osbase's keys.
    """
    labelled = _index_targets("$(LABEL)|$(COMPONENT)|$(REPO_URI)")
    found = _first_of_each((_ROLES.get(label), url) for label, _, url in labelled)
    if len(found) < len(_ROLES):
        plain = _index_targets("?|$(COMPONENT)|$(REPO_URI)", "--no-release-info")
        guessed = ((_role_by_path(url), url) for _, component, url in plain if component == "main")
        found = {**_first_of_each(guessed), **found}
    return found


def _index_targets(form: str, *options: str) -> list[tuple[str, str, str]]:
    """What `apt-get indextargets` says of each package index: three fields. Empty on a host without apt."""
    try:
        done = subprocess.run(
            ["apt-get", "indextargets", *options, "--format", form, "Identifier: Packages"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env={**os.environ, "LC_ALL": "C"},
            check=False,
        )
    except OSError:
        return []
    rows = (line.split("|", 2) for line in done.stdout.splitlines())
    return [(row[0], row[1], row[2]) for row in rows if len(row) == 3]


def _first_of_each(pairs: Iterable[tuple[str | None, str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for role, written in pairs:
        url = _plain_url(written)
        if role is not None and url is not None:
            found.setdefault(role, url)
    return found


def _role_by_path(url: str) -> str | None:
    last = urlsplit(url).path.rstrip("/").rpartition("/")[2].removesuffix(".list")
    return last if last in _ROLES.values() else None


def _plain_url(written: str) -> str | None:
    """An URL that means the same on its own. A `mirror+file:` list (Debian's cloud images) stands for its first."""
    if written.startswith("mirror+file:"):
        rows = (line.split() for line in _lines(Path(urlsplit(written).path.rstrip("/"))))
        written = next((row[0] for row in rows if row and not row[0].startswith("#")), "")
    return written.rstrip("/") if written.startswith(("http://", "https://", "file:///")) else None
