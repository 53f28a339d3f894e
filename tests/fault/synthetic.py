# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images without packages, for tests that are about the store; and one change of a store as a process of its own.

    python -m tests.fault.synthetic ROOT publish NAME DIRECTORY     an image of a copy of the files in DIRECTORY
    python -m tests.fault.synthetic ROOT receive REPOSITORY COMMIT  the image that COMMIT is
    python -m tests.fault.synthetic ROOT swap|purge NAME
    python -m tests.fault.synthetic ROOT gc

As the command does, it prints an error of ours in one line and ends with status 1.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from ftos.errors import FtosError
from ftos.host.places import Places
from ftos.image.manifest import Manifest, PackageLock
from ftos.image.ostree import Ostree
from ftos.image.store import BuiltImage, Store, now

DIGEST = "d" * 64
CHECKOUT = Path(__file__).parents[2]


def store(places: Places) -> Store:
    """A store on which nothing runs."""
    return Store(places, tuple)


def fill(directory: Path, files: Mapping[str, bytes]) -> Path:
    """Path → content, below the new directory `directory`, which is returned."""
    for path, content in files.items():
        (directory / path).parent.mkdir(parents=True, exist_ok=True)
        (directory / path).write_bytes(content)
    return directory


def publish(store: Store, name: str, source: Path) -> BuiltImage:
    """Let image `name` be what is in `source`."""
    before = store.find("image", name, DIGEST)
    made = Manifest(
        kind="image",
        name=name,
        digest=DIGEST,
        osbase="debian/trixie",
        base="",
        parent=before.commit if before else "",
        components=(),
        packages=(),
        lock=PackageLock(base=(), indexes={}),
        size=0,
        built_at=now(),
    )
    with store.build_directory() as work:
        (work / "skip").touch()
        return store.publish(made, [source], work / "skip", work)


def change(places: Places, *words: str, before: Sequence[str] = (), **environment: str) -> subprocess.Popen[str]:
    """A process that makes one change of the store. `before`: a command that runs it."""
    return subprocess.Popen(
        [*before, sys.executable, "-m", "tests.fault.synthetic", str(places.root), *words],
        cwd=CHECKOUT,
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def contents(tree: Path) -> dict[str, bytes]:
    """Path → content of all files."""
    return {str(file.relative_to(tree)): file.read_bytes() for file in tree.rglob("*") if file.is_file()}


def assert_whole(store: Store, *possible: Mapping[str, Mapping[str, bytes]]) -> int:
    """The store is sound, and its images are those of one of `possible`: name → path → content. Which one."""
    store.ostree.check()
    found = {}
    objects = {path.lstat().st_ino for path in store.repository.glob("objects/*/*.file")}
    for ref, commit in store.refs().items():
        built = store.built(commit)
        if ref.startswith("image/"):
            found[built.name] = contents(built.tree)
        listing = ["ostree", "ls", f"--repo={store.repository}", "--recursive", "--nul-filenames-only", commit]
        names = subprocess.run(listing, check=True, capture_output=True, text=True).stdout.rstrip("\0").split("\0")
        files = [path for path in built.tree.rglob("*") if not path.is_symlink()]
        assert {"/" + str(path.relative_to(built.tree)) for path in built.tree.rglob("*")} == {*names} - {"/"}
        assert {path.stat().st_ino for path in files if path.is_file() and path.stat().st_size} <= objects
    assert found in possible, f"{sorted(found)} is neither the old nor the new state"
    return possible.index(found)


def assert_nothing_left(store: Store) -> None:
    """All that is on the disk is named by something."""
    refs = store.refs()
    assert [path for path in (store.root / "builds").iterdir() if path.is_dir()] == []
    assert {path.name for path in (store.root / "trees").iterdir()} == set(refs.values())
    known = {commit for name in {ref.split("/")[1] for ref in refs} for commit, _ in store.history(name)}
    assert {path.stem for path in (store.root / "manifests").iterdir()} == known
    assert [path.name for path in (store.repository / "tmp").iterdir() if path.name != "cache"] == []
    commits = {path.parent.name + path.stem for path in (store.repository / "objects").glob("*/*.commit")}
    assert commits == set(refs.values())


def main() -> None:
    root, verb, *rest = sys.argv[1:]
    changed = store(Places(Path(root)))
    try:
        match verb, rest:
            case "publish", [name, source]:
                publish(changed, name, Path(source))
            case "receive", [source, commit]:
                made = msgspec.json.decode(Ostree(Path(source)).body(commit), type=Manifest)
                with changed.build_directory() as work:
                    changed.receive(Path(source), commit, made, work)
            case "swap", [name]:
                changed.swap(name, DIGEST)
            case "purge", [name]:
                changed.purge(name)
            case _:
                changed.remove([])
    except FtosError as error:
        sys.exit(f"error: {error.message}")
    except OSError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
