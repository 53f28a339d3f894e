# SPDX-License-Identifier: AGPL-3.0-or-later
"""What a container sees that fetches packages or images: what root ordered, where it may write, how names are looked up
and mirrors reached. One way for all package managers and for remotes. What the container wrote is hostile."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import unquote

from ftos.image import download
from ftos.image.workshop import Workshop
from ftos.plan.containers import foreign_bind, host_bind
from ftos.plan.records import Mount, MountFlag

CONFIG = "/ftos/config"
"""Where the container finds `workshop.config`, which root alone writes."""
FETCH = "/ftos/fetch"
"""Where it sees `workshop.fetch`, and writes."""
ENVIRONMENT = {
    "HOME": "/",
    "LC_ALL": "C.UTF-8",
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
}
PYTHON = str(Path(sys.executable).resolve())
"""What runs our own programs there."""
_NAME_SERVICE = ("gai.conf", "hosts", "nsswitch.conf", "resolv.conf", "services", "ssl/cert.pem")
_DOWNLOADED = re.compile(rb"\(([0-9]{1,6})/[0-9]{1,6}\) \S{1,255} ([0-9]{1,9}) MiB")
_PROXIES = ("all_proxy", "http_proxy", "https_proxy", "no_proxy")


def online_binds(workshop: Workshop) -> list[Mount]:
    """`CONFIG`, `FETCH`, and what of the host's /etc says how to reach others."""
    optional = MountFlag.FILE | MountFlag.OPTIONAL
    binds = [
        host_bind(workshop.config, CONFIG),
        foreign_bind(workshop.fetch, FETCH, read_only=False),
        *(host_bind(Path("/etc", name), f"/etc/{name}", optional) for name in _NAME_SERVICE),
    ]
    if not PYTHON.startswith("/usr/"):
        prefix = Path(sys.base_prefix).resolve()
        binds.append(host_bind(prefix, str(prefix)))
    return binds


def proxies() -> dict[str, str]:
    """The variables of this process's environment that name proxies."""
    return {name: value for name, value in os.environ.items() if name.lower() in _PROXIES}


def local_directory(url: str) -> str:
    """Where the container sees the directory of a `file:///` URL."""
    return f"/ftos/local/{hashlib.sha256(url.encode()).hexdigest()[:16]}"


def local_binds(urls: Iterable[str]) -> list[Mount]:
    """The directories of those `urls` which are `file:///`."""
    local = sorted({url for url in urls if url.startswith("file:///")})
    return [
        host_bind(Path(unquote(url.removeprefix("file://"))), local_directory(url), MountFlag.OPTIONAL) for url in local
    ]


def as_seen(url: str, mirrors: Iterable[str], scheme: str = "file") -> str:
    """`url` as the container must write it that has the `local_binds` of `mirrors`; `scheme` is for what is in them."""
    for mirror in sorted(mirrors, key=len, reverse=True):
        if mirror.startswith("file:///") and url.startswith(mirror.rstrip("/") + "/"):
            return f"{scheme}:{local_directory(mirror)}/{url.removeprefix(mirror.rstrip('/')).lstrip('/')}"
    return url


def as_known(url: str, mirrors: Iterable[str], scheme: str) -> str:
    """The way back: the `url` of such a container as everybody else must write it."""
    for mirror in mirrors:
        seen = f"{scheme}:{local_directory(mirror)}/"
        if mirror.startswith("file:///") and url.startswith(seen):
            return f"{mirror.rstrip('/')}/{url.removeprefix(seen)}"
    return url


def download_command(workshop: Workshop, orders: Sequence[download.Order], place: str) -> list[str]:
    """What a container with `online_binds` must run to get `orders` into the directory `place` of `FETCH`."""
    shutil.copyfile(download.__file__, workshop.config / "download.py")
    (workshop.config / "orders.json").write_text(json.dumps(orders))
    return [PYTHON, "-I", f"{CONFIG}/download.py", f"{CONFIG}/orders.json", f"{FETCH}/{place}"]


def parse_download(line: bytes) -> tuple[int, int] | None:
    """Which order that program is at, from 1, and how many MiB it has got; None for what is no line of progress."""
    match = _DOWNLOADED.fullmatch(line)
    return (int(match[1]), int(match[2])) if match else None
