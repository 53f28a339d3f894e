# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changing deployment files: one writer at a time, nothing invalid saved, `name` and `id` fixed for life.

Writers hold a lock (flock) on `STATE/deployments.lock`, in a directory which nobody but root enters: nobody else can
keep them waiting.
"""

from __future__ import annotations

import fcntl
import itertools
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ftos.cli.context import App
from ftos.cli.crosscheck import cross_check
from ftos.cli.output import note
from ftos.errors import BadInput, quote
from ftos.host.files import write_atomically
from ftos.spec.load import load_text
from ftos.spec.records import Deployment, Name

Edit = Callable[[str], str]
"""A change of a descriptor's text."""


def check_name(name: str) -> None:
    """Refuse what can't be the name of a deployment."""
    try:
        msgspec.convert(name, Name)
    except msgspec.ValidationError:
        raise BadInput(
            f"{quote(name)} can't be a name", "a name is lower case letters, digits and '-', at most 63 of them"
        ) from None


@contextmanager
def locked(app: App, *, dry_run: bool = False) -> Iterator[None]:
    """Hold the deployments still. A dry run changes nothing, so it takes no lock and makes no file for one."""
    if dry_run:
        yield
        return
    app.places.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    with open(app.places.state / "deployments.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def checked(app: App, text: str | bytes, path: Path, former: Deployment | None = None) -> Deployment:
    """The record of a deployment's text, checked by itself and against image and services.

    former: what it replaces; its name and id may not change.
    """
    deployment = load_text(text, path, "deployment")
    assert isinstance(deployment, Deployment)
    if former is not None:
        for key, new, old in (("name", deployment.name, former.name), ("id", deployment.id, former.id)):
            if new != old:
                raise BadInput(
                    f"{quote(path)}: {key} must stay {quote(old)}, it says {quote(new)}",
                    "a deployment keeps its name and id; `ftos deploy --name` makes another one",
                )
    for warning in cross_check(app.catalog, deployment, text, path, installed=True):
        note(f"warning: {warning}")
    return deployment


def save(path: Path, text: str | bytes) -> None:
    """Write a checked descriptor durably; the directory is made when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode() if isinstance(text, str) else text, 0o644)


def change(app: App, name: str, edit: Edit, *, dry_run: bool) -> Deployment:
    """Put `edit` (text → text) over a deployment's file, check the result and save it."""
    with locked(app, dry_run=dry_run):
        former = app.catalog.deployment(name)
        path = app.catalog.path("deployment", name)
        text = edit(path.read_text(encoding="utf-8"))
        deployment = checked(app, text, path, former)
        if not dry_run:
            save(path, text)
    if not dry_run and app.running(deployment.id):
        note(f"{name} is running; this takes effect at its next start")
    return deployment


def free_name(app: App, image: str) -> str:
    """The image's name, or the next of NAME-2, NAME-3, ... that no deployment has."""
    directory = app.places.descriptor_directories("deployment")[0]
    candidates = (image if count == 1 else f"{image[:58]}-{count}" for count in itertools.count(1))
    return next(name for name in candidates if not (directory / f"{name}.yml").exists())


def new_id(app: App) -> str:
    """An id which no deployment has, and no data that was left behind."""
    directory = app.places.descriptor_directories("deployment")[0]
    texts = [path.read_bytes() for path in directory.glob("*.yml")]
    while True:
        identity = f"d-{secrets.token_hex(4)}"
        if not (app.places.volumes / identity).exists() and not any(identity.encode() in text for text in texts):
            return identity
