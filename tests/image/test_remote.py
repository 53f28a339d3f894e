# SPDX-License-Identifier: AGPL-3.0-or-later
"""Images pulled from a remote: equal to what was built, checked against its key, and never worse than a build."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler
from pathlib import Path

import pytest

from ftos.image import pull
from ftos.image.holds import Hold
from ftos.image.ostree import Ostree
from ftos.image.store import BuiltImage
from ftos.image.update import PackageChange, Update, Updater, rollback
from ftos.plan.records import FOREIGN_BASE
from ftos.spec.records import Image
from tests.image.harness import image
from tests.image.remotes import DIGEST, Fleet, Key, Phone, Server, Spoil, endless, lock, publish, silent

NOTES = image("notes")


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Key]:
    made = Key(tmp_path_factory.mktemp("key") / "home")
    yield made
    made.close()


@pytest.fixture(scope="module")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Key]:
    made = Key(tmp_path_factory.mktemp("key") / "home")
    yield made
    made.close()


@pytest.fixture
def fleet(tmp_path: Path, key: Key) -> Fleet:
    return Fleet(tmp_path, key)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory, key: Key) -> tuple[Path, BuiltImage]:
    """A build machine that has exported version 1 of `notes`."""
    root = tmp_path_factory.mktemp("once")
    fleet = Fleet(root, key)
    built = publish(fleet.store, "notes", "1")
    fleet.export()
    return root, built


@pytest.fixture
def exported(once: tuple[Path, BuiltImage], fleet: Fleet, tmp_path: Path) -> BuiltImage:
    """Version 1 of `notes`, as `fleet` has exported it."""
    subprocess.run(["cp", "-a", f"{once[0]}/.", str(tmp_path)], check=True)
    return fleet.store.built(once[1].commit)


@pytest.fixture
def server(fleet: Fleet) -> Iterator[Server]:
    fleet.served.mkdir(exist_ok=True)
    with Server(fleet.served).running() as running:
        yield running


@pytest.fixture
def phone(tmp_path: Path, server: Server, key: Key) -> Phone:
    return Phone(tmp_path / "phone", server.url, key)


def take(phone: Phone, digest: str = DIGEST) -> BuiltImage | None:
    return phone.builder.remotes.pull(NOTES, digest)


def assert_refused(phone: Phone, why: str) -> None:
    """Nothing was taken, nothing is left, and the note says why."""
    assert take(phone) is None
    assert len(phone.progress.notes) == 1
    assert why in phone.progress.notes[0]
    store = phone.builder.store
    assert store.images() == []
    assert [path for path in (phone.places.store / "builds").iterdir() if path.is_dir()] == []
    assert list((phone.places.store / "trees").iterdir()) == []
    assert list((phone.places.store / "repo/objects").rglob("*.file")) == []
    store.ostree.check()


def test_what_is_pulled_is_what_was_built(fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server) -> None:
    pulled = take(phone)
    assert pulled is not None, phone.progress.notes
    assert pulled.commit == exported.commit
    assert pulled.manifest == exported.manifest
    for directory, _, files in os.walk(exported.tree):
        for path in (Path(directory), *(Path(directory, file) for file in files)):
            mine, theirs = path.lstat(), (pulled.tree / path.relative_to(exported.tree)).lstat()
            assert (mine.st_mode, mine.st_uid, mine.st_gid) == (theirs.st_mode, theirs.st_uid, theirs.st_gid), path
    assert (pulled.tree / "usr/large").read_bytes() == (exported.tree / "usr/large").read_bytes()
    assert (pulled.tree / "usr/large").stat().st_nlink > 1
    assert phone.builder.store.find("image", "notes", DIGEST) == pulled
    assert phone.builder.cache.lock(DIGEST) == lock("1")
    assert phone.progress.notes == []
    assert server.count(".filez") == 0
    phone.builder.store.ostree.check()


def test_ensure_pulls_instead_of_building(fleet: Fleet, phone: Phone) -> None:
    digest = phone.builder.recipe(NOTES).digest
    built = publish(fleet.store, "notes", "1", digest=digest)
    fleet.export()
    assert phone.builder.ensure(NOTES).commit == built.commit
    assert not any("packages" in stage or "install" in stage for stage in phone.progress.stages)


def test_an_update_follows_the_remote(fleet: Fleet, phone: Phone) -> None:
    """The phone has no package index and no mirror."""

    def look() -> Update:
        with Updater(phone.builder) as updater:
            return updater.look(NOTES)

    digest = phone.builder.recipe(NOTES).digest
    first = publish(fleet.store, "notes", "1", digest=digest)
    fleet.export()
    assert look().state == "not built"
    phone.builder.ensure(NOTES)
    assert look().state == "current"
    second = publish(fleet.store, "notes", "2", digest=digest, parent=first.commit)
    fleet.export()
    with Updater(phone.builder) as updater:
        update = updater.look(NOTES)
        assert (update.state, update.changes) == ("changed", (PackageChange("notes", "1", "2"),))
        assert updater.make(update).commit == second.commit
    assert look().state == "current"
    rollback(phone.builder, NOTES)
    assert look().state == "rolled back"
    found = phone.builder.find(NOTES)
    assert found is not None
    assert found.commit == first.commit


def test_what_was_made_for_another_host_is_not_taken(fleet: Fleet, phone: Phone, server: Server) -> None:
    publish(fleet.store, "notes", "1", digest="e" * 64)
    fleet.export()
    assert_refused(phone, "the remote fleet has no notes for this host")
    assert server.count("deltas/") == server.count("objects/") == 0


def test_with_another_gpu_only_what_asks_for_it_is_another_image(
    fleet: Fleet, server: Server, key: Key, tmp_path: Path
) -> None:
    plain, drawing = image("plain"), image("drawing", os_components=("vulkan",))
    same, other = (Phone(tmp_path / gpu, server.url, key) for gpu in ("msm", "amdgpu"))
    for phone, gpu in ((same, "msm"), (other, "amdgpu")):
        with (phone.places.etc / "host.yml").open("a") as file:
            file.write(f"gpu: {gpu}\n")
    for wanted in (plain, drawing):
        publish(fleet.store, wanted.name, "1", digest=same.builder.recipe(wanted).digest)
    fleet.export()

    def taken(phone: Phone, wanted: Image) -> bool:
        return phone.builder.remotes.pull(wanted, phone.builder.recipe(wanted).digest) is not None

    assert taken(same, plain)
    assert taken(same, drawing)
    assert taken(other, plain)
    assert not taken(other, drawing)
    assert other.progress.notes == ["the remote fleet has no drawing for this host"]


def test_an_update_fetches_what_changed(fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server) -> None:
    assert take(phone) is not None
    whole, server.sent = server.sent, 0
    second = publish(fleet.store, "notes", "2", parent=exported.commit)
    fleet.export()
    served = phone.builder.remotes.served(NOTES, DIGEST)
    assert served == second.manifest
    server.sent = 0
    pulled = take(phone)
    assert pulled is not None, phone.progress.notes
    assert pulled.commit == second.commit
    assert server.count(".filez") == 0
    assert server.sent < whole / 10
    assert (pulled.tree / "usr/large").read_bytes()[-1:] == b"2"
    former = phone.builder.store.find("former", "notes", DIGEST)
    assert former is not None
    assert former.commit == exported.commit
    phone.builder.store.ostree.check()


def test_files_that_another_image_has_are_not_fetched_again(fleet: Fleet, phone: Phone, server: Server) -> None:
    publish(fleet.store, "notes", "1")
    publish(fleet.store, "other", "1")
    fleet.export()
    assert phone.builder.remotes.pull(image("other"), DIGEST) is not None
    server.sent, server.requests = 0, []
    assert take(phone) is not None
    assert server.count(".filez") == 1
    assert server.sent < 30_000


def test_a_directory_of_this_host_can_be_a_remote(fleet: Fleet, exported: BuiltImage, tmp_path: Path, key: Key) -> None:
    phone = Phone(tmp_path / "phone", f"file://{fleet.served}", key)
    pulled = take(phone)
    assert pulled is not None, phone.progress.notes
    assert pulled.commit == exported.commit


def test_without_a_delta_the_files_are_fetched(
    fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server
) -> None:
    shutil.rmtree(fleet.served / "deltas")
    assert take(phone) is not None, phone.progress.notes
    assert server.count(".filez") > 200


def test_the_second_remote_is_asked_when_the_first_is_out_of_reach(
    fleet: Fleet, exported: BuiltImage, phone: Phone
) -> None:
    path = phone.places.etc / "host.yml"
    gone = "remotes:\n  gone: {url: 'http://127.0.0.1:9', key: fleet.asc}\n"
    path.write_text(path.read_text().replace("remotes:\n", gone))
    assert take(phone) is not None
    assert len(phone.progress.notes) == 1
    assert phone.progress.notes[0].startswith("notes is not taken from the remote gone: ")


def test_the_signature_of_another_key_is_refused(
    fleet: Fleet, exported: BuiltImage, server: Server, tmp_path: Path, other_key: Key
) -> None:
    assert_refused(Phone(tmp_path / "wary", server.url, other_key), "public key not found")


def test_a_commit_without_a_signature_is_refused(fleet: Fleet, exported: BuiltImage, phone: Phone) -> None:
    shutil.rmtree(fleet.served / "deltas")
    for signature in fleet.served.rglob("*.commitmeta"):
        signature.unlink()
    assert_refused(phone, "no signatures found")


def test_a_list_that_was_changed_is_refused(fleet: Fleet, exported: BuiltImage, phone: Phone) -> None:
    summary = fleet.served / "summary"
    summary.write_bytes(summary.read_bytes().replace(b"notes", b"motes"))
    assert_refused(phone, "BAD signature")


def test_a_list_without_a_signature_is_refused(fleet: Fleet, exported: BuiltImage, phone: Phone) -> None:
    (fleet.served / "summary.sig").unlink()
    assert_refused(phone, "no summary.sig found")


@pytest.mark.parametrize("kind", ["filez", "dirtree", "commit"])
def test_an_object_that_was_changed_is_refused(fleet: Fleet, exported: BuiltImage, phone: Phone, kind: str) -> None:
    shutil.rmtree(fleet.served / "deltas")
    for changed in fleet.served.rglob(f"*.{kind}"):
        data = bytearray(changed.read_bytes())
        if len(data) > 32:
            data[-3] ^= 1
        changed.write_bytes(data)
    assert_refused(phone, "notes is not taken from the remote fleet: ")


def test_a_delta_that_was_changed_is_of_no_use_and_does_no_harm(
    fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server
) -> None:
    part = next((fleet.served / "deltas").rglob("0"))
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    pulled = take(phone)
    assert pulled is not None, phone.progress.notes
    assert pulled.commit == exported.commit
    phone.builder.store.ostree.check()


def _setuid(tree: Path) -> None:
    (tree / "usr/bin/program-1").chmod(0o4755)


def _of_root(tree: Path) -> None:
    os.chown(tree / "usr/bin/program-1", 0, 0)


def _bad_shadow(tree: Path) -> None:
    (tree / "etc/shadow").write_text("root:x:0:0:\n")
    os.chown(tree / "etc/shadow", FOREIGN_BASE, FOREIGN_BASE)


def sign_another(fleet: Fleet, spoil: Spoil) -> None:
    """Export an image which was changed by `spoil` after all that a build sees to."""
    built = publish(fleet.store, "notes", "1")
    copy = fleet.store.root / "copy"
    subprocess.run(["cp", "-a", "--no-target-directory", str(built.tree), str(copy)], check=True)
    spoil(copy)
    repo = f"--repo={fleet.store.repository}"
    body = fleet.store.root / "body"
    body.write_text(fleet.store.ostree.body(built.commit))
    command = ["ostree", "commit", repo, "--orphan", "--no-bindings", "--subject=x", f"--body-file={body}"]
    done = subprocess.run([*command, f"--tree=dir={copy}"], check=True, capture_output=True, text=True)
    with fleet.store.build_directory() as work, fleet.store.changing():
        fleet.store.enter(done.stdout.strip(), built.manifest, work)
    fleet.export()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_setuid, "'/usr/bin/program-1' must not be in an image: -rwsr-xr-x"),
        (_of_root, "'/usr/bin/program-1' in the image belongs to an account of the host"),
        (_bad_shadow, "'root:x:0:0:' is malformed"),
    ],
)
def test_what_the_key_signed_must_be_harmless_all_the_same(fleet: Fleet, phone: Phone, spoil: Spoil, why: str) -> None:
    publish(fleet.store, "notes", "1", spoil)
    fleet.export()
    assert_refused(phone, why)


def test_extended_attributes_in_a_signed_commit_are_refused(fleet: Fleet, phone: Phone) -> None:
    capability = bytes.fromhex("0100000200040000000000000000000000000000")
    sign_another(fleet, lambda tree: os.setxattr(tree / "usr/bin/program-1", "security.capability", capability))
    assert_refused(phone, "has extended attributes, which must not be in an image")


def test_a_target_with_a_line_break_hides_nothing(fleet: Fleet, phone: Phone) -> None:
    """In a listing of the commit it looks like a directory /proc, which is a symlink in truth."""

    def forge(tree: Path) -> None:
        (tree / "proc").rmdir()
        (tree / "proc").symlink_to("usr/evil")
        (tree / "z").symlink_to(f"x\nd00555 {FOREIGN_BASE} {FOREIGN_BASE} 0 {{ @a(ayay) [] }} /proc")
        for name in ("proc", "z"):
            os.chown(tree / name, FOREIGN_BASE, FOREIGN_BASE, follow_symlinks=False)

    sign_another(fleet, forge)
    assert_refused(phone, "'/proc' in the image is not the directory that must be there")


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "other"},
        {"digest": "e" * 64},
        {"parent": "../../../../etc/passwd"},
    ],
)
def test_a_signed_commit_that_is_not_what_its_name_says_is_refused(
    fleet: Fleet, phone: Phone, wrong: dict[str, object]
) -> None:
    fields: dict[str, object] = {"name": "notes", **wrong}
    built = publish(fleet.store, str(fields.pop("name")), "1", **fields)  # type: ignore[arg-type]
    fleet.store.ostree.set_ref(f"image/notes/{DIGEST}", built.commit)
    manifest = fleet.store.root / f"manifests/{built.commit}.json"
    manifest.write_text(manifest.read_text().replace("e" * 64, DIGEST).replace('"other"', '"notes"'))
    fleet.export()
    assert_refused(phone, "commit ")


def test_a_replay_of_an_older_commit_is_refused(
    fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server, tmp_path: Path
) -> None:
    shutil.copytree(fleet.served, tmp_path / "old")
    second = publish(fleet.store, "notes", "2")
    fleet.export()
    assert take(phone) is not None
    shutil.rmtree(fleet.served)
    (tmp_path / "old").rename(fleet.served)
    assert take(phone) is None
    assert "is not newer than what is here" in phone.progress.notes[0]
    assert phone.builder.store.images()[0].commit == second.commit


def test_a_replay_after_a_purge_is_refused_until_the_owner_says_otherwise(
    fleet: Fleet, exported: BuiltImage, phone: Phone, tmp_path: Path
) -> None:
    shutil.copytree(fleet.served, tmp_path / "old")
    publish(fleet.store, "notes", "2")
    fleet.export()
    assert take(phone) is not None
    phone.builder.purge("notes")
    shutil.rmtree(fleet.served)
    (tmp_path / "old").rename(fleet.served)
    assert phone.builder.remotes.served(NOTES, DIGEST) is None
    phone.progress.notes.clear()
    assert_refused(phone, "is older than what was taken before, of 2026-01-02T00:00:00Z")
    assert phone.builder.cache.lock(DIGEST) == lock("2")
    phone.builder.holds.put("notes", Hold())
    pulled = take(phone)
    assert pulled is not None
    assert pulled.commit == exported.commit


def test_what_is_here_may_be_pulled_again_after_a_purge(fleet: Fleet, exported: BuiltImage, phone: Phone) -> None:
    assert take(phone) is not None
    phone.builder.purge("notes")
    pulled = take(phone)
    assert pulled is not None, phone.progress.notes
    assert pulled.commit == exported.commit


def test_a_remote_that_does_not_answer_is_waited_for_once(
    fleet: Fleet, phone: Phone, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "LOOK_SECONDS", 2)
    server.hook = silent
    remotes = phone.builder.remotes
    assert remotes.pull(NOTES, DIGEST) is None
    start, asked = time.monotonic(), len(server.requests)
    assert remotes.pull(image("other"), DIGEST) is None
    assert remotes.served(NOTES, DIGEST) is None
    assert time.monotonic() - start < 1
    assert len(server.requests) == asked
    assert len(phone.progress.notes) == 1


def test_a_remote_that_has_not_one_image_is_asked_for_the_next(
    fleet: Fleet, exported: BuiltImage, phone: Phone
) -> None:
    remotes = phone.builder.remotes
    assert remotes.pull(image("other"), DIGEST) is None
    assert remotes.pull(NOTES, DIGEST) is not None


def test_what_was_rolled_back_or_pinned_away_is_not_taken(fleet: Fleet, exported: BuiltImage, phone: Phone) -> None:
    phone.builder.holds.put("notes", Hold(rejected=(lock("1").digest,)))
    assert_refused(phone, "was rolled back here")
    phone.progress.notes.clear()
    phone.builder.holds.put("notes", Hold(pinned=True))
    phone.builder.cache.save_lock(DIGEST, lock("2"))
    assert_refused(phone, "is pinned to other packages")


def test_a_server_that_goes_half_way_leaves_nothing(
    fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server
) -> None:
    shutil.rmtree(fleet.served / "deltas")

    def gone(request: SimpleHTTPRequestHandler) -> bool:
        if server.count(".filez") < 100:
            return False
        request.connection.close()
        return True

    server.hook = gone
    assert_refused(phone, "notes is not taken from the remote fleet: ")
    server.hook = lambda request: False
    assert take(phone) is not None


@pytest.mark.parametrize("part", ["summary", "objects", "deltas"])
def test_a_server_that_never_answers_is_given_up(
    fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    monkeypatch.setattr(pull, "LOOK_SECONDS", 2)
    monkeypatch.setattr(pull, "SLOWEST", 1 << 40)
    server.hook = lambda request: part in request.path and silent(request)
    start = time.monotonic()
    pulled = take(phone)
    assert time.monotonic() - start < 15
    if part == "deltas":
        assert pulled is not None, "the files are there without the delta"
    else:
        assert pulled is None
        assert "notes is not taken from the remote fleet: " in phone.progress.notes[0]


@pytest.mark.parametrize("part", ["summary", ".commit", "superblock", ".filez"])
def test_a_body_without_end_does_not_fill_the_disk(
    fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    if part == ".filez":
        shutil.rmtree(fleet.served / "deltas")
    monkeypatch.setattr(pull, "SUMMARY_LIMIT", 4 << 20)
    server.hook = lambda request: part in request.path and endless(request)
    start, free = time.monotonic(), shutil.disk_usage(phone.places.root).free
    pulled = take(phone)
    assert time.monotonic() - start < 60
    assert free - shutil.disk_usage(phone.places.root).free < 200 << 20
    assert (pulled is not None) == (part == "superblock")


PULL = """
import sys
from pathlib import Path
from ftos.host.places import Places
from tests.image.harness import Recorder, builder, image
builder(Places(Path(sys.argv[1])), Recorder(sys.argv[2])).remotes.pull(image("notes"), sys.argv[3])
"""


@pytest.mark.parametrize("stage", ["notes: look", "notes: pull", "notes: examine", "notes: take", "in the middle"])
def test_kill_9_leaves_the_store_sound_and_the_next_pull_works(
    fleet: Fleet, exported: BuiltImage, phone: Phone, server: Server, checkout: Path, stage: str
) -> None:
    if stage == "in the middle":
        server.hook = lambda request: "/deltas/" in request.path and silent(request)
    command = [sys.executable, "-c", PULL, str(phone.places.root), stage, DIGEST]
    process = subprocess.Popen(command, cwd=checkout)
    if stage == "in the middle":
        while not server.count("/deltas/"):
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.wait(60) == -signal.SIGKILL
    server.hook = lambda request: False
    store = phone.builder.store
    assert store.images() == []
    store.ostree.check()
    assert take(phone) is not None, phone.progress.notes
    assert [path for path in (phone.places.store / "builds").iterdir() if path.is_dir()] == []
    store.ostree.check()


EXPORT = """
import os, signal, sys
from pathlib import Path
from ftos.host.places import Places
from ftos.image.export import choose, export
from ftos.image.ostree import Ostree
from ftos.image.store import Store
from tests.image.harness import Recorder

def die(*arguments):
    os.kill(os.getpid(), signal.SIGKILL)

root, served, key, home, step = sys.argv[1:]
setattr(Ostree, step, die)
store = Store(Places(Path(root)), tuple)
export(store, choose(store, ()), Path(served), key, Path(home), Recorder())
"""


@pytest.mark.parametrize("step", ["pull_local", "sign", "make_delta", "set_ref", "write_summary", "prune"])
def test_kill_9_before_a_step_of_an_export_leaves_what_was_served_or_the_new(
    fleet: Fleet, exported: BuiltImage, phone: Phone, checkout: Path, step: str
) -> None:
    second = publish(fleet.store, "notes", "2", parent=exported.commit)
    root = fleet.store.root.parents[3]
    command = [sys.executable, "-c", EXPORT, str(root), str(fleet.served), fleet.key.id, str(fleet.key.home), step]
    assert subprocess.run(command, cwd=checkout, check=False, timeout=60).returncode == -signal.SIGKILL
    taken = take(phone)
    assert taken is not None, phone.progress.notes
    assert taken.commit == (second if step == "prune" else exported).commit
    fleet.export()
    subprocess.run(["ostree", "fsck", "--quiet", f"--repo={fleet.served}"], check=True)
    assert list((fleet.served / "tmp").glob("summary-*")) == []
    served = phone.builder.remotes.served(NOTES, DIGEST)
    assert served == second.manifest


def test_an_export_can_be_pulled_with_ostree_alone(
    fleet: Fleet, exported: BuiltImage, server: Server, tmp_path: Path, key: Key
) -> None:
    client = tmp_path / "client"
    Ostree(client).initialise("archive")
    (tmp_path / "key").write_bytes(key.public)
    remote = ["ostree", "remote", "add", f"--repo={client}", "--set=gpg-verify-summary=true"]
    subprocess.run([*remote, f"--gpg-import={tmp_path / 'key'}", "fleet", server.url], check=True, capture_output=True)
    pull_it = ["ostree", "pull", f"--repo={client}", "fleet", f"image/notes/{DIGEST}"]
    subprocess.run(pull_it, check=True, capture_output=True)
    assert Ostree(client).body(exported.commit) == fleet.store.ostree.body(exported.commit)
