# SPDX-License-Identifier: AGPL-3.0-or-later
"""Finding descriptors by kind and name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ftos.errors import BadInput, NotFound
from ftos.host.places import Places
from ftos.spec.catalog import Catalog
from ftos.spec.load import DescriptorErrors
from ftos.spec.records import Host


def service(name: str, title: str = "") -> str:
    return f"kind: service\nschema: 1\nname: {name}\ninterface: location\nprovider: fixed\ntitle: '{title}'\n"


def image(name: str) -> str:
    return f"kind: image\nschema: 1\nname: {name}\ntitle: A\nversion: '1'\nosbase: debian/trixie\ncommand: [a]\n"


def deployment(name: str, identity: str = "d-00000000") -> str:
    return f"kind: deployment\nschema: 1\nname: {name}\nid: {identity}\nimage: a\n"


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    """The owner's directory of a device that has nothing but it and what is shipped."""
    etc = tmp_path / "etc/ftos"
    for kind in ("images", "services", "deployments"):
        (etc / kind).mkdir(parents=True)
    return etc


@pytest.fixture
def catalog(etc: Path) -> Catalog:
    return Catalog(Places(etc.parents[1]))


def test_each_kind_is_read_by_its_name(etc: Path, catalog: Catalog) -> None:
    (etc / "services/gps.yml").write_text(service("gps"))
    (etc / "images/notes.yml").write_text(image("notes"))
    (etc / "deployments/notes-work.yml").write_text(deployment("notes-work"))
    assert catalog.service("gps").name == "gps"
    assert catalog.image("notes").name == "notes"
    assert catalog.deployment("notes-work").name == "notes-work"
    assert catalog.path("image", "notes") == etc / "images/notes.yml"
    assert "gps" in [record.name for record in catalog.services()]


def test_the_shipped_osbases_are_found(catalog: Catalog) -> None:
    assert {"debian/bookworm", "debian/trixie"} <= set(catalog.names("osbase"))
    trixie = catalog.osbase("debian/trixie")
    assert trixie.name == "debian/trixie"
    assert catalog.path("osbase", "debian/trixie").parent.joinpath("keys").is_dir()


def test_names_are_sorted_and_cost_no_reading(etc: Path, catalog: Catalog) -> None:
    for name in ("b.yml", "a.yml", ".c.yml", "d.yml~", "e.txt"):
        (etc / "deployments" / name).write_text("broken: [")
    assert catalog.names("deployment") == ["a", "b"]


def test_the_owners_descriptor_wins_over_a_shipped_one(etc: Path, catalog: Catalog) -> None:
    name = catalog.names("service")[0]
    assert catalog.path("service", name).parent != etc / "services"
    (etc / f"services/{name}.yml").write_text(service(name, "mine"))
    assert catalog.service(name).title == "mine"
    assert catalog.names("service").count(name) == 1


def test_a_device_without_any_directory_has_no_deployments(tmp_path: Path) -> None:
    catalog = Catalog(Places(tmp_path / "nothing"))
    assert catalog.names("deployment") == []


def test_an_unknown_name_is_not_found_with_what_may_have_been_meant(etc: Path, catalog: Catalog) -> None:
    with pytest.raises(NotFound) as caught:
        catalog.deployment("note")
    assert (caught.value.message, caught.value.hint) == ("there is no deployment 'note'", "there are none yet")
    (etc / "deployments/notes.yml").write_text(deployment("notes"))
    with pytest.raises(NotFound) as caught:
        catalog.deployment("note")
    assert caught.value.hint == "did you mean `notes`?"
    with pytest.raises(NotFound) as caught:
        catalog.deployment("zzz")
    assert caught.value.hint == "there are: notes"


@pytest.mark.parametrize("name", ["../host", "..", "", "/etc/passwd", "a/../b", "A", "a\n", "a\x00", "-a"])
@pytest.mark.parametrize("kind", ["image", "osbase"])
def test_a_name_can_not_lead_out_of_its_directory(etc: Path, catalog: Catalog, kind: str, name: str) -> None:
    (etc / "host.yml").write_text("kind: host\nschema: 1\n")
    with pytest.raises(NotFound):
        catalog.path(kind, name)


def test_a_file_must_be_called_what_it_describes(etc: Path, catalog: Catalog) -> None:
    (etc / "services/a.yml").write_text("# first\n" + service("b"))
    with pytest.raises(DescriptorErrors) as caught:
        catalog.service("a")
    path = etc / "services/a.yml"
    assert caught.value.message == f"{path}:4: name: 'b' is not what the file is called (write name: a)"


def test_a_file_must_be_of_the_kind_of_its_directory(etc: Path, catalog: Catalog) -> None:
    (etc / "services/a.yml").write_text(image("a"))
    with pytest.raises(DescriptorErrors, match="a descriptor of kind service is expected here, not of kind image"):
        catalog.service("a")


def test_the_errors_of_all_broken_files_are_told_at_once(etc: Path, catalog: Catalog) -> None:
    (etc / "services/a.yml").write_text("x: 1\n")
    (etc / "services/b.yml").write_text(service("b"))
    (etc / "services/Bad Name.yml").write_text(service("c"))
    with pytest.raises(DescriptorErrors) as caught:
        catalog.services()
    assert {error.path.name for error in caught.value.errors} == {"a.yml", "Bad Name.yml"}


def test_a_link_that_leads_nowhere_is_told_not_skipped(etc: Path, catalog: Catalog) -> None:
    (etc / "services/a.yml").symlink_to("gone.yml")
    with pytest.raises(NotFound, match=r"there is no file .*a\.yml"):
        catalog.services()


def test_another_deployment_with_the_same_id_is_found_among_broken_files(etc: Path, catalog: Catalog) -> None:
    (etc / "deployments/broken.yml").write_text("id: d-00000000\n")
    (etc / "deployments/gone.yml").symlink_to("nowhere.yml")
    (etc / "deployments/notes.yml").write_text(deployment("notes"))
    (etc / "deployments/other.yml").write_text(deployment("other", "d-00000001"))
    assert catalog.same_id(catalog.deployment("notes")) is None
    (etc / "deployments/second.yml").write_text(deployment("second"))
    assert catalog.same_id(catalog.deployment("notes")) == "second"
    assert catalog.same_id(catalog.deployment("second")) == "notes"
    assert catalog.same_id(catalog.deployment("other")) is None


def test_a_device_without_host_yml_has_the_owners_silence(etc: Path, catalog: Catalog) -> None:
    assert catalog.host() == Host(kind="host", schema=1)
    (etc / "host.yml").write_text("kind: host\nschema: 1\nowner: alex\n")
    assert catalog.host().owner == "alex"
    (etc / "host.yml").write_text("kind: host\nschema: 1\nowners: alex\n")
    with pytest.raises(DescriptorErrors, match="did you mean `owner`"):
        catalog.host()


def test_a_directory_that_is_a_file_holds_nothing(tmp_path: Path) -> None:
    (tmp_path / "etc/ftos").mkdir(parents=True)
    (tmp_path / "etc/ftos/deployments").write_text("")
    assert Catalog(Places(tmp_path)).names("deployment") == []


def test_a_directory_that_can_not_be_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "etc/ftos").mkdir(parents=True)
    (tmp_path / "etc/ftos/deployments").symlink_to("deployments")
    with pytest.raises(BadInput, match=r"can't list .*/deployments': Too many levels of symbolic links"):
        Catalog(Places(tmp_path)).names("deployment")


def test_reading_descriptors_does_not_import_the_editor() -> None:
    code = "import sys, ftos.spec.catalog; sys.exit('ruamel.yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
