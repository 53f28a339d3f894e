# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos deploy` and `ftos undeploy` talking with a person at a terminal."""

from __future__ import annotations

from pathlib import Path

from ftos.spec.load import load_as
from ftos.spec.records import Binding, Deployment
from tests.unit.cli.terminal import Terminal


def test_person_accepts_one_proposal_and_changes_another(root: Path) -> None:
    with Terminal("deploy", "notes") as terminal:
        terminal.expect("imports text files")
        terminal.expect("documents: album / documents / downloads")
        terminal.expect("[documents]: ")
        terminal.answer("")
        terminal.expect("rights [list, read]: ")
        terminal.answer("list read write")
        terminal.expect("network: host-shared / empty / none [none]: ")
        terminal.answer("empty")
        terminal.expect("Deploy notes like this? [Y/n]: ")
        terminal.answer("")
        assert terminal.end() == 0
        assert "deployed notes: " in terminal.output
    assert load_as(root / "etc/ftos/deployments/notes.yml", Deployment).os_services == {
        "documents": Binding(instance="documents", rights=("list", "read", "write")),
        "network": Binding(instance="empty"),
    }


def test_wrong_answers_are_asked_again(root: Path) -> None:
    with Terminal("deploy", "notes", "--deny", "network") as terminal:
        terminal.expect("[documents]: ")
        terminal.answer("everything")
        terminal.expect("'everything' is not one of")
        terminal.expect("[documents]: ")
        terminal.answer("album")
        terminal.expect("rights [list, read]: ")
        terminal.answer("list, fly")
        terminal.expect("'fly' is no right; rights are: list, read, write")
        terminal.expect("rights [list, read]: ")
        terminal.answer("")
        terminal.expect("[Y/n]: ")
        terminal.answer("y")
        assert terminal.end() == 0
        assert "network: " not in terminal.output
    deployment = load_as(root / "etc/ftos/deployments/notes.yml", Deployment)
    assert deployment.os_services["documents"] == Binding(instance="album", rights=("list", "read"))
    assert deployment.os_services["network"].instance == "none"


def test_no_at_the_end_and_ctrl_c_in_the_middle_deploy_nothing(root: Path) -> None:
    with Terminal("deploy", "notes", "--bind", "documents=album") as terminal:
        terminal.expect("[none]: ")
        terminal.answer("")
        terminal.expect("[Y/n]: ")
        terminal.answer("n")
        assert terminal.end() == 130
    with Terminal("deploy", "notes") as terminal:
        terminal.expect("[documents]: ")
        terminal.interrupt()
        assert terminal.end() == 130
        assert "cancelled" in terminal.output
        assert "Traceback" not in terminal.output
    assert not list((root / "etc/ftos").glob("deployments/*.yml"))


def test_answers_given_as_options_are_not_asked_for(root: Path) -> None:
    with Terminal("deploy", "notes", "--bind", "documents=album", "--deny", "network") as terminal:
        assert terminal.end() == 0
        assert "[Y/n]" not in terminal.output


def test_data_is_deleted_after_a_yes_only(notes: Path, root: Path) -> None:
    data = root / "var/lib/ftos/volumes" / load_as(notes, Deployment).id
    (data / "notes").mkdir(parents=True)
    for answer, there in (("", True), ("y", False)):
        with Terminal("undeploy", "notes", "--delete-data") as terminal:
            terminal.expect("This can't be undone. [y/N]: ")
            terminal.answer(answer)
            terminal.end()
        assert (notes.exists(), data.exists()) == (there, there)


def test_tables_on_a_terminal_are_bold_unless_no_color_is_set(notes: Path) -> None:
    with Terminal("list") as terminal:
        assert terminal.end() == 0
        assert "\x1b[1mNAME" in terminal.output
    with Terminal("list", NO_COLOR="1") as terminal:
        assert terminal.end() == 0
        assert "NAME" in terminal.output
        assert "\x1b[3" not in terminal.output
