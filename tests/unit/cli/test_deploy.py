# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos deploy`: what is proposed, what is written, what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ftos.spec.load import load_as
from ftos.spec.records import Binding, Deployment
from tests.unit.cli.conftest import NOTES, Run


def test_yes_takes_the_instance_of_the_requests_name_and_no_network(notes: Path) -> None:
    deployment = load_as(notes, Deployment)
    assert deployment.os_services == {
        "documents": Binding(instance="documents", rights=("list", "read")),
        "network": Binding(instance="none"),
    }


def test_text_says_why_what_else_and_where_data_is(notes: Path) -> None:
    text = notes.read_text()
    assert "# imports text files" in text
    assert "or: album, downloads" in text
    assert "#  theme: dark" in text
    assert "one of dark, light" in text
    assert "data, /home/app/notes" in text


def test_what_the_image_asks_for_is_shown_with_its_reason(ftos: Run) -> None:
    told = ftos("deploy", "notes", "--yes").stderr
    assert "documents (user-dir, optional; rights: list, read): imports text files" in told
    assert "album                The album" in told


def test_several_deployments_have_own_names_ids_and_ranges(ftos: Run, root: Path) -> None:
    for _ in range(3):
        assert ftos("deploy", "notes", "--yes").exit_code == 0
    rows = json.loads(ftos("list", "--json").stdout)
    assert [row["name"] for row in rows] == ["notes", "notes-2", "notes-3"]
    ranges = json.loads((root / "var/lib/ftos/state/id-ranges.json").read_text())
    assert {row["id"] for row in rows} == set(ranges)
    assert len(set(ranges.values())) == 3


def test_bind_deny_set_and_name_are_obeyed(ftos: Run, root: Path) -> None:
    words = ["--bind", "network=host-shared", "--deny", "user-dir", "--name", "work"]
    words += ["--set", "settings.theme=light", "--set", "limits.memory=700M", "--set", "autostart=true"]
    result = ftos("deploy", "notes", *words)
    assert result.exit_code == 0, result.stderr
    deployment = load_as(root / "etc/ftos/deployments/work.yml", Deployment)
    assert {key: binding.instance for key, binding in deployment.os_services.items()} == {
        "documents": "none",
        "network": "host-shared",
    }
    assert (deployment.settings, deployment.limits.memory, deployment.autostart) == ({"theme": "light"}, "700M", True)


def test_required_network_is_not_granted_by_yes_and_this_is_said(ftos: Run, root: Path) -> None:
    image = root / "etc/ftos/images/notes.yml"
    image.write_text(NOTES.replace("network: {reason", "network: {required: true, reason"))
    result = ftos("deploy", "notes", "--yes")
    assert result.exit_code == 0
    assert "the image needs the os-service 'network', and it is not granted" in result.stderr
    deployment = load_as(root / "etc/ftos/deployments/notes.yml", Deployment)
    assert deployment.os_services["network"].instance == "none"


def test_required_request_without_namesake_gets_the_first_instance_and_an_optional_one_nothing(
    ftos: Run, root: Path
) -> None:
    text = NOTES.replace("documents: {interface", "papers: {interface")
    for required, expected in (("", "none"), ("required: true, ", "album")):
        (root / "etc/ftos/images/notes.yml").write_text(text.replace("rights:", f"{required}rights:"))
        assert f"papers: {{instance: {expected}" in ftos("deploy", "notes", "--yes", "--dry-run").stdout


def test_interface_without_provider_can_only_be_none(ftos: Run, root: Path) -> None:
    text = NOTES.replace("  network: {", "  location: {reason: finds you}\n  network: {")
    (root / "etc/ftos/images/notes.yml").write_text(text)
    assert "location: {instance: none}" in ftos("deploy", "notes", "--yes", "--dry-run").stdout
    refused = ftos("deploy", "notes", "--bind", "location=empty", "--yes")
    assert "'empty' is no service instance of interface 'location'\n  there are: none" in refused.stderr


def test_words_of_the_image_stay_within_their_comment(ftos: Run, root: Path) -> None:
    # Line separators are refused when the image is read; what else can't be printed is escaped in the comment.
    trap = 'reason: "x\\u202e # os-services: {network: {instance: host-shared}}"'
    (root / "etc/ftos/images/notes.yml").write_text(NOTES.replace("reason: fetches the news", trap))
    result = ftos("deploy", "notes", "--yes")
    assert result.exit_code == 0, result.stderr
    text = (root / "etc/ftos/deployments/notes.yml").read_text()
    assert all(c.isprintable() or c == "\n" for c in text + result.stderr)
    deployment = load_as(root / "etc/ftos/deployments/notes.yml", Deployment)
    assert deployment.os_services["network"].instance == "none"
    assert not deployment.autostart


def test_dry_run_prints_the_descriptor_and_changes_nothing(ftos: Run, root: Path) -> None:
    result = ftos("deploy", "notes", "--yes", "--dry-run")
    assert "kind: deployment\nschema: 1\nname: notes\n" in result.stdout
    assert not list(root.rglob("notes.yml")) or [p.parent.name for p in root.rglob("notes.yml")] == ["images"]
    assert not (root / "var/lib/ftos/state").exists()
    assert not (root / "etc/ftos/deployments").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nots", "--yes"], "ftos: there is no image 'nots'\n  did you mean `notes`?"),
        (["../notes", "--yes"], "ftos: there is no image '../notes'"),
        (["notes"], "ftos: nobody is there to decide about documents, network\n  add --yes to accept what is proposed"),
        (["notes", "--deny", "network"], "ftos: nobody is there to decide about documents\n"),
        (["notes", "--yes", "--name", "../x"], "ftos: '../x' can't be a name\n  a name is lower case letters"),
        (["notes", "--yes", "--bind", "network"], "ftos: 'network' is no binding\n  write --bind REQUEST=INSTANCE"),
        (["notes", "--yes", "--bind", "camera=x"], "does not ask for 'camera'\n  it asks for: documents, network"),
        (["notes", "--yes", "--deny", "netwrk"], "does not ask for 'netwrk'\n  did you mean 'network'?"),
        (
            ["notes", "--yes", "--bind", "network=album"],
            "ftos: 'album' is no service instance of interface 'network'\n  there are: host-shared, empty, none",
        ),
        (
            ["notes", "--bind", "network=host-shared", "--deny", "network"],
            "ftos: 'network' is decided twice\n  give one --bind or --deny for it",
        ),
        (["notes", "--yes", "--set", "x"], "ftos: 'x' sets nothing\n  write KEY=VALUE"),
        (["notes", "--yes", "--set", "id=d-00000000"], "ftos: 'id' can't be changed\n  a deployment keeps it for life"),
        (
            ["notes", "--yes", "--set", "theme=light"],
            "ftos: 'theme' is no key of a deployment\n  did you mean settings.theme=light?",
        ),
        (["notes", "--yes", "--set", "settings.theme=blue"], "settings.theme: 'blue' is not a choice of the setting"),
        (["notes", "--yes", "--set", "limits.memory=lots"], "limits.memory"),
    ],
)
def test_what_is_wrong_is_said_and_nothing_is_written(ftos: Run, root: Path, words: list[str], message: str) -> None:
    result = ftos("deploy", *words)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr
    assert not list((root / "etc/ftos").glob("deployments/*.yml"))


def test_one_word_for_several_requests_is_refused_in_bind_and_taken_in_deny(ftos: Run, root: Path) -> None:
    text = NOTES.replace("  network: {", "  music: {interface: user-dir, reason: plays}\n  network: {")
    (root / "etc/ftos/images/notes.yml").write_text(text)
    result = ftos("deploy", "notes", "--bind", "user-dir=album", "--yes")
    assert "ftos: 'user-dir' means several requests of notes\n  name one of: documents, music" in result.stderr
    assert ftos("deploy", "notes", "--deny", "user-dir", "--deny", "network").exit_code == 0
    deployment = load_as(root / "etc/ftos/deployments/notes.yml", Deployment)
    assert {binding.instance for binding in deployment.os_services.values()} == {"none"}


def test_taken_name_is_refused(ftos: Run, notes: Path) -> None:
    before = notes.read_bytes()
    result = ftos("deploy", "notes", "--yes", "--name", "notes")
    assert "ftos: there is a deployment 'notes' already\n  choose another name with --name" in result.stderr
    assert notes.read_bytes() == before


def test_image_that_asks_for_nothing_needs_no_answers(ftos: Run, root: Path) -> None:
    before, _, rest = NOTES.partition("os-services:")
    (root / "etc/ftos/images/notes.yml").write_text(before + rest[rest.index("volumes:") :])
    result = ftos("deploy", "notes")
    assert result.exit_code == 0, result.stderr
    assert "Notes asks for nothing outside its own container." in result.stderr
