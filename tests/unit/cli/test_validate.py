# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos validate` and `ftos schema`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from ftos.cli.verbs.schema import KINDS
from ftos.spec import records
from tests.unit.cli.conftest import ALBUM, NOTES, Run


def test_all_errors_of_all_files_are_told_and_the_status_is_2(ftos: Run, tmp_path: Path) -> None:
    wrong, worse, right = tmp_path / "wrong.yml", tmp_path / "worse.yml", tmp_path / "right.yml"
    wrong.write_text(NOTES.replace("packages:", "package:").replace('version: "1"', "version: []"))
    worse.write_text("- 1\n")
    right.write_text(NOTES)
    result = ftos("validate", *map(str, (wrong, worse, right, tmp_path / "gone.yml", tmp_path)))
    assert result.exit_code == 2
    assert result.stdout == f"{right}: ok\n"
    assert f"{wrong}:5: version: " in result.stderr
    assert f"{wrong}:7: package: " in result.stderr
    assert "did you mean `packages`?" in result.stderr
    assert f"{worse}:1: " in result.stderr
    assert f"there is no file '{tmp_path}/gone.yml'" in result.stderr
    assert f"'{tmp_path}' is not a regular file" in result.stderr


def test_json_has_every_error_with_its_place(ftos: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(NOTES.replace("debian/trixie", "debian/trixi"))
    result = ftos("validate", "--json", str(path))
    assert result.exit_code == 2
    assert json.loads(result.stdout) == [
        {
            "file": str(path),
            "valid": False,
            "errors": [
                {
                    "file": str(path),
                    "line": 6,
                    "key": "osbase",
                    "message": "there is no osbase 'debian/trixi'",
                    "hint": "did you mean `debian/trixie`?",
                }
            ],
            "warnings": [],
        }
    ]


def test_service_is_held_against_its_provider(ftos: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text(ALBUM.replace("provider: directory", "provider: cloud"))
    result = ftos("validate", str(path))
    assert f"{path}:6: provider: service 'album': user-dir has no provider 'cloud'" in result.stderr
    assert result.exit_code == 2


def test_service_of_an_interface_without_provider_is_only_warned_of(ftos: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text("kind: service\nschema: 1\nname: x\ninterface: location\nprovider: fixed\n")
    result = ftos("validate", str(path))
    assert (result.exit_code, result.stdout) == (0, f"{path}: ok\n")
    assert result.stderr.startswith(f"warning: {path}:4: interface: ")


def test_missing_image_of_a_deployment_is_only_warned_of(ftos: Run, tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text("kind: deployment\nschema: 1\nname: x\nid: d-00000000\nimage: gone\n")
    result = ftos("validate", str(path))
    assert (result.exit_code, result.stdout) == (0, f"{path}: ok\n")
    assert result.stderr.startswith(f"warning: {path}:5: image: there is no image 'gone'")


def test_deployment_is_held_against_its_image(ftos: Run, notes: Path) -> None:
    notes.write_text(notes.read_text().replace("settings: {}", "settings: {them: light}"))
    result = ftos("validate", str(notes))
    assert "settings.them: the image has no setting 'them' (did you mean `theme`?)" in result.stderr
    assert result.exit_code == 2


def test_deployments_with_one_id_are_refused_with_the_names_of_both_files(ftos: Run, notes: Path) -> None:
    second = notes.with_name("notes2.yml")
    second.write_text(notes.read_text().replace("name: notes\n", "name: notes2\n", 1))
    result = ftos("validate", str(notes), str(second))
    assert (result.exit_code, result.stdout) == (2, "")
    for path, other in ((notes, second), (second, notes)):
        assert re.search(
            rf"{path}:\d+: id: '.*' is the id of '{other}' too \(give it an id of its own\)", result.stderr
        )


def test_shipped_and_example_descriptors_are_valid(ftos: Run, root: Path, checkout: Path) -> None:
    (root / "etc/ftos/images/notes.yml").unlink()  # the example is of another image of this name
    patterns = ("osbases/*/*/osbase.yml", "rootfs-overlay/usr/share/ftos/*/*.yml", "docs/examples/*.yml")
    files = [path for pattern in patterns for path in checkout.glob(pattern)]
    result = ftos("validate", *map(str, files))
    assert (result.stdout.count(": ok\n"), result.exit_code) == (len(files), 0), result.stderr


def test_schema_accepts_what_is_valid_and_refuses_what_is_not(ftos: Run) -> None:
    schema = json.loads(ftos("schema", "image").stdout)
    jsonschema.validate(yaml.safe_load(NOTES), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(yaml.safe_load(NOTES.replace("packages:", "package:")), schema)


def test_schema_knows_every_kind_and_no_other(ftos: Run) -> None:
    assert tuple(records.KINDS) == KINDS
    assert all(ftos("schema", kind).exit_code == 0 for kind in KINDS)
    assert "'images' is not one of 'osbase', 'image'" in ftos("schema", "images").stderr
