# SPDX-License-Identifier: AGPL-3.0-or-later
"""The descriptors of this device: finds them by kind and name, reads them when asked, never sooner.

    <directory>/osbases/<distro>/<release>/osbase.yml     keys/ and files/ beside it
    <directory>/{images,services,deployments}/<name>.yml
    /etc/ftos/host.yml

The directories are those of `ftos.host.places`; the owner's come before the shipped ones and win over them. The name of
a file and the name in it are always the same. Nothing is kept: a changed file is seen at the next call.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar, get_args

from ftos.errors import BadInput, FtosError, NotFound, quote
from ftos.host.files import read_limited
from ftos.host.places import Places
from ftos.spec.load import load_as, locate
from ftos.spec.problems import DescriptorError, DescriptorErrors, Finding, did_you_mean
from ftos.spec.records import Deployment, Host, Image, Name, Osbase, OsbaseName, Service
from ftos.spec.yamltext import MAX_BYTES

R = TypeVar("R", Osbase, Image, Service, Deployment)

_SUFFIX = ".yml"


class Catalog:
    """All descriptors below `places`. Reading raises NotFound, with what may have been meant, or DescriptorErrors."""

    def __init__(self, places: Places) -> None:
        self.places = places

    def osbase(self, name: str) -> Osbase:
        return _named(self.path("osbase", name), Osbase, name)

    def image(self, name: str) -> Image:
        return _named(self.path("image", name), Image, name)

    def service(self, name: str) -> Service:
        return _named(self.path("service", name), Service, name)

    def deployment(self, name: str) -> Deployment:
        return _named(self.path("deployment", name), Deployment, name)

    def host(self) -> Host:
        """The owner's words about the device; none when there is no host.yml."""
        try:
            return load_as(self.places.etc / "host.yml", Host)
        except NotFound:
            return Host(kind="host", schema=1)

    def services(self) -> tuple[Service, ...]:
        """All service instances, by name. Raises DescriptorErrors with the errors of all files."""
        found: list[Service] = []
        errors: list[DescriptorError] = []
        for name in self.names("service"):
            try:
                found.append(_named(self._file("service", name), Service, name))
            except DescriptorErrors as broken:
                errors += broken.errors
        if errors:
            raise DescriptorErrors(errors)
        return tuple(found)

    def same_id(self, deployment: Deployment) -> str | None:
        """The name of another deployment with the id of this one, None when it has the id for itself.

        Both would have one directory of data and one range of ids. Broken files do not count: they deploy nothing.
        """
        for name in self.names("deployment"):
            with suppress(FtosError):
                if name != deployment.name and self.deployment(name).id == deployment.id:
                    return name
        return None

    def names(self, kind: str) -> list[str]:
        """The names of all descriptors of a kind (`osbase`, `image`, `service`, `deployment`), sorted; none is read."""
        listing = _osbase_names if kind == "osbase" else _file_names
        return sorted({name for directory in self.places.descriptor_directories(kind) for name in listing(directory)})

    def path(self, kind: str, name: str) -> Path:
        """Where the descriptor of this kind and name is. Raises NotFound."""
        pattern = get_args(OsbaseName if kind == "osbase" else Name)[1].pattern
        if re.search(pattern, name):  # else it could leave the directory
            below = f"{name}/osbase.yml" if kind == "osbase" else name + _SUFFIX
            for directory in self.places.descriptor_directories(kind):
                if (directory / below).exists():
                    return directory / below
        names = self.names(kind)
        hint = did_you_mean(name, names) or (f"there are: {', '.join(names[:20])}" if names else "there are none yet")
        raise NotFound(f"there is no {kind} {quote(name)}", hint)

    def _file(self, kind: str, name: str) -> Path:
        """The first file with this stem, whatever the name looks like."""
        candidates = [directory / (name + _SUFFIX) for directory in self.places.descriptor_directories(kind)]
        return next(filter(Path.exists, candidates), candidates[0])


def _named(path: Path, record: type[R], name: str) -> R:
    """Read the record, and see that it is called what its file is called."""
    loaded = load_as(path, record)
    if loaded.name != name:
        finding = Finding(("name",), f"{quote(loaded.name)} is not what the file is called", f"write name: {name}")
        raise DescriptorErrors(locate(read_limited(path, MAX_BYTES), path, [finding]))
    return loaded


def _file_names(directory: Path) -> Iterator[str]:
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                if entry.name.endswith(_SUFFIX) and not entry.name.startswith("."):
                    yield entry.name.removesuffix(_SUFFIX)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        raise BadInput(f"can't list {quote(directory)}: {error.strerror}") from error


def _osbase_names(directory: Path) -> Iterator[str]:
    for path in directory.glob("*/*/osbase.yml"):
        yield f"{path.parent.parent.name}/{path.parent.name}"
