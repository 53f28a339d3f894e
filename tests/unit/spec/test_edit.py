# SPDX-License-Identifier: AGPL-3.0-or-later
"""Changing one value in a file that a person wrote: nothing else moves."""

from __future__ import annotations

import difflib
import random
from pathlib import Path

import pytest

from ftos.errors import BadInput
from ftos.spec.edit import remove_value, set_value
from ftos.spec.load import DescriptorErrors, load_text
from ftos.spec.records import Deployment, Image, Limits

HERE = Path("x.yml")
TEXT = """\
# my notes
kind: deployment   # of notes
schema: 1
name: "notes-work"
id: d-7f3a9c1e
image: notes

# limits
limits:
  memory: 700M   # enough
  # pids: 100

# start it at boot
autostart: false
settings: {theme: 'light'}
os-services:
  display:   {instance: wayland}  # aligned
  location:  {instance: gps,   scope: {accuracy: city}}
  # the last one

# now the volumes
volumes:
  - {name: notes,  backup: true} # mine

  # and this
  - name: cache
    quota: 10M
    # after cache
# the end
"""


def changes(before: str, after: str) -> list[str]:
    """The lines that went and came."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=0)
    return [line for line in lines if not line.startswith(("---", "+++", "@@"))]


def deployment(text: str) -> Deployment:
    record = load_text(text, HERE)
    assert isinstance(record, Deployment)
    return record


SET: list[tuple[str, str, list[str]]] = [
    ("autostart", "true", ["-autostart: false", "+autostart: true"]),
    ("limits.memory", "1G", ["-  memory: 700M   # enough", "+  memory: 1G     # enough"]),
    ("limits.pids", "200", ["+  pids: 200"]),
    ("limits.memory", '"1G"', ["-  memory: 700M   # enough", "+  memory: 1G     # enough"]),
    ("name", "12", ['-name: "notes-work"', '+name: "12"']),
    ("image", "0644", ["-image: notes", "+image: '0644'"]),
    ("settings.theme", "dark", ["-settings: {theme: 'light'}", "+settings: {theme: 'dark'}"]),
    ("settings.size", "12", ["-settings: {theme: 'light'}", "+settings: {theme: 'light', size: 12}"]),
    ("settings.size", "'12'", ["-settings: {theme: 'light'}", "+settings: {theme: 'light', size: '12'}"]),
    (
        "os-services.location.rights",
        "[list, read]",
        [
            "-  location:  {instance: gps,   scope: {accuracy: city}}",
            "+  location: {instance: gps, scope: {accuracy: city}, rights: [list, read]}",
        ],
    ),
    ("os-services.network.instance", "none", ["+  network:", "+    instance: none"]),
    ("os-services.documents", "{instance: album}", ["+  documents: {instance: album}"]),
    (
        "os-services.display.scope.isolated",
        "true",
        [
            "-  display:   {instance: wayland}  # aligned",
            "+  display: {instance: wayland, scope: {isolated: true}} # aligned",
        ],
    ),
    (
        "volumes.notes.backup",
        "false",
        ["-  - {name: notes,  backup: true} # mine", "+  - {name: notes, backup: false} # mine"],
    ),
    ("volumes.cache.backup", "false", ["+    backup: false"]),
    ("volumes.cache.quota", "20M", ["-    quota: 10M", "+    quota: 20M"]),
    ("volumes.other.quota", "1M", ["+  - name: other", "+    quota: 1M"]),
]


@pytest.mark.parametrize(("key", "value", "expected"), SET)
def test_setting_a_value_changes_its_line_only(key: str, value: str, expected: list[str]) -> None:
    changed = set_value(TEXT, key, value)
    assert changes(TEXT, changed) == expected
    deployment(changed)


REMOVE: list[tuple[str, list[str]]] = [
    ("autostart", ["-autostart: false"]),
    ("limits.memory", ["-limits:", "-  memory: 700M   # enough"]),
    ("settings", ["-settings: {theme: 'light'}"]),
    ("settings.theme", ["-settings: {theme: 'light'}"]),
    ("os-services.display", ["-  display:   {instance: wayland}  # aligned"]),
    (
        "os-services.location.scope.accuracy",
        ["-  location:  {instance: gps,   scope: {accuracy: city}}", "+  location: {instance: gps}"],
    ),
    ("volumes.notes", ["-  - {name: notes,  backup: true} # mine"]),
    ("volumes.cache.quota", ["-    quota: 10M"]),
]


@pytest.mark.parametrize(("key", "expected"), REMOVE)
def test_removing_a_value_leaves_all_else_and_nothing_empty(key: str, expected: list[str]) -> None:
    changed = remove_value(TEXT, key)
    assert changes(TEXT, changed) == expected
    deployment(changed)


def test_what_was_set_and_removed_again_leaves_no_trace() -> None:
    assert remove_value(set_value(TEXT, "limits.pids", "200"), "limits.pids") == TEXT
    assert remove_value(set_value(TEXT, "os-services.network.instance", "none"), "os-services.network") == TEXT
    assert remove_value(set_value(TEXT, "volumes.other.backup", "false"), "volumes.other") == TEXT


def test_removing_the_last_entries_of_a_list_removes_the_list() -> None:
    changed = remove_value(remove_value(TEXT, "volumes.notes"), "volumes.cache")
    assert "volumes:" not in changed
    assert deployment(changed).volumes == ()
    assert "# and this" in changed


def test_missing_mappings_and_lists_are_made() -> None:
    text = "kind: deployment\nschema: 1\nname: a\nid: d-00000000\nimage: a\nlimits:\n"
    text = set_value(text, "limits.pids", "9")
    text = set_value(text, "volumes.notes.backup", "false")
    text = set_value(text, "os-services.network.egress", "[{to: {domain: '*.example.org'}, ports: [443/tcp]}]")
    text = set_value(text, "os-services.network.instance", "internet")
    record = deployment(text)
    assert record.limits.pids == 9
    assert record.volumes[0].name == "notes"
    assert record.volumes[0].backup is False
    assert record.os_services["network"].egress[0].to.domain == "*.example.org"


IMAGE = "kind: image\nschema: 1\nname: a\ntitle: A\nversion: '1'\nosbase: debian/trixie\ncommand: [a]\n"


@pytest.mark.parametrize(
    ("key", "value", "field", "expected"),
    [
        ("version", "2", "version", "2"),
        ("version", "1.10", "version", "1.10"),
        ("title", "true", "title", "true"),
        ("title", "a: b # c", "title", "a: b # c"),
        ("title", "[x", "title", "[x"),
        ("title", '"quoted: \\"x\\""', "title", 'quoted: "x"'),
        ("title", "'it''s'", "title", "it's"),
        ("title", '"not" closed"', "title", '"not" closed"'),
        ("title", '"bad \\q"', "title", '"bad \\q"'),
        ("title", "99999999999999999999999", "title", "99999999999999999999999"),
        ("title", "yes", "title", "yes"),
        ("title", "", "title", ""),
        ("working-directory", "/a", "working_directory", "/a"),
        ("packages", "[a, b-c]", "packages", ("a", "b-c")),
        ("packages", "[]", "packages", ()),
        ("writable-root", " true ", "writable_root", True),
    ],
)
def test_a_value_is_what_its_key_wants(key: str, value: str, field: str, expected: object) -> None:
    record = load_text(set_value(IMAGE, key, value), HERE)
    assert isinstance(record, Image)
    assert getattr(record, field) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [("1", 1), ("1.5", 1.5), ("true", True), ("no", "no"), ("'1'", "1"), ('"a\\tb"', "a\tb"), ("a # b", "a # b")],
)
def test_a_setting_takes_the_type_of_the_value(value: str, expected: object) -> None:
    text = set_value("kind: deployment\nschema: 1\nname: a\nid: d-00000000\nimage: a\n", "settings.x", value)
    if expected == "a\tb":
        with pytest.raises(DescriptorErrors, match="has not the right form"):
            load_text(text, HERE)
    else:
        found = deployment(text).settings["x"]
        assert (type(found), found) == (type(expected), expected)


def test_text_of_several_lines_is_written_in_one() -> None:
    changed = set_value(IMAGE, "title", "a\nb")
    assert changes(IMAGE, changed) == ["-title: A", '+title: "a\\nb"']


REFUSED: list[tuple[str, str, str, str]] = [
    ("limts.pids", "9", "'limts' in 'limts.pids' is not a key", "did you mean `limits`?"),
    ("zzz", "9", "'zzz' in 'zzz' is not a key", "known keys: kind, schema, name, id, image"),
    ("limits.pidz", "9", "'pidz' in 'limits.pidz' is not a key", "did you mean `pids`?"),
    ("", "9", "'' in '' is not a key", "known keys"),
    ("name.first", "a", "'name.first' leads into a single value", ""),
    ("os-services.display.rights.read", "a", "'os-services.display.rights.read' leads into a list", "set the list as"),
    (
        "os-services.display.egress.0",
        "a",
        "'os-services.display.egress.0' leads into a list",
        "set the list as a whole",
    ),
    (
        "volumes.notes",
        "{name: notes}",
        "'volumes.notes' names a whole entry of a list",
        "set its keys one by one: volumes",
    ),
    ("autostart", "", "the value for 'autostart' is empty", ""),
    ("settings.x", "  ", "the value for 'settings.x' is empty", ""),
    ("limits.pids", "99999999999999999999", "'99999999999999999999' is too large for a number", ""),
    ("settings.x", "[a", "'[a' is not a YAML value: not YAML: while parsing a flow sequence", ""),
    (
        "os-services.display.rights",
        "[&a read]",
        "'[&a read]' is not a YAML value: the anchor &a is not allowed",
        "write",
    ),
    ("settings.x", '"a" b', "'\"a\" b' is not a YAML value", ""),
]


@pytest.mark.parametrize(("key", "value", "message", "hint"), REFUSED)
def test_what_can_not_be_set_is_refused(key: str, value: str, message: str, hint: str) -> None:
    with pytest.raises(BadInput) as caught:
        set_value(TEXT, key, value)
    assert caught.value.message.startswith(message)
    assert caught.value.hint.startswith(hint)


@pytest.mark.parametrize(
    "key", ["limits.pids", "settings.x", "volumes.zzz", "volumes.notes.quota", "os-services.a.scope.b"]
)
def test_what_is_not_there_can_not_be_removed(key: str) -> None:
    with pytest.raises(BadInput, match=f"'{key}' is not set"):
        remove_value(TEXT, key)


@pytest.mark.parametrize("text", ["- a\n", "kind: zzz\n", "a: b\n"])
def test_a_text_that_is_no_descriptor_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="this is not a descriptor"):
        set_value(text, "name", "a")


def test_a_text_that_is_no_yaml_is_refused_with_its_line() -> None:
    with pytest.raises(DescriptorErrors, match="<text>:2: "):
        set_value("kind: deployment\nlimits: *x\n", "name", "a")


def test_a_file_that_has_something_else_on_the_way_must_be_corrected_first() -> None:
    text = "kind: deployment\nlimits: [a]\n"
    with pytest.raises(BadInput) as caught:
        set_value(text, "limits.pids", "9")
    assert caught.value.message == "'limits' in 'limits.pids' is something else in the file"
    assert caught.value.hint == "correct the file first"


def test_a_wrong_file_can_be_put_right() -> None:
    text = TEXT.replace("autostart: false", "autostart: maybe")
    with pytest.raises(DescriptorErrors):
        deployment(text)
    assert set_value(text, "autostart", "false") == TEXT


@pytest.mark.parametrize("indent", [2, 3, 4, 8])
def test_the_indentation_of_the_file_is_kept(indent: int) -> None:
    space = " " * indent
    text = (
        "kind: deployment\nschema: 1\nname: a\nid: d-00000000\nimage: a\n"
        f"os-services:\n{space}display:\n{space * 2}instance: wayland   # c\n"
        f"limits:\n{space}memory: 1M\n"
        "volumes:\n- name: a\n  backup: true\n- name: b\n"
    )
    assert changes(text, set_value(text, "limits.pids", "9")) == [f"+{space}pids: 9"]
    assert changes(text, set_value(text, "os-services.display.path", "/a")) == [f"+{space * 2}path: /a"]
    assert changes(text, set_value(text, "volumes.c.backup", "true")) == ["+- name: c", "+  backup: true"]


def test_a_comment_sign_in_a_block_of_text_is_text() -> None:
    block = "files:\n  - path: /a\n    content: |\n      # one\n\n      two  #  x\n      # one\n  # a comment\n"
    text = IMAGE + block + "  - {path: /b, content: b}\n"
    changed = set_value(text, "writable-root", "true")
    assert changes(text, changed) == ["+writable-root: true"]
    record = load_text(changed, HERE)
    assert isinstance(record, Image)
    assert record.files[0].content == "# one\n\ntwo  #  x\n# one\n"


def test_lists_over_several_lines_stay_as_they_are() -> None:
    text = IMAGE + "packages: [a,\n  # of course\n  b,   # too\n  c]\n# end\nlinks: [\n]\n"
    assert changes(text, set_value(text, "title", "B")) == ["-title: A", "+title: B"]
    assert changes(text, set_value(text, "writable-root", "true")) == ["+writable-root: true"]
    changed = set_value(text, "packages", "[x]")
    assert "# of course\n" in changed
    assert "# end\n" in changed
    assert changes(text, remove_value(text, "title")) == ["-title: A"]


def test_a_mapping_over_several_lines_is_laid_out_anew_but_its_comments_stay() -> None:
    head = "kind: deployment\nschema: 1\nname: a\nid: d-00000000\nimage: a\n"
    text = head + "limits: {\n  memory: 700M,  # enough\n  # of these\n  pids: 200      # many\n}\n# end\n"
    changed = set_value(text, "limits.pids", "300")
    assert deployment(changed).limits == Limits(memory="700M", pids=300)
    for comment in ("# enough", "# of these", "# many", "# end"):
        assert changed.count(comment) == 1


def test_text_over_several_lines_can_be_replaced() -> None:
    for old in ("one\n  two # three", "'one\n  # two'", "|\n  one\n  # two", "| # three\n  one"):
        text = "# first\n" + IMAGE.replace("title: A", f"title: {old}") + "# last\n"
        changed = set_value(text, "title", "B")
        assert changed.startswith("# first\nkind: image\n")
        assert changed.endswith("\n# last\n")
        record = load_text(changed, HERE)
        assert isinstance(record, Image)
        assert record.title.strip() == "B"


@pytest.mark.parametrize("line", ["gpu: a\tb", "gpu: a\t# c"])
def test_a_tab_that_only_the_reader_takes_is_told(line: str) -> None:
    with pytest.raises(BadInput) as caught:
        set_value(f"kind: host\n\n# c\n{line}\n", "owner", "alex")
    assert caught.value.message.startswith(f"the editor can't read 'gpu: a{chr(92)}t")
    assert caught.value.hint == "write spaces for tabs, or use `ftos edit`"


def test_a_document_mark_and_a_byte_order_mark_do_no_harm() -> None:
    assert changes("---\n" + TEXT, set_value("---\n" + TEXT, "autostart", "true")) == SET[0][2]
    assert set_value("\ufeff" + TEXT, "autostart", "true") == set_value(TEXT, "autostart", "true")


def test_every_change_keeps_every_comment_and_every_other_value() -> None:
    source = random.Random(7)
    keys = [(key, value) for key, value, _ in SET]
    comments = [line.strip() for line in TEXT.splitlines() if line.strip().startswith("#")]
    for _ in range(40):
        text = TEXT
        for key, value in source.sample(keys, 4):
            before = deployment(text)
            text = set_value(text, key, value)
            after = deployment(text)
            top = key.partition(".")[0].replace("-", "_")
            for field in Deployment.__struct_fields__:
                assert field == top or getattr(before, field) == getattr(after, field)
        lines = [line.strip() for line in text.splitlines()]
        assert [line for line in lines if line.startswith("#")] == comments


def test_every_example_can_be_edited(kind: str, example: str) -> None:
    key, value = {"host": ("gpu", "intel"), "deployment": ("image", "other")}.get(kind, ("title", "Other"))
    changed = set_value(example, key, value)
    load_text(changed, HERE)
    assert len(changes(example, changed)) in (1, 2)
