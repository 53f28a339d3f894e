# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bill of materials, judged by the official schema and by the reference implementation of purls."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from ftos.image.manifest import InstalledPackage, LockedPackage, Manifest, PackageLock
from ftos.image.sbom import purl, sbom
from ftos.image.store import BuiltImage

LIBC = InstalledPackage(
    name="libstdc++6", version="1:2.41-12+deb13u1~x", architecture="amd64", source="gcc-14", license="GPL-3.0-or-later"
)
TZDATA = InstalledPackage(name="tzdata", version="2026a-0", architecture="all")


def locked(package: InstalledPackage, checksum: str) -> LockedPackage:
    return LockedPackage(
        name=package.name,
        version=package.version,
        architecture=package.architecture,
        file=f"{package.name}.deb",
        size=1,
        checksum=checksum,
        url="http://m.invalid/",
    )


def built(osbase: str = "debian/trixie", commit: str = "c" * 64) -> BuiltImage:
    lock = PackageLock(
        base=(locked(LIBC, "sha256:" + "a" * 64),), packages=(locked(TZDATA, "q1:" + "b" * 40),), indexes={}
    )
    manifest = Manifest(
        kind="image",
        name="notes",
        digest="d" * 64,
        osbase=osbase,
        base="e" * 64,
        components=("fonts", "gles2"),
        packages=(LIBC, TZDATA),
        lock=lock,
        size=1,
        built_at="2026-11-01T12:00:00Z",
    )
    return BuiltImage(commit=commit, tree=Path("/nonexistent"), manifest=manifest)


@pytest.mark.parametrize("osbase", ["debian/trixie", "alpine/3.22"])
def test_it_is_valid_by_the_official_schema(osbase: str) -> None:
    validator = JsonStrictValidator(SchemaVersion.V1_6)
    assert validator.validate_str(json.dumps(sbom(built(osbase)))) is None
    assert validator.validate_str(json.dumps({**sbom(built()), "unknown": 1})) is not None


def test_it_has_each_package_with_source_licence_and_the_hash_of_its_file() -> None:
    components = json.loads(json.dumps(sbom(built())))["components"]
    assert components == [
        {
            "type": "library",
            "bom-ref": "pkg:deb/debian/libstdc%2B%2B6@1:2.41-12%2Bdeb13u1~x?arch=amd64&distro=trixie",
            "name": "libstdc++6",
            "version": "1:2.41-12+deb13u1~x",
            "purl": "pkg:deb/debian/libstdc%2B%2B6@1:2.41-12%2Bdeb13u1~x?arch=amd64&distro=trixie",
            "licenses": [{"license": {"name": "GPL-3.0-or-later"}}],
            "hashes": [{"alg": "SHA-256", "content": "a" * 64}],
            "properties": [{"name": "flyingtux:source-package", "value": "gcc-14"}],
        },
        {
            "type": "library",
            "bom-ref": "pkg:deb/debian/tzdata@2026a-0?arch=all&distro=trixie",
            "name": "tzdata",
            "version": "2026a-0",
            "purl": "pkg:deb/debian/tzdata@2026a-0?arch=all&distro=trixie",
        },
    ]


def test_equal_commits_have_equal_documents_and_others_another_serial_number() -> None:
    assert sbom(built()) == sbom(built())
    assert sbom(built())["serialNumber"] != sbom(built(commit="f" * 64))["serialNumber"]
    about = json.loads(json.dumps(sbom(built())))["metadata"]
    assert about["timestamp"] == "2026-11-01T12:00:00Z"
    assert {entry["name"]: entry["value"] for entry in about["component"]["properties"]} == {
        "flyingtux:commit": "c" * 64,
        "flyingtux:recipe": "d" * 64,
        "flyingtux:osbase": "debian/trixie",
        "flyingtux:base-commit": "e" * 64,
        "flyingtux:os-components": "fonts, gles2",
    }


@pytest.mark.parametrize("version", ["1", "1:2", "1.0-r3", "2+b1", "3~rc1", "4^git", "5_p1", "6@x%/?#&="])
@pytest.mark.parametrize(("osbase", "kind"), [("debian/trixie", "deb"), ("alpine/3.22", "apk")])
def test_a_purl_means_the_same_to_the_reference_implementation(version: str, osbase: str, kind: str) -> None:
    package = InstalledPackage(name="libstdc++", version=version, architecture="x86_64")
    distro, release = osbase.split("/")
    expected = PackageURL(kind, distro, package.name, version, {"arch": "x86_64", "distro": release})
    assert PackageURL.from_string(purl(package, osbase, kind)) == expected
