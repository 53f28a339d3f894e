# SPDX-License-Identifier: AGPL-3.0-or-later
"""A build machine and a phone in two roots, and a web server between them that can be told to misbehave.

The images are tiny and made by hand, but by the rules of every image, and published through the store.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from ftos.host.places import Places
from ftos.host.trees import directory
from ftos.image.build import ImageBuilder
from ftos.image.export import choose, export
from ftos.image.manifest import InstalledPackage, LockedPackage, Manifest, PackageLock
from ftos.image.store import BuiltImage, Store
from ftos.image.tree import make_additions
from ftos.plan.records import FOREIGN_BASE
from tests.image.harness import Recorder, builder

DIGEST = "d" * 64
Spoil = Callable[[Path], None]


class Key:
    """A GPG key of its own; `close` ends its agent."""

    def __init__(self, home: Path) -> None:
        home.mkdir(mode=0o700, parents=True)
        self.home = home
        self._gpg("--quick-generate-key", "--passphrase", "", "fleet@test.invalid", "ed25519", "sign", "never")
        self.public = self._gpg("--armor", "--export")
        listing = self._gpg("--list-keys", "--with-colons").decode()
        self.id = next(line.split(":")[9] for line in listing.splitlines() if line.startswith("fpr:"))

    def _gpg(self, *arguments: str) -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--quiet", *arguments]
        return subprocess.run(command, capture_output=True, check=True).stdout

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=True)


def lock(version: str) -> PackageLock:
    package = LockedPackage(
        name="notes",
        version=version,
        architecture="all",
        file=f"notes_{version}_all.deb",
        size=1,
        checksum="sha256:" + "0" * 64,
        url="http://mirror.test.invalid/notes.deb",
    )
    return PackageLock(base=(package,), indexes={})


def publish(
    store: Store, name: str, version: str, spoil: Spoil = lambda tree: None, digest: str = DIGEST, **more: object
) -> BuiltImage:
    """An image with a large file that hardly changes from version to version, and small ones. `spoil` changes its tree
    before it is committed."""
    with store.build_directory() as work:
        tree = work / "made"
        (tree / "etc").mkdir(parents=True)
        (tree / "usr/bin").mkdir(parents=True)
        (tree / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
        (tree / "etc/group").write_text("root:x:0:\n")
        large = b"".join(str(number * number).encode() for number in range(60_000))
        (tree / "usr/large").write_bytes(large + version.encode())
        (tree / f"usr/{name}").write_text(version)
        for number in range(200):
            (tree / f"usr/bin/program-{number}").write_bytes(os.urandom(8) if number == 0 else b"%d" % number)
        (tree / "usr/bin/program-0").write_bytes(name.encode())
        (tree / "usr/bin/link").symlink_to("program-1")
        own(tree)
        with directory(tree) as view:
            make_additions(view, work / "additions", ())
        spoil(tree)
        (work / "skip").touch()
        fields: dict[str, object] = {
            "osbase": "debian/trixie",
            "base": "",
            "components": (),
            "size": len(large) + 2000,
            "built_at": f"2026-01-0{version}T00:00:00Z",
            "packages": (InstalledPackage(name="notes", version=version, architecture="all"),),
            "lock": lock(version),
        }
        manifest = Manifest(kind="image", name=name, digest=digest, **{**fields, **more})  # type: ignore[arg-type]
        return store.publish(manifest, [tree, work / "additions"], work / "skip", work)


def own(tree: Path) -> None:
    """Give all of `tree` to id 0 of the containers."""
    for place, directories, files in os.walk(tree):
        for path in (Path(place), *(Path(place, name) for name in (*directories, *files))):
            os.chown(path, FOREIGN_BASE, FOREIGN_BASE, follow_symlinks=False)


class Fleet:
    """The build machine: a store and the directory that is served."""

    def __init__(self, root: Path, key: Key) -> None:
        self.store = Store(Places(root / "builder"), tuple)
        self.served = root / "served"
        self.key = key

    def export(self) -> None:
        export(self.store, choose(self.store, ()), self.served, self.key.id, self.key.home, Recorder())


class Phone:
    def __init__(self, root: Path, url: str, key: Key, name: str = "fleet") -> None:
        self.places = Places(root)
        self.progress = Recorder()
        self.places.etc.mkdir(parents=True)
        (self.places.etc / f"{name}.asc").write_bytes(key.public)
        text = f"kind: host\nschema: 1\nremotes:\n  {name}: {{url: '{url}', key: {name}.asc}}\n"
        (self.places.etc / "host.yml").write_text(text)

    @property
    def builder(self) -> ImageBuilder:
        return builder(self.places, self.progress)


class Server:
    """Serves a directory. `hook` is asked first, and answers itself when it returns True."""

    def __init__(self, served: Path) -> None:
        self.requests: list[str] = []
        self.sent = 0
        self.hook: Callable[[SimpleHTTPRequestHandler], bool] = lambda request: False
        server = self

        class Handler(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests.append(self.path)
                if not server.hook(self):
                    super().do_GET()

            def copyfile(self, source: object, outputfile: object) -> None:
                data = source.read()  # type: ignore[attr-defined]
                server.sent += len(data)
                outputfile.write(data)  # type: ignore[attr-defined]

            def log_message(self, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served)))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def count(self, part: str) -> int:
        """Of the requests with `part` in their path."""
        return sum(part in path for path in self.requests)

    @contextmanager
    def running(self) -> Iterator[Server]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def endless(request: SimpleHTTPRequestHandler) -> bool:
    """Answers with a body that never ends, as fast as it is taken."""
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(bytes(1 << 20))
    except OSError:
        return True


def silent(request: SimpleHTTPRequestHandler) -> bool:
    """Answers nothing, for longer than anybody should wait."""
    time.sleep(30)
    return True
