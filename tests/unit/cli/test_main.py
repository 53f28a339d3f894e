# SPDX-License-Identifier: AGPL-3.0-or-later
"""The frame of the command: what is imported, how errors become words and statuses, help, completion."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from ftos.cli.lazy import LazyGroup
from ftos.cli.main import VERBS, cli
from ftos.errors import BadInput, Busy, FtosError
from tests.unit.cli.conftest import Process, Run

HEAVY = {"msgspec", "yaml", "ruamel.yaml", "rich", "construct", "Cython", "json", "importlib.metadata"}


def imported_by(code: str, **environment: str) -> set[str]:
    script = f"import sys\ntry:\n  {code}\nexcept SystemExit: pass\nprint(*sys.modules, file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ, **environment}, check=True
    )
    return set(done.stderr.split())


def test_help_imports_nothing_heavy() -> None:
    for words in (["--help"], ["image", "--help"], ["deploy", "--help"], ["set", "--help"]):
        loaded = imported_by(f"import ftos.cli.main as m; m.cli.main({words})")
        assert loaded & HEAVY - {"json"} == set(), words


def test_completion_of_verbs_and_names_imports_nothing_heavy(notes: Path) -> None:
    for words, index in (("ftos de", "1"), ("ftos undeploy no", "2"), ("ftos bind notes network ", "4")):
        environment = {"_FTOS_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": index}
        loaded = imported_by("import ftos.cli.main as m; m.main()", **environment)
        assert loaded & HEAVY - {"json"} == set(), words


def commands(group: LazyGroup) -> list[tuple[str, click.Command, str]]:
    """Each verb of a group and of the groups in it: its words, its command, its line in the table."""
    found = []
    for verb in group.verbs.values():
        command = importlib.import_module(group.prefix + verb.name).command
        found.append((verb.name, command, verb.help))
        if isinstance(command, LazyGroup):
            found += [(f"{verb.name} {words}", inner, line) for words, inner, line in commands(command)]
    return found


assert isinstance(cli, LazyGroup)
COMMANDS = commands(cli)


def test_table_of_verbs_agrees_with_the_commands() -> None:
    for words, command, line in COMMANDS:
        assert command.name == words.split()[-1]
        assert (command.help or "").split("\n")[0] == f"{line}.", words


def test_every_option_is_explained() -> None:
    for words, command, _ in COMMANDS:
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help, (words, parameter.name)


def test_help_shows_every_verb_once(ftos: Run) -> None:
    lines = [line.split() for line in ftos("--help").stdout.splitlines()]
    for verb in VERBS:
        assert sum(line[:1] == [verb.name] for line in lines) == 1


def test_version_is_printed(ftos: Run) -> None:
    assert ftos("--version").stdout.startswith("ftos")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["dploy"], "there is no verb 'dploy', did you mean 'deploy'?"),
        (["xyzzy"], "there is no verb 'xyzzy'\n"),
        (["image", "biuld"], "there is no verb 'biuld', did you mean 'build'?"),
        (["deploy"], "Missing argument 'IMAGE'"),
        (["list", "--jsn"], "No such option"),
        (["completion", "csh"], "'csh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_usage_is_explained_with_status_2(ftos: Run, words: list[str], message: str) -> None:
    result = ftos(*words)
    assert (result.exit_code, message in result.stderr) == (2, True), result.stderr


def failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> tuple[int, str]:
    """Status and standard error of a run in which the verb raises `error`."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("ftos.cli.verbs.list.show_rows", lambda *_, **__: fail())
    result = CliRunner().invoke(cli, ["list"])
    return result.exit_code, result.stderr


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (FtosError("it broke"), 1, "ftos: it broke\n"),
        (BadInput("bad", "do better"), 2, "ftos: bad\n  do better\n"),
        (Busy("in \x1b[31muse"), 1, "ftos: in \\x1b[31muse\n"),
        (PermissionError(13, "Permission denied", "/etc/ftos/x"), 1, "ftos: Permission denied ('/etc/ftos/x')\n"),
        (OSError(28, "No space left on device"), 1, "ftos: No space left on device\n"),
        (KeyboardInterrupt(), 130, "\nftos: cancelled\n"),
        (click.Abort(), 130, "ftos: cancelled\n"),
    ],
)
def test_errors_become_one_message_and_a_status(
    root: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, status: int, text: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert failing(monkeypatch, error) == (status, text)


def test_refused_file_asks_for_root_when_we_are_not(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert failing(monkeypatch, PermissionError(13, "Permission denied", "/x"))[1].endswith("\n  run it as root\n")


def test_bug_is_one_line_and_a_traceback_only_for_debugging(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    status, text = failing(monkeypatch, ValueError("what\nnow"))
    assert status == 70
    assert text.startswith("ftos: internal error: ValueError: 'what\\nnow'\n  this is a bug of ftos; please report it")
    assert "Traceback" not in text
    monkeypatch.setenv("FTOS_DEBUG", "1")
    assert "Traceback" in failing(monkeypatch, ValueError("what"))[1]


def test_reader_that_leaves_is_no_error(root: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", "from ftos.cli.main import main; main()", "schema", "image"],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")


def test_interrupt_ends_with_130_and_no_traceback(root: Path) -> None:
    code = "import os, signal, ftos.cli.main as m, ftos.cli.verbs.list as v\n"
    code += f"v.show_rows = lambda *a, **k: os.kill(os.getpid(), {int(signal.SIGINT)})\nm.main()"
    done = subprocess.run([sys.executable, "-c", code, "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_root_option_wins_over_the_environment(process: Process, root: Path, tmp_path: Path) -> None:
    assert "notes" in process("--root", str(root), "image", "list", FTOS_ROOT="/nonexistent").stdout
    assert process("--root", str(tmp_path / "x"), "list", "--json").stdout == "[]\n"


def test_output_of_odd_locales_is_escaped_not_a_crash(process: Process, root: Path) -> None:
    service = root / "etc/ftos/services/album.yml"
    service.write_text(service.read_text().replace("The album", "Photos ✓"))
    done = process("service", "list", PYTHONIOENCODING="latin-1")
    assert done.returncode == 0
    assert "Photos \\u2713" in done.stdout


def complete(process: Process, *words: str) -> list[str]:
    """What bash would offer for the last word."""
    done = process(_FTOS_COMPLETE="bash_complete", COMP_WORDS=" ".join(("ftos", *words)), COMP_CWORD=str(len(words)))
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def test_completion_offers_verbs_and_names(process: Process, notes: Path) -> None:
    assert complete(process, "und") == ["undeploy"]
    assert complete(process, "undeploy", "") == ["notes"]
    assert complete(process, "image", "bu") == ["build"]
    assert complete(process, "osbase", "show", "debian/t") == ["debian/trixie"]
    assert complete(process, "image", "build", "no") == ["notes"]
    assert complete(process, "deploy", "n") == ["notes"]
    assert complete(process, "bind", "notes", "d") == ["documents"]
    assert complete(process, "bind", "notes", "documents", "al") == ["album"]
    assert complete(process, "deploy", "notes", "--deny", "n") == ["network"]
    assert complete(process, "schema", "dep") == ["deployment"]
    assert complete(process, "bind", "gone", "") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script_names_the_command(ftos: Run, shell: str) -> None:
    script = ftos("completion", shell).stdout
    assert f"_FTOS_COMPLETE={shell}_complete" in script
