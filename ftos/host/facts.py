# SPDX-License-Identifier: AGPL-3.0-or-later
"""What is known about this device: architecture, GPU, locale, time zone, owner, package mirrors.

In: the host's own configuration, and the owner's words (host.yml), each of which wins over what is found. Out:
`HostFacts`, in which every fact knows where it is from. Nothing is written, nothing is remembered. The mirrors cost a
run of apt-get and are looked up when they are first asked for.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

from ftos.errors import BadInput, quote

HOST_YML = "host.yml"
DEFAULT = "built-in default"
_LOCALE = re.compile(r"[A-Za-z][A-Za-z0-9_.@-]{0,62}")
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,62}")
"""What is found goes into commands and environments: as strict as the same keys of host.yml are."""


class OwnersWords(Protocol):
    """The record of host.yml (`ftos.spec.records.Host`), as far as facts are concerned."""

    @property
    def owner(self) -> str | None: ...
    @property
    def architecture(self) -> str | None: ...
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
    """Kernel driver of the GPU that renders, `_` written as `-` (`msm`, `lima`, `virtio-gpu`); `none` without one."""
    locale: str
    timezone: str
    owner: Account | None
    """Whose directories may be lent to apps. None where no account qualifies."""
    own_mirrors: Mapping[str, str] = field(default_factory=dict)
    """Mirrors that the owner named in host.yml."""
    origins: Mapping[str, str] = field(default_factory=dict)
    """Name of a fact → where it is from: `host.yml`, a file of this device, or words."""

    @property
    def language(self) -> str:
        """Language of the locale: `de` of `de_DE.UTF-8`; `c` of `C.UTF-8` and `POSIX`, which are no language."""
        name = re.split("[_.@]", self.locale, maxsplit=1)[0].lower()
        return "c" if name == "posix" else name

    def values(self) -> dict[str, str]:
        """The facts that `${host.…}` may name (`ftos.spec.template.HOST_FACTS`)."""
        return {
            "architecture": self.architecture,
            "gpu": self.gpu,
            "language": self.language,
            "locale": self.locale,
            "timezone": self.timezone,
        }

    @cached_property
    def mirrors(self) -> dict[str, str]:
        """Role of a mirror (`debian`, `debian-security`) → URL without trailing slash; the owner's words win."""
        own = {role: url.rstrip("/") for role, url in self.own_mirrors.items()}
        return {**_host_mirrors(), **apk_mirror(Path("/etc/apk/repositories")), **own}

    def mirror(self, role: str) -> str | None:
        """URL of one mirror, as in `mirrors`; the host's package manager is not asked for what the owner has named."""
        own = self.own_mirrors.get(role)
        return own.rstrip("/") if own is not None else self.mirrors.get(role)


def gather(host: OwnersWords, root: Path = Path("/")) -> HostFacts:
    """Facts of the device whose file system is `root` (accounts and kernel: of the running one).

    Raises BadInput when `host` names an owner that has no account here.
    """
    found = {
        "architecture": _said(host.architecture) or (os.uname().machine, "the running kernel"),
        "gpu": _said(host.gpu) or _gpu(root),
        "locale": _said(_spelled(host.locale)) or _locale(root),
        "timezone": _said(host.timezone) or _timezone(root),
    }
    owner, owner_origin = _owner(host.owner)
    return HostFacts(
        **{name: value for name, (value, _) in found.items()},
        owner=owner,
        own_mirrors=dict(host.mirrors),
        origins={name: origin for name, (_, origin) in found.items()} | {"owner": owner_origin},
    )


def _said(value: str | None) -> tuple[str, str] | None:
    return None if value is None else (value, HOST_YML)


def _owner(name: str | None) -> tuple[Account | None, str]:
    if name is not None:
        try:
            return _account(pwd.getpwnam(name)), HOST_YML
        except KeyError:
            raise BadInput(
                f"the owner {quote(name)} has no account on this device", "correct `owner:` in host.yml"
            ) from None
    sudo_uid = os.environ.get("SUDO_UID", "")
    candidates = [(1000, "the account with uid 1000")]
    if sudo_uid.isascii() and sudo_uid.isdecimal():
        candidates.append((int(sudo_uid), "the account that called sudo"))
    for uid, origin in candidates:
        try:
            return _account(pwd.getpwuid(uid)), origin
        except (KeyError, OverflowError):
            continue
    return None, DEFAULT


def _account(entry: pwd.struct_passwd) -> Account:
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid, Path(entry.pw_dir))


_DRIVERS = {
    **dict.fromkeys(("adreno", "mdp4", "msm-dpu", "msm-mdp", "msm-mdss"), "msm"),
    **dict.fromkeys(("vc4-drm", "vc4-v3d"), "vc4"),
}
"""Parts of a driver that call themselves otherwise → the driver."""


def _gpu(root: Path) -> tuple[str, str]:
    """The driver of the first device which renders; else of the first which shows.

    On a phone they are often two: the first card of a PinePhone is its display engine, `lima` renders.
    """
    for kind in ("renderD*", "card*"):
        for link in sorted(root.glob(f"sys/class/drm/{kind}/device/driver")):
            name = re.sub("[^a-z0-9]+", "-", link.resolve().name.lower()).strip("-")
            return _DRIVERS.get(name, name), f"/{link.parents[1].relative_to(root)}"
    return "none", "no device in /sys/class/drm"


def _spelled(locale: str | None) -> str | None:
    """As lists of locales have it: glibc takes `de_DE.utf8`, they have `de_DE.UTF-8`."""
    return locale and re.sub(r"(?i)\.utf-?8\b", ".UTF-8", locale)


def _locale(root: Path) -> tuple[str, str]:
    for name in ("etc/locale.conf", "etc/default/locale"):
        for line in _lines(root / name):
            key, _, value = line.partition("=")
            value = _spelled(value.strip(" \t\"'")) or ""
            if key.strip() == "LANG" and _LOCALE.fullmatch(value):
                return value, f"/{name}"
    return "C.UTF-8", DEFAULT


def _timezone(root: Path) -> tuple[str, str]:
    try:
        target = str((root / "etc/localtime").readlink())
    except OSError:
        target = ""
    zones = [(target.partition("/zoneinfo/")[2], "/etc/localtime")]
    zones += [(line.strip(), "/etc/timezone") for line in _lines(root / "etc/timezone")]
    return next(((zone, origin) for zone, origin in zones if _ZONE.fullmatch(zone)), ("Etc/UTC", DEFAULT))


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


_APK_MAIN = re.compile(r"((?:https?|file)://[^\s$]+?)/(?:v[0-9]+\.[0-9]+|edge|latest-stable)/main/?")


def apk_mirror(repositories: Path) -> dict[str, str]:
    """The role `alpine`, by the first line of an /etc/apk/repositories that names Alpine's own `main`; empty without
    one. Every release is below the same URL."""
    found = (_APK_MAIN.fullmatch(line.strip()) for line in _lines(repositories))
    return next(({"alpine": match[1]} for match in found if match), {})


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
