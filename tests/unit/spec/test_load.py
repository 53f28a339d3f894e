# SPDX-License-Identifier: AGPL-3.0-or-later
"""Reading descriptors: what is accepted, and every message about what is not."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest

from ftos.errors import BadInput, NotFound
from ftos.spec.load import DescriptorError, DescriptorErrors, load_as, load_file, load_text, locate
from ftos.spec.problems import Finding
from ftos.spec.records import KINDS, Deployment, Image, Service

HERE = Path("x.yml")

SERVICE = "kind: service\nschema: 1\nname: a\ninterface: location\nprovider: fixed\n"
IMAGE = "kind: image\nschema: 1\nname: a\ntitle: A\nversion: '1'\nosbase: debian/trixie\ncommand: [a]\n"
DEPLOYMENT = "kind: deployment\nschema: 1\nname: a\nid: d-00000000\nimage: a\n"
OSBASE = (
    "kind: osbase\nschema: 1\nname: d/t\ntitle: D\nstatus: supported\nengine: apt\n"
    "sources: [{mirror: d, suite: t, components: [main]}]\nkeys: [k]\n"
)


def errors(text: str | bytes, kind: str | None = None) -> list[str]:
    with pytest.raises(DescriptorErrors) as caught:
        load_text(text, HERE, kind)
    assert caught.value.status == 2
    assert caught.value.message == "\n".join(map(str, caught.value.errors))
    return [str(error).removeprefix("x.yml:") for error in caught.value.errors]


def test_every_shipped_and_example_descriptor_is_valid(shipped: list[Path]) -> None:
    assert len(shipped) > 5
    for path in shipped:
        load_file(path)


def test_the_values_of_an_example_arrive(shipped: list[Path]) -> None:
    path = next(path for path in shipped if path.name == "deployment.yml")
    deployment = load_as(path, Deployment)
    assert deployment.os_services["network"].egress[1].to.cidr == "192.168.0.0/16"
    assert deployment.os_services["network"].egress[1].locked is True
    assert deployment.os_services["documents"].rights == ("list", "read", "dummy-write")
    assert deployment.limits.cpu_weight == 50
    assert deployment.settings == {"theme": "light"}


def test_defaults_are_those_of_the_records() -> None:
    image = load_text(IMAGE, HERE)
    assert isinstance(image, Image)
    assert (image.working_directory, image.writable_root, image.volumes) == ("/home/app", False, ())


def test_a_record_is_what_msgspec_makes_of_the_same_data(kind: str, example: str) -> None:
    record = load_text(example, HERE)
    assert msgspec.convert(msgspec.to_builtins(record), KINDS[kind]) == record


@pytest.mark.parametrize("bom", ["\ufeff", ""])
def test_a_byte_order_mark_at_the_start_is_no_matter(bom: str) -> None:
    assert load_text((bom + SERVICE).encode(), HERE) == load_text(bom + SERVICE, HERE)


def test_line_ends_of_other_systems_are_read_and_counted() -> None:
    assert load_text(SERVICE.replace("\n", "\r\n"), HERE) == load_text(SERVICE, HERE)
    assert errors((SERVICE + "x: 1\n").replace("\n", "\r\n"))[0].startswith("6: x: unknown key")


def test_a_null_is_the_default_where_a_value_may_be_left_out() -> None:
    assert load_text("kind: host\nschema: 1\nowner:\ngpu: ~\n", HERE) == load_text("kind: host\nschema: 1\n", HERE)


def test_an_empty_list_and_an_empty_mapping_are_values() -> None:
    assert load_text(IMAGE + "packages: []\nsettings: {}\n", HERE) == load_text(IMAGE, HERE)


TEXT_ERRORS: list[tuple[str | bytes, list[str]]] = [
    ("", ["1: the file is empty (a descriptor starts with 'kind:' and 'schema: 1')"]),
    ("# only words\n", ["1: the file is empty (a descriptor starts with 'kind:' and 'schema: 1')"]),
    (
        "- a\n",
        ["1: keys with values are expected, not a list (a descriptor starts with 'kind:' and 'schema: 1')"],
    ),
    (
        "\nhello\n",
        ["2: keys with values are expected, not a single value (a descriptor starts with 'kind:' and 'schema: 1')"],
    ),
    (b"a" * (1 << 20) + b"a", ["1: the file is larger than 1048576 bytes"]),
    (b"kind: service\ntitle: \xe4\n", ["2: byte 0xe4 is not UTF-8 (save the file as UTF-8)"]),
    ("kind: service\n".encode("utf-16"), ["1: byte 0xff is not UTF-8 (save the file as UTF-8)"]),
    (
        "a: \x00\nb: \x1b[31m\x07\nc: \u2028\n",
        [
            '1: the character U+0000 is not allowed (write it as "\\u0000")',
            '2: the character U+001B is not allowed (write it as "\\u001B")',
            '3: the character U+2028 is not allowed (write it as "\\u2028")',
        ],
    ),
    ("a: \ud800\n", ['1: the character U+D800 is not allowed (write it as "\\uD800")']),
    ("a: b\n---\nc: d\n", ["2: a second document (one descriptor a file: remove '---' and what follows)"]),
    (
        "%YAML 1.1\n---\n" + SERVICE + "title: no\n",
        ["1: a directive (%YAML, %TAG) is not allowed (remove the line)"],
    ),
    (SERVICE + "title: &t x\n", ["6: title: the anchor &t is not allowed (write the value out where it is used)"]),
    (SERVICE + "title: *t\n", ["6: title: the alias *t is not allowed (write the value out)"]),
    (SERVICE + "title: !foo x\n", ["6: title: the tag '!foo' is not allowed (remove it; put text in quotes)"]),
    (
        SERVICE + "title: !!python/object/apply:os.system [x]\n",
        [
            (
                "6: title: the tag 'tag:yaml.org,2002:python/object/apply:os.system' is not allowed"
                " (remove it; put text in quotes)"
            )
        ],
    ),
    (
        "!!map " + "{kind: service}",
        ["1: the tag 'tag:yaml.org,2002:map' is not allowed (remove it; put text in quotes)"],
    ),
    (SERVICE + "<<: {title: x}\n", ["6: the merge key << is not allowed (write the keys out)"]),
    (SERVICE + "title: x\nname: b\n", ["7: name: the key is there twice (first in line 3)"]),
    (SERVICE + "settings: {a: 1, 'a': 2}\n", ["6: settings.a: the key is there twice (first in line 6)"]),
    (
        SERVICE + "? [a]\n: b\n",
        ["6: a key must be a word, not a list or a mapping (text with [ or { in it needs quotes)"],
    ),
    (SERVICE + "settings: {1: 2}\n", ['6: settings.1: a key must be a word (write it in quotes: "1")']),
    (SERVICE + "settings:\n  true: 2\n", ['7: settings.true: a key must be a word (write it in quotes: "true")']),
    (SERVICE + "settings: " + "[" * 30 + "]" * 30, ["6: settings[0][0][0]: nested deeper than 20 levels"]),
    (
        SERVICE + "settings: {a: 9223372036854775808}\n",
        ["6: settings.a: '9223372036854775808' is too large for a number (put text in quotes)"],
    ),
    (
        SERVICE + "settings: {a: " + "9" * 5000 + "}\n",
        [f"6: settings.a: '{'9' * 40}…' is too large for a number (put text in quotes)"],
    ),
    (
        "a:\n\t- b\n",
        [
            (
                "2: not YAML: while scanning for the next token: found character that cannot start any token"
                " (indent with spaces, not with tabs)"
            )
        ],
    ),
    (
        "a: b: c\n",
        [
            (
                "1: not YAML: mapping values are not allowed in this context"
                " (check the indentation; text with ': ' in it needs quotes)"
            )
        ],
    ),
    (
        "a: @b\n",
        [
            (
                "1: not YAML: while scanning for the next token: found character that cannot start any token"
                " (text that starts with one of @ ` % needs quotes)"
            )
        ],
    ),
    ("a: [b\nc: d\n", ["2: not YAML: while parsing a flow sequence: did not find expected ',' or ']'"]),
    (
        "a: *x\nb: 'c\n",
        [
            "1: a: the alias *x is not allowed (write the value out)",
            "3: not YAML: while scanning a quoted scalar: found unexpected end of stream",
        ],
    ),
]


@pytest.mark.parametrize(("text", "expected"), TEXT_ERRORS)
def test_what_is_not_plain_yaml_is_refused_with_its_line(text: str | bytes, expected: list[str]) -> None:
    assert errors(text) == expected


KIND_ERRORS: list[tuple[str, str | None, list[str]]] = [
    ("schema: 1\n", None, ["1: kind: missing (one of: osbase, image, host, service, deployment)"]),
    ("\nschema: 1\n", "host", ["2: kind: missing (what the file describes)"]),
    ("kind: servise\n", None, ["1: kind: 'servise' is not a kind of descriptor (did you mean `service`?)"]),
    (
        "kind: 7\n",
        None,
        ["1: kind: '7' is not a kind of descriptor (one of: osbase, image, host, service, deployment)"],
    ),
    (
        "kind: [image]\n",
        "image",
        ["1: kind: this is not a kind of descriptor (one of: osbase, image, host, service, deployment)"],
    ),
    (SERVICE, "image", ["1: kind: a descriptor of kind image is expected here, not of kind service"]),
    ("kind: !x host\nschema: 1\n", "host", ["1: kind: the tag '!x' is not allowed (remove it; put text in quotes)"]),
    (
        "kind: host\nschema: 2\nnew-key: 1\n",
        None,
        ["2: schema: schema 2 is not known: this ftos knows schema 1 (update ftos)"],
    ),
    (
        "kind: host\nschema: 0\n",
        None,
        ["2: schema: schema 0 is not known: this ftos knows schema 1 (write schema: 1)"],
    ),
    (
        "kind: host\nschema: '1'\n",
        None,
        ["2: schema: the number 1 is expected, not the text '1' (write it without quotes)"],
    ),
    ("kind: host\nschema: true\n", None, ["2: schema: 'true' is not a choice (one of: 1)"]),
    ("kind: host\n", None, ["1: schema: missing (version of the descriptor format)"]),
]


@pytest.mark.parametrize(("text", "kind", "expected"), KIND_ERRORS)
def test_kind_and_schema_have_their_own_messages(text: str, kind: str | None, expected: list[str]) -> None:
    assert errors(text, kind) == expected


NAME_FORM = "lower case letters, digits and '-', at most 63"
VALUE_ERRORS: list[tuple[str, list[str]]] = [
    (IMAGE + "packges: [a]\n", ["8: packges: unknown key (did you mean `packages`?)"]),
    (
        SERVICE + "zzz: 1\n",
        ["6: zzz: unknown key (known keys: kind, schema, name, interface, provider, title, settings)"],
    ),
    (SERVICE + '"\\e[31m": 1\n', ["6: '\\x1b[31m': unknown key"]),
    (IMAGE + "os-services:\n  display: {}\n", ["9: os-services.display.reason: missing (say why the app wants it)"]),
    (
        IMAGE + "os-services:\n  display:\n    required: true\n",
        ["9: os-services.display.reason: missing (say why the app wants it)"],
    ),
    (IMAGE + "volumes:\n  - name: a\n    path: /a\n", ["9: volumes[0].class: missing (data (kept"]),
    (IMAGE + "packages:\n", ["8: packages: the value is missing (write [] for none)"]),
    (IMAGE + "settings:\n", ["8: settings: the value is missing (write {} for none)"]),
    (SERVICE.replace("name: a", "name:"), [f"3: name: the value is missing ({NAME_FORM})"]),
    (IMAGE.replace("'1'", "1.10"), ['5: version: text is expected, not the number 1.10 (write it in quotes: "1.10")']),
    (IMAGE.replace("'1'", "true"), ['5: version: text is expected, not true (write it in quotes: "true")']),
    (
        IMAGE + "files: [{path: /a, content: x, mode: 0644}]\n",
        ['8: files[0].mode: text is expected, not the number 0644 (write it in quotes: "0644")'],
    ),
    (SERVICE + "title: [a]\n", ["6: title: text is expected, not a list (one line of text)"]),
    (SERVICE + "settings: x\n", ["6: settings: a mapping of keys is expected, not the text 'x' (what the provider"]),
    (SERVICE + "settings: {a: [1]}\n", ["6: settings.a: one value is expected, not a list (one line of text)"]),
    (SERVICE + "settings: {a: ~}\n", ["6: settings.a: the value is missing (one line of text)"]),
    (
        SERVICE + "settings: {a: .nan, b: 1e999}\n",
        [
            "6: settings.a: '.nan' is not a finite number",
            "6: settings.b: '1e999' is not a finite number",
        ],
    ),
    (SERVICE + "settings: {A_b: 1}\n", [f"6: settings.A_b: the key 'A_b' has not the right form ({NAME_FORM})"]),
    (IMAGE + "packages: gnote\n", ["8: packages: a list is expected, not the text 'gnote' (write [gnote])"]),
    (IMAGE + "packages: {a: b}\n", ["8: packages: a list is expected, not a mapping of keys (packages of the distro"]),
    (IMAGE + "handlers: [a]\n", ["8: handlers: a mapping of keys is expected, not a list (what the app can open"]),
    (IMAGE.replace("[a]", "[]"), ["7: command: the list is empty (program and arguments"]),
    (
        IMAGE + "writable-root: yes\n",
        ["8: writable-root: true or false is expected, not the text 'yes' (write true or false)"],
    ),
    (
        IMAGE + "writable-root: 1\n",
        ["8: writable-root: true or false is expected, not the number 1 (write true or false)"],
    ),
    (IMAGE + "writable-root: {}\n", ["8: writable-root: true or false is expected, not a mapping of keys"]),
    (DEPLOYMENT + "limits: {pids: 7}\n", ["6: limits.pids: 7 is not between 8 and 4194304 (most processes"]),
    (DEPLOYMENT + "limits: {pids: 4194305}\n", ["6: limits.pids: 4194305 is not between 8 and 4194304 (most"]),
    (DEPLOYMENT + "limits: {pids: true}\n", ["6: limits.pids: a whole number is expected, not true (most processes"]),
    (
        DEPLOYMENT + "limits: {pids: '9'}\n",
        ["6: limits.pids: a whole number is expected, not the text '9' (write it without quotes)"],
    ),
    (DEPLOYMENT + "limits: {pids: 9.5}\n", ["6: limits.pids: a whole number is expected, not the number 9.5"]),
    (DEPLOYMENT + "limits: {pids: []}\n", ["6: limits.pids: a whole number is expected, not a list"]),
    (
        DEPLOYMENT + "limits: {memory: 700}\n",
        ['6: limits.memory: text is expected, not the number 700 (write it in quotes: "700")'],
    ),
    (
        DEPLOYMENT + "limits: {memory: 700MB}\n",
        ["6: limits.memory: '700MB' has not the right form (bytes, base 1024: 700M)"],
    ),
    (
        DEPLOYMENT + "os-services: {a: {instance: b, rights: [raed]}}\n",
        ["6: os-services.a.rights[0]: 'raed' is not a choice (did you mean `read`?)"],
    ),
    (
        DEPLOYMENT + "os-services: {a: {instance: b, default: x}}\n",
        ["6: os-services.a.default: 'x' is not a choice (one of: allow, deny)"],
    ),
    (
        DEPLOYMENT + "os-services: {a: {instance: b, default: [x]}}\n",
        ["6: os-services.a.default: one word is expected, not a list"],
    ),
    (SERVICE.replace("name: a", "name: A b"), [f"3: name: 'A b' has not the right form ({NAME_FORM})"]),
    (SERVICE.replace("name: a", "name: ../a"), [f"3: name: '../a' has not the right form ({NAME_FORM})"]),
    (SERVICE.replace("name: a", 'name: "a\\n"'), [f"3: name: 'a\\n' has not the right form ({NAME_FORM})"]),
    (SERVICE + 'title: "a\\0b"\n', ["6: title: 'a\\x00b' has not the right form (one line of text)"]),
    (SERVICE + f"title: {'x' * 1025}\n", [f"6: title: '{'x' * 40}…' is longer than 1024 characters"]),
    (IMAGE + "working-directory: home\n", ["8: working-directory: 'home' has not the right form (an absolute path"]),
    (IMAGE + "working-directory: /a/../b\n", ["8: working-directory: '/a/../b': '..' is not allowed in a path"]),
    (IMAGE + "working-directory: /a/..\n", ["8: working-directory: '/a/..': '..' is not allowed in a path"]),
    (IMAGE + "working-directory: /./a\n", ["8: working-directory: '/./a': '.' is not allowed as a part of a path"]),
    (IMAGE + "working-directory: /a//b\n", ["8: working-directory: '/a//b': '//' is not allowed in a path"]),
    (IMAGE + "working-directory: //\n", ["8: working-directory: '//': '//' is not allowed in a path"]),
    (
        IMAGE + f"working-directory: /{'ä' * 128}\n",
        [f"8: working-directory: '/{'ä' * 128}': a part of the path is longer than 255 bytes"],
    ),
]


@pytest.mark.parametrize(("text", "expected"), VALUE_ERRORS)
def test_a_wrong_value_is_refused_with_line_key_and_hint(text: str, expected: list[str]) -> None:
    found = errors(text)
    assert len(found) == len(expected)
    for message, beginning in zip(found, expected, strict=True):
        assert message.startswith(beginning)


@pytest.mark.parametrize("path", ["/", "/a/", '/a:b,c"\\ d/ü', "/a..b", "/...", "/a/.hidden"])
def test_unusual_but_clear_paths_are_accepted(path: str) -> None:
    quoted = msgspec.json.encode(path).decode()
    image = load_text(f"{IMAGE}working-directory: {quoted}\n", HERE)
    assert isinstance(image, Image)
    assert image.working_directory == path


def test_all_errors_of_a_file_are_told_at_once_by_line() -> None:
    text = (
        "kind: image\n"
        "schema: 1\n"
        "name: Notes\n"
        "version: 1\n"
        "osbase: debian/trixie\n"
        "packges: [gnote]\n"
        "command: [gnote]\n"
        "os-services:\n"
        "  display: {required: maybe}\n"
        "volumes:\n"
        "  - {name: a, class: data, path: /a}\n"
        "  - {name: a, class: dta, path: /a}\n"
        "  - {name: b, class: data, path: /proc, ttl: &x 1d}\n"
    )
    lines = [(error.split(": ")[0], error.split(": ")[1]) for error in errors(text)]
    assert lines == [
        ("1", "title"),
        ("3", "name"),
        ("4", "version"),
        ("6", "packges"),
        ("9", "os-services.display.required"),
        ("9", "os-services.display.reason"),
        ("12", "volumes[1].class"),
        ("12", "volumes[1].name"),
        ("12", "volumes[1].path"),
        ("13", "volumes[2].ttl"),
        ("13", "volumes[2].path"),
    ]


def test_a_value_that_was_refused_is_not_blamed_for_what_its_placeholder_looks_like() -> None:
    text = IMAGE + "volumes:\n  - {class: data, path: 1}\n  - {class: data, path: 2}\n"
    assert [error.split(": ")[1] for error in errors(text)] == [
        "volumes[0].path",
        "volumes[0].name",
        "volumes[1].path",
        "volumes[1].name",
    ]


def test_a_message_names_file_line_and_key() -> None:
    with pytest.raises(DescriptorErrors) as caught:
        load_text(IMAGE + "os-services:\n  display: {}\n", Path("/etc/ftos/images/x.yml"))
    expected = "/etc/ftos/images/x.yml:9: os-services.display.reason: missing (say why the app wants it)"
    assert caught.value.message == expected


def test_an_odd_file_name_is_quoted_in_messages() -> None:
    with pytest.raises(DescriptorErrors) as caught:
        load_text("", Path("a\x1bb.yml"))
    assert caught.value.message.startswith("'a\\x1bb.yml':1: ")


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        load_file(tmp_path / "x.yml")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(BadInput, match="is larger than 1048576 bytes"):
        load_file(path)


def test_load_as_accepts_one_kind_only(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(SERVICE)
    assert load_as(path, Service).name == "a"
    with pytest.raises(DescriptorErrors, match="a descriptor of kind image is expected here"):
        load_as(path, Image)


def test_a_finding_is_located_at_its_key_or_at_what_is_around_it() -> None:
    text = IMAGE + "volumes:\n  - {name: a, class: data,\n     path: /a}\n"
    keys = [("volumes", 0, "path"), ("volumes", 0, "quota"), ("volumes", 7), ("title",), ("settings", "x"), ()]
    findings = [Finding(key, "bad") for key in keys]
    assert [error.line for error in locate(text, HERE, findings)] == [10, 9, 8, 4, 1, 1]


def test_no_bytes_lead_to_anything_but_a_record_or_descriptor_errors(kind: str, example: str) -> None:
    source = random.Random(f"bytes {kind}")
    data = example.encode()
    extra = [
        b"&a ",
        b"*a",
        b"!!x ",
        b"<<: ",
        b"{",
        b"[",
        b"]",
        b"}",
        b"'",
        b'"',
        b"\x00",
        b"\xff",
        b"\n---\n",
        b"\t",
        b"? ",
    ]
    told: list[tuple[DescriptorError, ...]] = []
    for _ in range(250):
        mutant = bytearray(data)
        for _ in range(source.randint(1, 6)):
            place = source.randrange(len(mutant))
            match source.randrange(4):
                case 0:
                    mutant[place] = source.randrange(256)
                case 1:
                    del mutant[place : place + source.randint(1, 20)]
                case 2:
                    mutant[place:place] = source.choice(extra)
                case 3:
                    mutant[place:place] = mutant[source.randrange(len(mutant)) :][:30]
        try:
            record = load_text(bytes(mutant), HERE)
        except DescriptorErrors as error:
            told.append(error.errors)
        else:
            assert msgspec.convert(msgspec.to_builtins(record), type(record)) == record
    assert len(told) > 100
    for errors_of_file in told:
        assert errors_of_file
        assert all(error.line >= 1 and str(error).isprintable() for error in errors_of_file)


def test_a_value_of_any_type_anywhere_is_accepted_or_refused_cleanly(kind: str, example: str) -> None:
    lines = example.splitlines()
    refused = 0
    for number, line in enumerate(lines):
        for value in ("", "~", "true", "1", "1.5", ".inf", "[]", "{}", "[[]]", "[{}]", "{a: b}", "text", "'1'", "-1"):
            changed = [*lines[:number], line.partition(":")[0] + ": " + value, *lines[number + 1 :]]
            try:
                load_text("\n".join(changed), HERE, kind)
            except DescriptorErrors as error:
                refused += len(error.errors) > 0
    assert refused > 5 * len(lines)
