# SPDX-License-Identifier: AGPL-3.0-or-later
"""Interface `user-dir`: a directory of the owner, shown to an app.

Only the ids of the owner are mapped: what belongs to others in there is nobody's, and can't be written. Mounts below
the directory are not followed. Without a writing right it is mounted read-only; with all of them writable; with some
of them writable, and landlock allows those alone.

Where one instance lies inside another's directory, an app that may write there could replace a part of the path by a
symlink: behind the outer directory, symlinks are refused.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from ftos.errors import BadInput, Unsupported, quote
from ftos.plan.records import (
    ACCESS_READ,
    ACCESS_WRITE,
    APP_ID,
    Access,
    Directives,
    IdMap,
    LandlockRule,
    LayerEntry,
    Mount,
    MountFlag,
    MountKind,
)
from ftos.services.interface import Binder, Interface, Provider
from ftos.spec.defaults import READING, default_path
from ftos.spec.records import Right, Service

WRITING: dict[Right, Access] = {
    "write": Access.WRITE_FILE | Access.TRUNCATE,
    "create": Access.MAKE_REG | Access.MAKE_SYM | Access.MAKE_FIFO | Access.MAKE_SOCK,
    "delete": Access.REMOVE_FILE,
    "mkdir": Access.MAKE_DIR,
    "rmdir": Access.REMOVE_DIR,
}
EMPTY_SIZE = 64 << 20
OWN_MAP = 2
"""The first map of the directives' own (Directives.idmaps)."""


def target_of(binder: Binder) -> str:
    """Where the app sees the directory: as bound, else as the image says, else in its home."""
    return binder.binding.path or binder.request.path or default_path(binder.name)


def _access(binder: Binder) -> Access:
    """The landlock rights of the granted rights. A binding that names none grants reading: an image only asks."""
    granted = binder.binding.rights if binder.binding.rights is not None else READING
    if "dummy-write" in granted:
        raise Unsupported(f"{binder.where}: this ftos has no dummy-write yet", "grant list and read, or bind to empty")
    if not set(READING) <= set(granted):
        raise Unsupported(
            f"{binder.where}: a directory can't be shown without both list and read", "grant both, or bind to none"
        )
    access = ACCESS_READ
    for right in granted:
        access |= WRITING.get(right, Access(0))
    if {"create", "delete"} <= set(granted):
        access |= Access.REFER
    return access


def _directory(binder: Binder, service: Service) -> Directives:
    access = _access(binder)
    writable = access != ACCESS_READ
    uid, gid = _ids(binder, service)
    source, beneath = _source(binder, service)
    target = target_of(binder)
    words = "read and write" if access == ACCESS_WRITE else "read" if not writable else _words(access)
    return Directives(
        mounts=(
            Mount(
                kind=MountKind.BIND,
                source=source,
                beneath=beneath,
                target=target,
                idmap=OWN_MAP,
                flags=MountFlag.NO_EXEC | (MountFlag(0) if writable else MountFlag.READ_ONLY),
                purpose=f"{binder.name}: {words} (instance {service.name})",
            ),
        ),
        idmaps=(IdMap(uid=uid, gid=gid, outside=APP_ID, count=1),),
        landlock=(LandlockRule(path=target, access=access),),
        layer=(LayerEntry(path=target, kind="directory"),),
    )


def _words(access: Access) -> str:
    return ", ".join(("list", "read", *(right for right, bits in WRITING.items() if access & bits == bits)))


def _ids(binder: Binder, service: Service) -> tuple[int, int]:
    """Whose files: as the instance says, else the owner's."""
    uid, gid = service.settings.get("uid"), service.settings.get("gid")
    if binder.owner is not None:
        uid = binder.owner[0] if uid is None else uid
        gid = binder.owner[1] if gid is None else gid
    if not isinstance(uid, int) or not isinstance(gid, int):
        raise BadInput(
            f"{binder.where}: whose directory {quote(service.name)} is, is not known",
            "name the owner's account in host.yml (owner: NAME), or uid and gid in the service's settings",
        )
    if not (0 < uid < 65534 and 0 < gid < 65534):
        raise BadInput(f"{binder.where}: uid {uid}, gid {gid}: only files of a person can be shown, not of the system")
    return uid, gid


def _source(binder: Binder, service: Service) -> tuple[str, str]:
    """The path in two parts: up to the outermost instance around it, and beneath that.

    Where no owner is known, no instance in a home can be around it: it could not be bound.
    """
    path = _path(binder, service)
    outer = [
        candidate
        for other in binder.services.values()
        if other.interface == "user-dir" and other.provider == "directory"
        if binder.owner is not None or not _is_in_home(other)
        if (candidate := _path(binder, other)) != path and path.is_relative_to(candidate)
    ]
    if not outer:
        return str(path), ""
    outermost = min(outer, key=lambda candidate: len(candidate.parts))
    return str(outermost), str(path.relative_to(outermost))


def _path(binder: Binder, service: Service) -> PurePosixPath:
    written = str(service.settings.get("path", ""))
    if not written.startswith(("/", "~/")) or ".." in written.split("/"):
        raise BadInput(f"service {quote(service.name)}: settings.path must be absolute or begin with ~/, without ..")
    if not _is_in_home(service):
        return PurePosixPath("/", written.lstrip("/"))
    if binder.owner is None:
        raise BadInput(
            f"{binder.where}: whose home {written} is in, is not known",
            "name the owner's account in host.yml: owner: NAME",
        )
    return PurePosixPath(binder.owner[2], written[2:].lstrip("/"))


def _is_in_home(service: Service) -> bool:
    return str(service.settings.get("path", "")).startswith("~/")


def _empty(binder: Binder) -> Directives:
    """An empty directory; writes succeed where they would have been granted, and are gone at exit."""
    access = _access(binder)
    target = target_of(binder)
    writable = access != ACCESS_READ
    return Directives(
        mounts=(
            Mount(
                kind=MountKind.TMPFS,
                target=target,
                size=EMPTY_SIZE,
                flags=MountFlag.NO_EXEC | (MountFlag(0) if writable else MountFlag.READ_ONLY),
                purpose=f"{binder.name}: an empty directory" + (", changes are gone at exit" if writable else ""),
            ),
        ),
        landlock=(LandlockRule(path=target, access=access),),
        layer=(LayerEntry(path=target, kind="directory"),),
    )


INTERFACE = Interface(
    title="directory of the owner",
    providers={
        "directory": Provider(
            title="a directory of this device",
            resolve=_directory,
            settings={"path": str, "uid": int, "gid": int},
            required=("path",),
        )
    },
    empty=_empty,
)
