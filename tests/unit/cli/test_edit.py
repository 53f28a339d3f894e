# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos edit`: what the editor leaves behind is checked, saved or kept, never lost. Editors are small scripts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ftos.spec.load import load_as
from ftos.spec.records import Deployment
from tests.unit.cli.conftest import Run
from tests.unit.cli.terminal import Terminal

Editor = Callable[[str], None]


@pytest.fixture
def editor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Editor:
    """Make this shell script ($1 is the file) the editor of the person."""
    monkeypatch.delenv("VISUAL", raising=False)

    def use(script: str) -> None:
        path = tmp_path / "editor"
        path.write_text(f"#!/bin/sh -e\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("EDITOR", f"{path} --")

    return use


@pytest.fixture
def drafts(root: Path) -> Path:
    return root / "var/lib/ftos/state/drafts"


LIGHT = "sed -i 's/^autostart: false/autostart: true/' $2"
BREAK = "sed -i 's/^autostart: false/autostart: 17/' $2"


def test_valid_change_is_saved_and_no_draft_is_left(ftos: Run, notes: Path, editor: Editor, drafts: Path) -> None:
    editor(LIGHT)
    result = ftos("edit", "notes")
    assert (result.exit_code, result.stdout) == (0, "saved notes\n")
    assert load_as(notes, Deployment).autostart
    assert list(drafts.iterdir()) == []


def test_no_change_saves_nothing(ftos: Run, notes: Path, editor: Editor, drafts: Path) -> None:
    before = notes.stat()
    editor("true")
    assert ftos("edit", "notes").stdout == "notes is unchanged\n"
    assert notes.stat() == before
    assert list(drafts.iterdir()) == []


@pytest.mark.parametrize(
    ("script", "message", "status"),
    [
        (BREAK, "drafts/notes.yml:25: autostart: ", 2),
        ("sed -i 's/^id: d-......../id: d-00000000/' $2", "id must stay 'd-", 2),
        ("sed -i 's/^name: notes/name: other/' $2", "name must stay 'notes'", 2),
        ("sed -i 's/instance: documents/instance: dokuments/' $2", "there is no service instance 'dokuments'", 2),
        (f"{LIGHT}; exit 3", "failed with status 3; nothing was saved", 1),
        (f"{LIGHT}; kill -9 $$", "failed with status -9; nothing was saved", 1),
    ],
)
def test_what_can_not_be_saved_is_kept_as_a_draft(
    ftos: Run, notes: Path, editor: Editor, drafts: Path, script: str, message: str, status: int
) -> None:
    before = notes.read_bytes()
    editor(script)
    result = ftos("edit", "notes")
    assert result.exit_code == status
    assert message in result.stderr
    assert f"the draft is kept in {drafts}/notes.yml; `ftos edit notes` goes on with it" in result.stderr
    assert notes.read_bytes() == before
    assert (drafts / "notes.yml").read_bytes() != before


def test_editor_that_can_not_start_is_named(ftos: Run, notes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VISUAL", "/nonexistent/editor")
    assert (
        "ftos: the editor '/nonexistent/editor' can't be started\n  set EDITOR to one that is there"
        in ftos("edit", "notes").stderr
    )


def test_change_by_somebody_else_meanwhile_is_not_overwritten(
    ftos: Run, notes: Path, editor: Editor, drafts: Path
) -> None:
    editor(f"{LIGHT}; echo '# by hand' >> {notes}")
    result = ftos("edit", "notes")
    assert "ftos: notes was changed by somebody else meanwhile; nothing was saved" in result.stderr
    assert notes.read_text().endswith("# by hand\n")
    assert "autostart: true" in (drafts / "notes.yml").read_text()
    editor("echo '# kept' >> $2")
    with Terminal("edit", "notes") as terminal:
        terminal.expect("Go on with it? [Y/n]: ")
        terminal.answer("")
        terminal.expect("notes was changed meanwhile by somebody else")
        terminal.expect("+# by hand")
        terminal.expect("Press Enter for the editor: ")
        terminal.answer("")
        assert terminal.end() == 0
    assert load_as(notes, Deployment).autostart
    assert notes.read_text().endswith("# kept\n")


def test_draft_is_not_resumed_without_a_person(ftos: Run, notes: Path, editor: Editor) -> None:
    editor(BREAK)
    ftos("edit", "notes")
    assert "there is a draft of notes that was not saved\n  edit it at a terminal" in ftos("edit", "notes").stderr


def test_person_edits_again_after_errors(notes: Path, editor: Editor, drafts: Path) -> None:
    editor(f"if grep -q ': 17' $2; then sed -i 's/: 17/: true/' $2; else {BREAK}; fi")
    with Terminal("edit", "notes") as terminal:
        terminal.expect("notes.yml:25: autostart: ")
        terminal.expect("Edit again, keep the draft for later, or discard it? (edit, keep, discard) [edit]: ")
        terminal.answer("")
        assert terminal.end() == 0
    assert load_as(notes, Deployment).autostart
    assert list(drafts.iterdir()) == []


def test_person_keeps_discards_or_drops_the_draft(notes: Path, editor: Editor, drafts: Path) -> None:
    editor(BREAK)
    with Terminal("edit", "notes") as terminal:
        terminal.expect("[edit]: ")
        terminal.answer("keep")
        assert terminal.end() == 1
        assert "the draft is kept in " in terminal.output
    assert "autostart: 17" in (drafts / "notes.yml").read_text()
    with Terminal("edit", "notes") as terminal:
        terminal.expect("Go on with it? [Y/n]: ")
        terminal.answer("n")
        terminal.expect("[edit]: ")
        terminal.answer("discard")
        assert terminal.end() == 0
        assert "notes is unchanged" in terminal.output
    assert list(drafts.iterdir()) == []


def test_ctrl_c_at_the_question_keeps_the_draft(notes: Path, editor: Editor, drafts: Path) -> None:
    editor(BREAK)
    with Terminal("edit", "notes") as terminal:
        terminal.expect("[edit]: ")
        terminal.interrupt()
        assert terminal.end() == 130
        assert "the draft is kept in " in terminal.output
    assert (drafts / "notes.yml").exists()


def test_broken_deployment_can_be_mended(ftos: Run, notes: Path, editor: Editor) -> None:
    good = notes.read_text()
    notes.write_text(good.replace("kind: deployment", "kind: deploiment"))
    editor("sed -i s/deploiment/deployment/ $2")
    assert ftos("edit", "notes").exit_code == 0
    assert notes.read_text() == good


def test_unknown_deployment_is_refused(ftos: Run, notes: Path) -> None:
    assert "there is no deployment 'nodes'\n  did you mean `notes`?" in ftos("edit", "nodes").stderr
