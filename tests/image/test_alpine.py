# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images of Alpine, built by the real apk out of a signed repository of real packages; and all that can be wrong."""

from __future__ import annotations

import functools
import gzip
import http.server
import os
import shutil
import stat
import struct
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ftos.errors import BuildError, FtosError, Unsupported
from ftos.host.facts import HostFacts
from ftos.image.ostree import Ostree
from ftos.image.packages import PackageCache
from ftos.image.store import BuiltImage
from ftos.plan.records import FOREIGN_BASE
from ftos.runtime import session
from ftos.runtime.assemble import assemble, prepared
from ftos.runtime.container import Container
from ftos.runtime.control import Command, Connection
from ftos.spec.catalog import Catalog
from tests.image.alpine import (
    BUILT,
    OSBASE,
    Alpine,
    AlpineRepository,
    Key,
    Minirootfs,
    Package,
    World,
    archive,
    host,
    static_package,
)
from tests.image.harness import Recorder, assert_nothing_dangerous, describe, image

HELLO = Package(
    "hello",
    files={"usr/bin/hello": (b'#!/bin/sh\necho "hello from $(cat /etc/greeted)"\n', 0o755), "usr/share/man/x": b"x"},
    depends=("musl-utils",),
    scripts={"post-install": "echo Alpine > /etc/greeted"},
)
BASE = {"alpine-baselayout", "alpine-keys", "apk-tools", "busybox", "busybox-binsh", "libcrypto3", "musl", "musl-utils"}


@pytest.fixture(scope="module")
def hello(common: World) -> Iterator[BuiltImage]:
    """When all is over, the store in which so much went wrong is sound."""
    common.offer(HELLO)
    yield common.build("hello", "hello")
    common.builder.store.ostree.check()


@pytest.fixture
def undamaged(common: World, hello: BuiltImage) -> Iterator[None]:
    """The store is the same before and after."""
    before = common.builder.store.images()
    assert hello in before
    yield
    assert common.builder.store.images() == before
    assert [path for path in (common.places.store / "builds").iterdir() if path.is_dir()] == []


def build_one(world: World, package: Package, progress: Recorder | None = None) -> BuiltImage:
    world.offer(package)
    world.progress = progress or Recorder()
    return world.build(package.name, package.name)


# --- what is built --------------------------------------------------------------------------------------------------


def test_an_image_has_its_packages_and_nothing_dangerous(common: World, hello: BuiltImage) -> None:
    packages = {package.name: package for package in hello.manifest.packages}
    assert BASE | {"hello"} <= set(packages)
    assert (packages["hello"].version, packages["hello"].source) == ("1-r0", "hello-source")
    assert packages["busybox"].license == "GPL-2.0-only"
    assert [package.name for package in hello.manifest.lock.packages] == ["hello"]
    assert (hello.tree / "etc/greeted").read_text() == "Alpine\n"
    assert "app:x:1000:1000:" in (hello.tree / "etc/passwd").read_text()
    assert (hello.tree / "etc/apk/world").read_text().split() == sorted(packages)
    assert common.repository.key.name not in os.listdir(hello.tree / "etc/apk/keys")
    gone = (".ftos", ".PKGINFO", "usr/share/man", "lib/apk/db/lock", "etc/shadow-", "etc/apk/repositories")
    assert [path for path in gone if os.path.lexists(hello.tree / path)] == []
    assert_nothing_dangerous(hello.tree)
    assert ("hello", 1) in [(what, total) for _, total, what in common.progress.updates]
    common.builder.store.ostree.check()


def test_scripts_and_triggers_of_the_base_tree_have_run(hello: BuiltImage) -> None:
    assert (hello.tree / "bin/ls").readlink() == Path("/bin/busybox")  # by busybox's post-install
    assert "klogd:x:" in (hello.tree / "etc/passwd").read_text()
    assert "shadow:x:42:" in (hello.tree / "etc/group").read_text()
    assert (hello.tree / "etc/shadow").stat().st_gid == FOREIGN_BASE + 42


def test_a_program_of_the_image_runs_in_the_sandbox(common: World, hello: BuiltImage) -> None:
    describe(common.places, image("hello", OSBASE, packages=("hello",)))
    deployments = common.places.etc / "deployments"
    deployments.mkdir(exist_ok=True)
    text = "kind: deployment\nschema: 1\nname: hello\nid: d-0a1b2c3d\nimage: hello\n"
    (deployments / "hello.yml").write_text(text)
    catalog = Catalog(common.places)
    facts = HostFacts("x86_64", "none", "C.UTF-8", "Etc/UTC", None)
    assembly = assemble(common.places, catalog, facts, catalog.deployment("hello"), hello.commit, hello.tree)
    reading, writing = os.pipe()
    null = os.open("/dev/null", os.O_RDONLY)
    with prepared(common.places, assembly) as record, Container(common.places, assembly.plan, record) as container:
        command = Command(arguments=("hello",), environment=assembly.plan.environment, directory="/")
        connection = Connection.connect(container.control)
        assert session.run_plain(connection, command, (null, writing, writing)) == 0
        connection.close()
    os.close(writing)
    with os.fdopen(reading) as output:
        assert output.read() == "hello from Alpine\n"
    os.close(null)


def test_the_same_packages_give_the_same_content_without_any_mirror(world: World) -> None:
    def content(built: BuiltImage) -> str:
        return Ostree(world.places.store / "repo").content_checksum(built.commit)

    world.offer(HELLO)
    first = world.build("hello", "hello")
    before = content(first), first.manifest.base
    world.builder.purge("hello")
    shutil.rmtree(world.places.store)
    shutil.rmtree(world.repository.directory)
    host(world.places, "http://127.0.0.1:9/alpine", None)
    again = world.build("hello", "hello")
    assert again.manifest.lock == first.manifest.lock
    assert content(again) == before[0]


def test_a_package_that_the_new_one_needs_newer_is_replaced_in_the_image_alone(common: World) -> None:
    newer = Package("scanelf", "9-r0", files={"usr/bin/scanelf": (b"#!/bin/sh\necho new\n", 0o755)})
    common.offer(newer, Package("wants-newer", depends=("scanelf>=9",)))
    built = common.build("wants-newer", "wants-newer")
    versions = {package.name: package.version for package in built.manifest.packages}
    assert versions["scanelf"] == "9-r0"
    assert [package.name for package in built.manifest.lock.packages] == ["scanelf", "wants-newer"]
    assert {package.name: package.version for package in built.manifest.lock.base}["scanelf"] == "1.3.7-r2"
    assert "wants-newer" in (built.tree / "etc/apk/world").read_text().split()
    assert not list((built.tree / "etc").rglob("*.apk-new"))


def test_the_database_of_packages_is_as_good_as_that_of_their_tree(common: World, hello: BuiltImage) -> None:
    with common.fetcher() as fetcher:
        fetcher.refresh()
        base = fetcher.resolve(("musl-utils",), b"")
        assert [package.name for package in fetcher.resolve(("hello",), fetcher.database_of(base))] == ["hello"]
        assert fetcher.resolve(("busybox",), fetcher.database_of(base)) == ()


def test_packages_of_another_architecture_are_chosen_and_downloaded(
    alpine: Alpine, world: World, checkout: Path
) -> None:
    source = archive(checkout, "aarch64")
    if source is None:
        pytest.skip("there is no release archive for aarch64")
    foreign = Minirootfs(source, world.repository.directory.parent / "aarch64")
    place = world.repository.place(architecture="aarch64")
    for name, content in foreign.packages(alpine.key).items():
        (place / name).write_bytes(content)
    world.repository.publish(place)
    world.repository.publish(world.repository.place("community", architecture="aarch64"))
    host(world.places, world.repository.url, alpine.minirootfs.source, architecture="aarch64")
    cache = PackageCache(world.places)
    with world.fetcher() as fetcher:
        fetcher.refresh()
        packages = fetcher.resolve(("musl-utils",), b"")
        assert {package.architecture for package in packages} == {"aarch64"}
        assert BASE - {"alpine-keys"} <= {package.name for package in packages}
        fetcher.download(cache, packages)
    assert cache.missing(packages) == []


# --- where apk comes from -------------------------------------------------------------------------------------------


def test_apk_comes_out_of_a_package_with_a_static_one(alpine: Alpine, world: World, tmp_path: Path) -> None:
    package = tmp_path / "apk-tools-static.apk"
    package.write_bytes(static_package(alpine.minirootfs, alpine.key))
    host(world.places, world.repository.url, package)
    with world.fetcher() as fetcher:
        fetcher.refresh()
        assert {package.name for package in fetcher.resolve(("musl-utils",), b"")} >= BASE - {"alpine-keys"}


def test_an_archive_with_another_checksum_is_not_unpacked(alpine: Alpine, world: World) -> None:
    host(world.places, world.repository.url, alpine.minirootfs.source, sha256="0" * 64)
    with pytest.raises(BuildError, match=r"archive with apk.*can't be used.*has not the content"):
        world.build("any")
    assert not [path for path in (world.places.store / "builds").iterdir() if path.is_dir()]


def test_an_archive_that_is_not_there_or_has_no_apk_is_told(world: World, tmp_path: Path) -> None:
    host(world.places, world.repository.url, tmp_path / "none.tar.gz", sha256="0" * 64)
    with pytest.raises(BuildError, match=r"can't be used: the file 'none\.tar\.gz' was not"):
        world.build("any")
    with tarfile.open(tmp_path / "empty.tar.gz", "w:gz"):
        pass
    host(world.places, world.repository.url, tmp_path / "empty.tar.gz")
    with pytest.raises(BuildError, match="there is no apk program in the archive"):
        world.build("any")


def test_a_host_without_apk_is_told_what_to_write(world: World) -> None:
    host(world.places, world.repository.url, None)
    with pytest.raises(Unsupported, match="this host has no apk") as caught:
        world.build("any")
    assert "tools: {apk: {archive: " in caught.value.hint


# --- indexes --------------------------------------------------------------------------------------------------------


def unsigned(world: World, index: Path) -> None:
    data = index.read_bytes()
    index.write_bytes(data[data.index(b"\x1f\x8b\x08", 10) :])


def signed_by_another(world: World, index: Path) -> None:
    other = Key(world.places.own, "other.rsa.pub")
    world.repository.publish(index.parent, other)


def signed_under_the_name_of_the_right_key(world: World, index: Path) -> None:
    world.repository.publish(index.parent, Key(world.places.own, world.repository.key.name))


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def changed(world: World, index: Path) -> None:
    flip(index, -40)


def cut(world: World, index: Path) -> None:
    index.write_bytes(index.read_bytes()[:-400])


def gone(world: World, index: Path) -> None:
    index.unlink()


def a_signed_package(world: World, index: Path) -> None:
    shutil.copy(index.parent / "zlib-1.3.1-r1.apk", index)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unsigned, "check of the signature of .*/main.*: failed .*UNTRUSTED"),
        (signed_by_another, "check of the signature of .*/main.*: failed .*UNTRUSTED"),
        (signed_under_the_name_of_the_right_key, "check of the signature of .*/main.*: failed .*BAD signature"),
        (changed, "check of the signature of .*/main.*: failed"),
        (cut, "check of the signature of .*/main.*: failed"),
        (gone, "download of the package indexes: failed .*APKINDEX"),
        (a_signed_package, "the signed file is not a package index"),
    ],
)
def test_an_index_that_is_not_right_is_refused(
    world: World, spoil: Callable[[World, Path], None], message: str
) -> None:
    spoil(world, world.repository.place() / "APKINDEX.tar.gz")
    with pytest.raises(BuildError, match=rf"(?s){message}"):
        world.build("any")
    assert not list(world.places.cache.glob("indexes/*/*"))
    assert world.builder.store.images() == []


def test_a_mirror_that_is_no_directory_any_more_is_told(world: World) -> None:
    shutil.rmtree(world.repository.directory)
    with pytest.raises(BuildError, match=rf"(?s)download of the package indexes: failed.*{world.repository.url}/"):
        world.build("any")


def test_an_older_index_than_the_one_known_is_not_taken(world: World) -> None:
    """A mirror (or who sits before it) that replays an old, signed index brings no old package back."""
    index = world.repository.place("community") / "APKINDEX.tar.gz"
    world.offer(HELLO)
    old = index.read_bytes()
    world.offer(Package("hello", "2-r0", built=BUILT + 1))
    with world.fetcher() as fetcher:
        indexes = fetcher.refresh()
        assert fetcher.refresh() == indexes
    known = {path: path.read_bytes() for path in world.places.cache.glob("indexes/*/*")}
    index.write_bytes(old)
    with world.fetcher() as fetcher:
        with pytest.raises(BuildError, match="community' is older than the one known") as caught:
            fetcher.refresh()
        assert {path: path.read_bytes() for path in world.places.cache.glob("indexes/*/*")} == known
        assert any(str(path) in caught.value.hint for path in known)
        packages = fetcher.resolve(("hello",), b"")  # by the indexes of the last time
    assert {package.name: package.version for package in packages}["hello"] == "2-r0"


# --- repositories of an image ---------------------------------------------------------------------------------------


def test_a_repository_of_the_image_is_used_with_its_key(common: World, tmp_path: Path) -> None:
    made = common.own_repository("with-own", Key(tmp_path, "own.rsa.pub"), (Package("special"),))
    built = common.builder.ensure(made)
    assert "special" in {package.name for package in built.manifest.packages}
    assert "own.rsa.pub" not in os.listdir(built.tree / "etc/apk/keys")


def test_the_key_of_the_images_own_repository_does_not_sign_for_the_osbase(world: World, tmp_path: Path) -> None:
    key = Key(tmp_path, "own.rsa.pub")
    made = world.own_repository("taking-over", key, (Package("special"),))
    world.repository.publish(world.repository.place(), key)
    with pytest.raises(BuildError, match=r"(?s)check of the signature of .*v3.20/main.*UNTRUSTED"):
        world.builder.ensure(made)


def test_the_osbases_key_does_not_sign_for_the_images_own_repository(world: World, tmp_path: Path) -> None:
    made = world.own_repository("borrowed", Key(tmp_path, "own.rsa.pub"), (Package("special"),))
    own = AlpineRepository(world.repository.directory.parent / "own", world.repository.minirootfs, world.repository.key)
    own.publish(own.directory / "own/x86_64")
    with pytest.raises(BuildError, match=r"(?s)check of the signature of .*/own: failed.*UNTRUSTED"):
        world.builder.ensure(made)


@pytest.mark.parametrize(
    ("suite", "package", "message"),
    [
        ("v3.19/own", Package("special"), "belongs to Alpine v3.19, not to alpine/3.20"),
        ("edge/testing", Package("special"), "belongs to Alpine edge, not to alpine/3.20"),
        ("own", Package("alpine-release", "3.21.2-r0"), "belongs to Alpine v3.21, not to alpine/3.20"),
        ("own", Package("alpine-base", "3.21.0_alpha20240807-r0"), "belongs to Alpine edge, not to alpine/3.20"),
    ],
)
def test_a_repository_of_another_release_is_refused(
    common: World, tmp_path: Path, suite: str, package: Package, message: str
) -> None:
    made = common.own_repository(f"foreign-{package.name}", Key(tmp_path, "own.rsa.pub"), (package,), suite)
    with pytest.raises(BuildError, match=message):
        common.builder.ensure(made)


# --- over the network -----------------------------------------------------------------------------------------------


class Server(http.server.SimpleHTTPRequestHandler):
    """A mirror which breaks connections off in the middle of a package, as often as `breaks` says."""

    breaks: ClassVar[int] = 0

    def log_message(self, *arguments: Any) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if type(self).breaks and self.path.endswith("/hello-1-r0.apk"):
            type(self).breaks -= 1
            outputfile.write(source.read(100))
        else:
            super().copyfile(source, outputfile)


@pytest.fixture
def served(world: World) -> Iterator[World]:
    world.offer(HELLO)
    handler = functools.partial(Server, directory=str(world.repository.directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host(world.places, f"http://127.0.0.1:{server.server_port}", world.repository.minirootfs.source)
        yield world
        server.shutdown()


@pytest.mark.parametrize(
    ("breaks", "message"), [(0, None), (2, None), (9, r"(?s)hello-1-r0.apk: it ended after 100 of [0-9]+ bytes")]
)
def test_a_connection_that_breaks_is_tried_again_and_told(
    served: World, monkeypatch: pytest.MonkeyPatch, breaks: int, message: str | None
) -> None:
    monkeypatch.setattr(Server, "breaks", breaks)
    with served.fetcher() as fetcher:
        fetcher.refresh()
        packages = fetcher.resolve(("hello",), fetcher.database_of(fetcher.resolve(("musl-utils",), b"")))
        cache = PackageCache(served.places)
        with pytest.raises(BuildError, match=message) if message else nullcontext():
            fetcher.download(cache, packages)
        assert [package.name for package in cache.missing(packages)] == (["hello"] if message else [])


# --- packages -------------------------------------------------------------------------------------------------------


EVIL = b"touch /tmp/evil\n"


def entry(name: str, content: bytes, kind: bytes = b"0", mode: int = 0o755) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mode = kind, len(content), mode
    return info.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-len(content) % 512)


def words(**more: str) -> bytes:
    """What a pax entry says."""
    lines = ((len(key) + len(value) + 3, f" {key}={value}\n") for key, value in more.items())
    return b"".join(f"{size + len(str(size + len(str(size))))}{line}".encode() for size, line in lines)


SPARSE = {
    "GNU.sparse.major": "1",
    "GNU.sparse.minor": "0",
    "GNU.sparse.name": "etc/profile.d/evil.sh",
    "GNU.sparse.realsize": str(len(EVIL)),
}


@pytest.mark.parametrize(
    "hidden",
    [
        entry("etc/profile.d/evil.sh", EVIL),
        entry(".pre-install", b"#!/bin/sh\n" + EVIL),
        entry("p", words(**SPARSE), b"x")
        + entry(".SIGN.RSA.y", f"1\n0\n{len(EVIL)}\n".encode().ljust(512, b"\0") + EVIL),
        entry("p", words(path="etc/profile.d/evil.sh"), b"g") + entry(".SIGN.RSA.y", EVIL),
    ],
)
def test_what_a_mirror_hides_beside_a_signature_is_never_unpacked(world: World, hidden: bytes) -> None:
    """It needs no key for that: checksums of packages leave out signatures. One package is of the base tree."""
    world.offer(HELLO)
    for file in (*world.repository.place().glob("zlib-*.apk"), world.repository.place("community") / "hello-1-r0.apk"):
        content = file.read_bytes()
        signature = zlib.decompressobj(wbits=31)
        signature.decompress(content)
        size = len(content) - len(signature.unused_data)
        tar = entry(".SIGN.RSA.x", b"") + hidden
        packed = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = packed.compress(tar) + packed.flush() + struct.pack("<II", zlib.crc32(tar), len(tar))
        padding = size - len(body) - 11
        assert padding >= 0, "the file must not become larger"
        file.unlink()  # it is a hardlink of what other tests have
        file.write_bytes(b"\x1f\x8b\x08\x10" + bytes(6) + b"x" * padding + b"\0" + body + signature.unused_data)
    built = world.build("hello", "hello")
    assert (built.tree / "usr/bin/hello").exists()
    assert not [path for path in built.tree.rglob("*") if path.name.startswith((".SIGN", ".pre", "evil", "PaxHeaders"))]
    assert not (built.tree / "tmp/evil").exists()
    for file in world.builder.cache.files().values():
        assert gzip.decompress(file.read_bytes()).startswith(b".PKGINFO\0")


@pytest.mark.usefixtures("undamaged")
@pytest.mark.parametrize(
    ("package", "wanted", "message"),
    [
        (Package("any"), "no-such-thing", "choice of the packages: failed.*no-such-thing .no such package"),
        (Package("lacking", depends=("no-such-thing",)), "lacking", "choice of the packages: failed.*no-such-thing"),
        (
            Package("against", depends=("!zlib",)),
            "against",
            "choice of the packages: failed.*breaks: against.*!zlib",
        ),
    ],
)
def test_packages_that_can_not_be_had_are_told(common: World, package: Package, wanted: str, message: str) -> None:
    common.offer(package)
    with pytest.raises(BuildError, match=rf"(?s){message}"):
        common.build(wanted, wanted)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda file: file.unlink(), "download of the packages: failed.*spoiled-1-r0.apk"),
        (lambda file: file.write_bytes(file.read_bytes()[:-20]), "'spoiled-1-r0.apk' has not the content"),
        (lambda file: file.write_bytes(file.read_bytes() + b"more"), "download of the packages: failed.*larger than"),
        (lambda file: flip(file, -100), "'spoiled-1-r0.apk' has not the content"),  # in the data
        (lambda file: flip(file, 600), "'spoiled-1-r0.apk' has not the content"),  # in the control segment
    ],
)
@pytest.mark.usefixtures("undamaged")
def test_a_package_that_is_not_as_the_index_has_it_is_refused(
    common: World, spoil: Callable[[Path], object], message: str
) -> None:
    common.offer(Package("spoiled", files={"usr/share/spoiled": os.urandom(2000)}))
    file = common.repository.place("community") / "spoiled-1-r0.apk"
    try:
        spoil(file)
        with pytest.raises(BuildError, match=rf"(?s){message}"):
            common.build("spoiled", "spoiled")
    finally:
        file.unlink(missing_ok=True)


@pytest.mark.usefixtures("undamaged")
@pytest.mark.parametrize("script", ["pre-install", "post-install", "trigger"])
def test_a_failing_script_is_a_failed_build(common: World, script: str) -> None:
    package = Package(f"failing-{script}", scripts={script: "echo 'last words'; exit 7"}, triggers=("/usr/bin",))
    with pytest.raises(BuildError, match="installation of the packages: failed with status 1") as caught:
        build_one(common, package)
    assert "last words" in caught.value.message
    assert f"failing-{script}-1-r0.{script}: script exited with error 7" in caught.value.message


def test_setuid_capabilities_and_special_files_do_not_arrive(common: World) -> None:
    script = """
        set -e
        cp /bin/busybox /usr/bin/rooted; chmod 4755 /usr/bin/rooted
        cp /bin/busybox /usr/bin/chowned; chown 1000:8 /usr/bin/chowned
        mkfifo /opt/fifo
        ! mknod /opt/null c 1 3
        ! mknod /opt/disk b 8 0
        rm /etc/motd
    """
    progress = Recorder()
    built = build_one(common, Package("special-files", scripts={"post-install": script}), progress)
    tools = built.tree / "usr/bin"
    assert oct(stat.S_IMODE((tools / "rooted").stat().st_mode)) == "0o755"
    assert (tools / "chowned").stat().st_uid == FOREIGN_BASE + 1000
    assert list((built.tree / "opt").iterdir()) == []
    assert progress.notes == ["'/opt/fifo' is a fifo and was left out"]
    assert not (built.tree / "etc/motd").exists()


def test_a_script_has_no_network_and_sees_nothing_of_the_host(common: World) -> None:
    script = f"""
        tail -n +3 /proc/net/dev | cut -d: -f1 > /opt/interfaces
        (ls {common.places.root} || ls /work) > /opt/host 2>/dev/null
        cat /proc/self/uid_map > /opt/uid_map
        setsid sleep 98764 >/dev/null 2>&1 &
        exit 0
    """
    built = build_one(common, Package("curious", scripts={"post-install": script}))
    assert (built.tree / "opt/interfaces").read_text().split() == ["lo"]
    assert (built.tree / "opt/host").read_text() == ""
    first, outside, count = (int(word) for word in (built.tree / "opt/uid_map").read_text().split())
    assert (first, count) == (0, 65536)
    assert outside >= 0x70000000
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert b"98764" not in path.read_bytes()
        except OSError:
            continue


def special(kind: bytes, name: str, **fields: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for key, value in fields.items():
        setattr(info, key, value)
    return info


ESCAPES: dict[str, dict[str, bytes | tarfile.TarInfo]] = {
    "climbing": {"../../../../escaped": b"x"},
    "absolute": {"/escaped": b"x"},
    "through-link": {"a": special(tarfile.SYMTYPE, "a", linkname="/ftos/packages"), "a/escaped": b"x"},
    "device": {"opt/disk": special(tarfile.BLKTYPE, "opt/disk", devmajor=8, mode=0o666)},
    "hard-link": {"opt/h": special(tarfile.LNKTYPE, "opt/h", linkname="/etc/shadow")},
}


@pytest.mark.parametrize(
    ("name", "place"),
    [*((name, "image") for name in ESCAPES), ("climbing", "base"), ("through-link", "base"), ("device", "base")],
)
def test_a_package_file_reaches_nothing_outside_the_tree(
    alpine: Alpine, common: World, tmp_path: Path, name: str, place: str
) -> None:
    """It is refused; only the name that climbs is left out by apk itself."""
    world = alpine.at(tmp_path / "w") if place == "base" else common
    if place == "base":
        descriptor = world.places.own / "osbases" / OSBASE / "osbase.yml"
        descriptor.write_text(descriptor.read_text().replace("[alpine-keys", f"[{name}, alpine-keys"))
    outside = sorted(str(path) for path in tmp_path.iterdir()), os.stat("/etc/shadow").st_nlink
    try:
        tree: Path | None = build_one(world, Package(name, files=ESCAPES[name])).tree
    except FtosError:
        tree = None
    for path in ("/escaped", "/ftos", *(str(parent / "escaped") for parent in tmp_path.parents)):
        assert not os.path.lexists(path)
    assert (sorted(str(path) for path in tmp_path.iterdir()), os.stat("/etc/shadow").st_nlink) == outside
    assert not list(tmp_path.rglob("escaped"))
    assert (tree is None) == ((name, place) != ("climbing", "image"))
