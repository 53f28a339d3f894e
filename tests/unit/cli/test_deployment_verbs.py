# SPDX-License-Identifier: AGPL-3.0-or-later
"""list, show, set, bind, unbind and undeploy: what they print, change and refuse."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ftos.cli.context import App
from ftos.cli.deployments import locked
from ftos.host.places import Places
from ftos.runtime.instances import InstanceDirectory, InstanceRecord, process_start_time
from ftos.spec.load import load_as
from ftos.spec.records import Binding, Deployment
from tests.unit.cli.conftest import Run


@pytest.fixture
def running(notes: Path, root: Path) -> Iterator[None]:
    """As if an instance of `notes` ran: its record, with this process in the place of its init."""
    directory = write_record(Places(root), load_as(notes, Deployment).id)
    yield
    directory.remove()


def write_record(places: Places, identity: str) -> InstanceDirectory:
    start = process_start_time(os.getpid())
    assert start is not None
    directory = InstanceDirectory.make(places, "notes")
    directory.write(
        InstanceRecord(
            instance=directory.name,
            deployment="notes",
            id=identity,
            image="notes",
            commit="",
            layer="",
            environment=(),
            working_directory="/",
            started_at="2026-01-01T00:00:00Z",
            pid=os.getpid(),
            start_time=start,
        )
    )
    return directory


def test_list_without_deployments_says_how_to_make_one(ftos: Run) -> None:
    result = ftos("list")
    assert (result.stdout, result.exit_code) == ("", 0)
    assert "`ftos deploy IMAGE` makes one" in result.stderr
    assert json.loads(ftos("list", "--json").stdout) == []


def test_list_aligns_columns_and_shows_bindings(ftos: Run, notes: Path) -> None:
    header, row = ftos("list").stdout.splitlines()
    assert header.split() == ["NAME", "IMAGE", "RUNNING", "AUTOSTART", "OS-SERVICES"]
    assert row.split() == ["notes", "notes", "-", "-", "documents=documents", "network=none"]
    assert header.index("IMAGE") == row.index("notes", 1)


def test_list_shows_what_is_right_and_tells_what_is_wrong(ftos: Run, notes: Path) -> None:
    (notes.parent / "broken.yml").write_text("kind: deployment\nschema: 1\nname: broken\nimages: notes\n")
    result = ftos("list", "--json")
    assert [row["name"] for row in json.loads(result.stdout)] == ["notes"]
    assert "broken.yml:4: images" in result.stderr
    assert result.exit_code == 2


def test_list_shows_what_runs(ftos: Run, running: None) -> None:
    assert json.loads(ftos("list", "--json").stdout)[0]["running"] is True


def test_show_prints_effective_values_as_yaml(ftos: Run, notes: Path) -> None:
    text = ftos("show", "notes").stdout
    assert "theme: dark" in text
    assert "GTK_THEME: Adwaita" in text
    shown = json.loads(ftos("show", "notes", "--json").stdout)
    assert shown["volumes"]["cache"] == {"class": "cache", "path": "/home/app/.cache", "quota": "300M", "ttl": "14d"}
    assert shown["os-services"]["documents"]["rights"] == ["list", "read"]
    assert shown["os-services"]["network"] == {"interface": "network", "instance": "none"}


def test_show_origin_names_file_and_line_of_each_value(ftos: Run, notes: Path, root: Path) -> None:
    (root / "etc/ftos/host.yml").write_text("kind: host\nschema: 1\ntimezone: Europe/Berlin\n")
    with (root / "etc/ftos/images/notes.yml").open("a") as text:
        text.write("os-components: [timezone]\n")
    ftos("set", "notes", "limits.memory=700M")
    values = {row["key"]: row for row in json.loads(ftos("show", "notes", "--origin", "--json").stdout)}
    image = root / "etc/ftos/images/notes.yml"

    def line(path: Path, word: str) -> str:
        number = next(n for n, text in enumerate(path.read_text().splitlines(), 1) if text.strip().startswith(word))
        return f"{path}:{number}"

    assert values["settings.theme"] == {"key": "settings.theme", "value": "dark", "origin": line(image, "theme:")}
    assert values["limits.memory"]["origin"] == line(notes, "memory:")
    assert values["limits.pids"]["origin"] == "built-in default"
    assert values["os-services.documents.instance"]["origin"] == line(notes, "documents:")
    assert values["os-services.documents.interface"]["origin"] == line(image, "documents:")
    assert values["volumes.cache.quota"]["origin"] == line(image, "- {name: cache")
    assert values["environment.TZ"]["value"] == "Europe/Berlin"
    assert re.fullmatch(r".*/osbases/debian/trixie/osbase.yml:\d+", values["environment.TZ"]["origin"])
    assert values["host.timezone"]["origin"] == f"{root}/etc/ftos/host.yml:3"
    assert values["host.architecture"]["origin"] == "the running kernel"
    table = ftos("show", "notes", "--origin").stdout
    assert "limits.memory" in table
    assert '["nano"]' in table


def test_set_keeps_comments_and_tells_what_it_set(ftos: Run, notes: Path) -> None:
    before = notes.read_text()
    result = ftos("set", "notes", "settings.theme=light", "os-services.documents.rights=[list, read, write]")
    assert (
        result.stdout
        == "set notes: settings.theme=light\nset notes: os-services.documents.rights=[list, read, write]\n"
    )
    after = notes.read_text()
    assert [line for line in before.splitlines() if line.startswith("#")] == [
        line for line in after.splitlines() if line.startswith("#")
    ]
    deployment = load_as(notes, Deployment)
    assert deployment.settings == {"theme": "light"}
    assert deployment.os_services["documents"].rights == ("list", "read", "write")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["notes", "name=other"], "'name' can't be changed"),
        (["notes", "colour=red"], "'colour' in 'colour' is not a key\n  known keys: "),
        (["notes", "settings.theme=blue"], "settings.theme: 'blue' is not a choice of the setting"),
        (["notes", "image=gone"], "image: there is no image 'gone' (did you mean"),
        (
            ["notes", "os-services.network.instance=album"],
            "'album' is of interface user-dir, the image asks for network",
        ),
        (["note", "autostart=true"], "there is no deployment 'note'\n  did you mean `notes`?"),
    ],
)
def test_set_refuses_and_leaves_the_file_as_it_was(ftos: Run, notes: Path, words: list[str], message: str) -> None:
    before = notes.read_bytes()
    result = ftos("set", *words)
    assert result.exit_code == 2
    assert message.partition(" (")[0] in result.stderr
    assert notes.read_bytes() == before


def test_dry_runs_check_but_change_nothing(ftos: Run, notes: Path) -> None:
    before = notes.read_bytes()
    assert ftos("set", "notes", "autostart=true", "--dry-run").stdout == "would set notes: autostart=true\n"
    assert ftos("set", "notes", "autostart=17", "--dry-run").exit_code == 2
    assert ftos("bind", "notes", "documents", "album", "--dry-run").stdout == "would bind notes: documents to album\n"
    assert ftos("unbind", "notes", "documents", "--dry-run").stdout == "would unbind notes: documents\n"
    assert f"would remove {notes}\n" in ftos("undeploy", "notes", "--dry-run").stdout
    assert notes.read_bytes() == before


def test_change_of_a_running_app_says_when_it_takes_effect(ftos: Run, running: None) -> None:
    for words in (
        ["set", "notes", "autostart=true"],
        ["bind", "notes", "network", "empty"],
        ["unbind", "notes", "network"],
    ):
        assert "notes is running; this takes effect at its next start" in ftos(*words).stderr


def test_bind_by_request_or_interface_keeps_rights(ftos: Run, notes: Path) -> None:
    ftos("set", "notes", "os-services.documents.rights=[list, read, write]")
    assert ftos("bind", "notes", "user-dir", "album").stdout == "bound notes: documents to album\n"
    bound = load_as(notes, Deployment).os_services["documents"]
    assert bound == Binding(instance="album", rights=("list", "read", "write"))


def test_binding_without_rights_gets_none_of_the_images_when_bound_elsewhere(
    ftos: Run, notes: Path, root: Path
) -> None:
    image = root / "etc/ftos/images/notes.yml"
    image.write_text(image.read_text().replace("rights: [list, read]", "rights: [list, read, write]"))
    notes.write_text(re.sub(r"(documents: \{instance: documents), rights: [^}]*", r"\1", notes.read_text()))
    assert load_as(notes, Deployment).os_services["documents"] == Binding(instance="documents")
    ftos("bind", "notes", "documents", "album")
    assert load_as(notes, Deployment).os_services["documents"] == Binding(instance="album")


def test_binding_to_none_is_bound_as_a_new_one(ftos: Run, notes: Path) -> None:
    notes.write_text(re.sub(r"documents: \{instance: [^}]*", "documents: {instance: none", notes.read_text()))
    ftos("bind", "notes", "documents", "album")
    assert load_as(notes, Deployment).os_services["documents"] == Binding(instance="album", rights=("list", "read"))


def test_unbound_request_is_bound_again_with_the_rights_the_image_asks_for(ftos: Run, notes: Path) -> None:
    assert ftos("unbind", "notes", "documents").stdout == "unbound notes: documents\n"
    assert "documents" not in load_as(notes, Deployment).os_services
    ftos("bind", "notes", "documents", "album")
    assert load_as(notes, Deployment).os_services["documents"] == Binding(instance="album", rights=("list", "read"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["bind", "notes", "camera", "album"],
            "the image 'notes' does not ask for 'camera'\n  it asks for: documents, network",
        ),
        (["bind", "notes", "network", "album"], "'album' is no service instance of interface 'network'\n  there are:"),
        (["bind", "notes", "documents", "gone"], "'gone' is no service instance of interface 'user-dir'"),
        (["unbind", "notes", "camera"], "the image 'notes' does not ask for 'camera'"),
    ],
)
def test_bind_and_unbind_refuse_what_does_not_fit(ftos: Run, notes: Path, words: list[str], message: str) -> None:
    result = ftos(*words)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def test_unbind_twice_is_refused(ftos: Run, notes: Path) -> None:
    ftos("unbind", "notes", "network")
    result = ftos("unbind", "notes", "network")
    assert "ftos: notes has no binding for 'network'\n  it binds: documents" in result.stderr


def test_binding_whose_request_is_gone_can_be_unbound(ftos: Run, notes: Path, root: Path) -> None:
    image = root / "etc/ftos/images/notes.yml"
    image.write_text("".join(line for line in image.read_text().splitlines(True) if "fetches the news" not in line))
    assert ftos("set", "notes", "autostart=true").exit_code == 2
    assert ftos("unbind", "notes", "network").exit_code == 0


def data_of(notes: Path, root: Path) -> Path:
    data = root / "var/lib/ftos/volumes" / load_as(notes, Deployment).id
    (data / "notes").mkdir(parents=True)
    (data / "notes/diary").write_text("dear")
    return data


def test_undeploy_keeps_data_and_says_where(ftos: Run, notes: Path, root: Path) -> None:
    data = data_of(notes, root)
    result = ftos("undeploy", "notes")
    assert result.stdout == "removed notes\n"
    assert result.stderr == f"its data stays in {data}\n"
    assert not notes.exists()
    assert (data / "notes/diary").read_text() == "dear"


def test_undeploy_deletes_data_only_when_told_twice(ftos: Run, notes: Path, root: Path) -> None:
    data = data_of(notes, root)
    result = ftos("undeploy", "notes", "--delete-data")
    assert "deleting the data of notes can't be undone\n  add --yes if you are sure" in result.stderr
    assert (notes.exists(), data.exists()) == (True, True)
    assert "would delete the data" in ftos("undeploy", "notes", "--delete-data", "--dry-run").stdout
    assert ftos("undeploy", "notes", "--delete-data", "--yes").exit_code == 0
    assert (notes.exists(), data.exists()) == (False, False)


def test_undeploy_refuses_while_the_app_runs(ftos: Run, notes: Path, running: None) -> None:
    result = ftos("undeploy", "notes")
    assert (result.exit_code, result.stderr) == (1, "ftos: notes is running\n  stop it with `ftos stop notes`\n")
    assert notes.exists()


def test_undeploy_looks_again_before_it_deletes(
    ftos: Run, notes: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The app is started while another one holds the lock that `undeploy` waits for."""
    data = data_of(notes, root)
    places = Places(root)
    identity = load_as(notes, Deployment).id

    @contextmanager
    def locked_late(app: App) -> Iterator[None]:
        with locked(app):
            directory = write_record(places, identity)
            yield
            directory.remove()

    monkeypatch.setattr("ftos.cli.deployments.locked", locked_late)
    result = ftos("undeploy", "notes", "--delete-data", "--yes")
    assert (result.exit_code, result.stderr) == (1, "ftos: notes is running\n  stop it with `ftos stop notes`\n")
    assert (notes.exists(), (data / "notes/diary").read_text()) == (True, "dear")


def test_two_deployments_with_one_id_are_neither_changed_nor_removed(ftos: Run, notes: Path, root: Path) -> None:
    data = data_of(notes, root)
    second = notes.with_name("notes2.yml")
    second.write_text(notes.read_text().replace("name: notes\n", "name: notes2\n", 1))
    before = second.read_bytes()
    for words in (["set", "notes2", "autostart=true"], ["undeploy", "notes2", "--delete-data", "--yes"]):
        result = ftos(*words)
        assert result.exit_code == 2
        assert all(part in result.stderr for part in (f"{second}", f"is the id of '{notes}' too", "an id of its own"))
    assert second.read_bytes() == before
    assert data.exists()
    second.write_text("kind: deployment\n")  # broken: of no account
    assert ftos("undeploy", "notes").exit_code == 0


def test_the_lock_is_where_only_its_owner_gets_in(ftos: Run, notes: Path, root: Path) -> None:
    state = root / "var/lib/ftos/state"
    assert (state / "deployments.lock").is_file()
    assert state.stat().st_mode & 0o777 == 0o700
    handle = os.open(notes.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # what any account may do with a directory that it may open
        assert ftos("set", "notes", "autostart=true").exit_code == 0
    finally:
        os.close(handle)


def test_stop_dry_run_says_which_instances_and_stops_none(ftos: Run, running: None, root: Path) -> None:
    (instance,) = (path.name for path in (root / "run/ftos/instances").iterdir())
    result = ftos("stop", "notes", "--dry-run")  # else this process would be stopped
    assert (result.exit_code, result.stdout) == (0, f"would stop {instance}\n")


def test_service_list_names_who_uses_what(ftos: Run, notes: Path) -> None:
    rows = {row["name"]: row for row in json.loads(ftos("service", "list", "--json").stdout)}
    assert rows["documents"]["used-by"] == ["notes"]
    assert rows["album"] == {
        "name": "album", "interface": "user-dir", "provider": "directory", "title": "The album",
        "settings": {"path": "~/Album"}, "used-by": [],
    }  # fmt: skip
    assert ftos("service", "list").stdout.startswith("NAME")
