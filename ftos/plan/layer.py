# SPDX-License-Identifier: AGPL-3.0-or-later
"""The configuration layer of a deployment: what lies over the image's tree in its container.

The image's files with settings, host facts and the deployment's name filled in, the files which name the container
itself, and empty mount points. It is content, not yet files: `ftos.runtime.layers` writes it down. Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from ftos.plan.records import Directives, LayerEntry
from ftos.spec.records import Deployment, Image, Scalar
from ftos.spec.template import DEPLOYMENT_NAME, render

_HOSTS = "127.0.0.1 localhost {}\n::1 localhost\n"
MOUNT_POINTS = ("/dev", "/proc", "/sys", "/tmp", "/var/tmp", "/home/app", "/run/user/1000")


def scalar_text(value: Scalar) -> str:
    """A setting as it is written into a file: booleans as in YAML."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def render_layer(
    deployment: Deployment,
    image: Image,
    host: Mapping[str, str],
    directives: Sequence[Directives],
    hostname: str,
) -> tuple[LayerEntry, ...]:
    """The entries of the layer, sorted by path.

    host: the host's facts, `HostFacts.values`. Of two entries with one path the later wins: mount points, volumes,
    directives, the container's own files, the image's files.
    """
    values = {f"host.{name}": value for name, value in host.items()} | {DEPLOYMENT_NAME: deployment.name}
    values |= {
        f"settings.{name}": scalar_text(deployment.settings.get(name, setting.default))
        for name, setting in image.settings.items()
    }
    machine_id = hashlib.sha256(f"machine-id:{deployment.id}".encode()).hexdigest()[:32]
    entries = [
        *(LayerEntry(path=path, kind="directory") for path in MOUNT_POINTS),
        *(LayerEntry(path=volume.path, kind="directory") for volume in image.volumes),
        *(entry for directive in directives for entry in directive.layer),
        LayerEntry(path="/etc/hostname", kind="file", content=f"{hostname}\n", mode=0o644),
        LayerEntry(path="/etc/hosts", kind="file", content=_HOSTS.format(hostname), mode=0o644),
        LayerEntry(path="/etc/machine-id", kind="file", content=f"{machine_id}\n", mode=0o444),
        *(
            LayerEntry(path=file.path, kind="file", content=render(file.content, values), mode=int(file.mode, 8))
            for file in image.files
        ),
    ]
    return tuple(sorted({entry.path: entry for entry in entries}.values(), key=lambda entry: entry.path))


def layer_digest(entries: Sequence[LayerEntry]) -> str:
    """Names the content: 64 hex digits."""
    return hashlib.sha256(msgspec.json.encode(entries)).hexdigest()
