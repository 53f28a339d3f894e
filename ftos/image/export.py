# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images for other devices: from the store into a directory which any web server can serve.

    DIRECTORY/                  ostree repository, mode archive; nothing in it is secret
      refs/heads/image/<name>/<recipe digest>     as in the store; the commit is signed
      refs/heads/former/<name>/<recipe digest>    what it was before; who is amid a download of it can finish
      deltas/                   static deltas to each image: from nothing, and from what it was before
      summary, summary.sig      all refs and deltas, signed

Readers go by the summary, which comes last, when all that it names is there: one that looks in, or an export that dies
on the way, finds what was there before. Between the renames of summary and signature the two do not fit; a reader tries
again then, and so does the next export.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ftos.errors import BadInput, Busy, FtosError, NotFound, quote
from ftos.image.ostree import Ostree
from ftos.image.progress import Progress
from ftos.image.store import BuiltImage, Store

_SHARED = ("objects", "refs", "deltas", "delta-indexes")


@dataclass(frozen=True, slots=True)
class Exported:
    """An image, and whether the directory has had another commit of it, or none."""

    image: BuiltImage
    is_new: bool


def choose(store: Store, names: Sequence[str]) -> list[BuiltImage]:
    """The builds of the images `names`, or of all; one of each recipe. Raises NotFound for one that is not built."""
    images = store.images()
    for name in names:
        if not any(image.name == name for image in images):
            raise NotFound(f"{quote(name)} is not built", f"build it with `ftos image build {name}`")
    return [image for image in images if not names or image.name in names]


def compare(images: Sequence[BuiltImage], target: Path) -> list[Exported]:
    """What an export of `images` to `target` would do."""
    return [Exported(image, _current(target, f"image/{_place(image)}") != image.commit) for image in images]


def export(
    store: Store, images: Sequence[BuiltImage], target: Path, key: str, home: Path, progress: Progress
) -> list[Exported]:
    """Bring `images` to `target`, which is made if need be, signed with the GPG key `key` of the GPG directory `home`.

    Raises FtosError; readers find then what was there before.
    """
    served = Ostree(target, quote(target))
    with _locked(target):
        served.initialise("archive")
        found = compare(images, target)
        new = [exported.image for exported in found if exported.is_new]
        for number, image in enumerate(new):
            progress.stage(f"{image.name}: copy, sign and make deltas")
            progress.update(number, len(new), image.name)
            with store.reading():
                served.pull_local(store.repository, image.commit)
            served.sign(image.commit, key, home)
            before = _current(target, f"image/{_place(image)}")
            for start in {None, before}:
                served.make_delta(image.commit, start)
            if before is not None:
                served.set_ref(f"former/{_place(image)}", before)
            served.set_ref(f"image/{_place(image)}", image.commit)
        progress.stage("sign the list of all")
        _write_summary(target, key, home)
        served.prune()
    return found


def _place(image: BuiltImage) -> str:
    return f"{image.name}/{image.digest}"


def _current(target: Path, ref: str) -> str | None:
    try:
        return (target / "refs/heads" / ref).read_text().strip()
    except FileNotFoundError:
        return None


def _write_summary(target: Path, key: str, home: Path) -> None:
    """Make it beside, since ostree would take the signature away first, and then ask the key's owner for a new one."""
    for leftover in (target / "tmp").glob("summary-*"):  # of an export that was killed
        shutil.rmtree(leftover)
    with tempfile.TemporaryDirectory(prefix="summary-", dir=target / "tmp") as beside:
        shutil.copyfile(target / "config", Path(beside, "config"))
        for name in _SHARED:
            (target / name).mkdir(exist_ok=True)
            Path(beside, name).symlink_to(target.absolute() / name)
        Path(beside, "tmp").mkdir()
        Path(beside, "state").mkdir()
        Ostree(Path(beside), quote(target)).write_summary(key, home)
        for name in ("summary", "summary.sig"):
            os.replace(Path(beside, name), target / name)


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Make `target`, and lock it. Raises BadInput when it holds something else."""
    try:
        target.mkdir(mode=0o755, parents=True, exist_ok=True)
        if any(target.iterdir()) and not (target / "refs").is_dir():
            raise BadInput(f"{quote(target)} is neither empty nor a repository of images", "name another directory")
        fd = os.open(target, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise FtosError(f"can't make {quote(target)}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise Busy(f"another export to {quote(target)} is under way") from None
    finally:
        os.close(fd)
