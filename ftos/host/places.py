# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where things are. Everything below one root, so that nothing of the host is touched in development.

    ROOT/etc/ftos/{host.yml,images,services,deployments}      the owner's descriptors
    ROOT/var/lib/ftos/store/                                  images (see ftos.image.store)
    ROOT/var/lib/ftos/volumes/<deployment id>/<volume>/       app data; foreign ids; only root enters the parents
    ROOT/var/lib/ftos/state/                                  id ranges, configuration layers
    ROOT/var/cache/ftos/                                      packages
    ROOT/run/ftos/instances/<instance>/                       running containers
    ROOT/usr/share/ftos/{osbases,images,services}             shipped; a checkout and a wheel bring their own

The root comes from `--root`, else `FTOS_ROOT`, else `/`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Places:
    root: Path

    @classmethod
    def from_environment(cls, root: str | None = None) -> Places:
        return cls(Path(root or os.environ.get("FTOS_ROOT") or "/").absolute())

    @property
    def etc(self) -> Path:
        return self.root / "etc/ftos"

    @property
    def lib(self) -> Path:
        return self.root / "var/lib/ftos"

    @property
    def store(self) -> Path:
        return self.lib / "store"

    @property
    def volumes(self) -> Path:
        return self.lib / "volumes"

    @property
    def state(self) -> Path:
        return self.lib / "state"

    @property
    def cache(self) -> Path:
        return self.root / "var/cache/ftos"

    @property
    def run(self) -> Path:
        return self.root / "run/ftos"

    @property
    def shipped(self) -> tuple[Path, ...]:
        """Directories with `osbases/`, `images/`, `services/` below; earlier ones win."""
        package = Path(__file__).resolve().parent.parent
        checkout = package.parent
        if (checkout / "osbases").is_dir():
            return (checkout, checkout / "rootfs-overlay/usr/share/ftos")
        return (self.root / "usr/share/ftos", package / "share")

    def descriptor_directories(self, kind: str) -> tuple[Path, ...]:
        """Where descriptors of a kind (`osbase`, `image`, `service`, `deployment`) are; the owner's first.

        Osbases ship with FlyingTux only, deployments are the owner's only.
        """
        below = kind + "s"
        own = () if kind == "osbase" else (self.etc / below,)
        shipped = () if kind == "deployment" else tuple(directory / below for directory in self.shipped)
        return own + shipped
