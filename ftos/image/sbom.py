# SPDX-License-Identifier: AGPL-3.0-or-later
"""The bill of materials of a built image: CycloneDX 1.6, as JSON.

In: what the store knows of a commit. Out: each installed package with its purl, licence, source and, where the index
told it, the hash of its file. Equal for equal commits. Pure.

Sources: https://cyclonedx.org/docs/1.6/json/, https://github.com/package-url/purl-spec.
"""

from __future__ import annotations

import uuid
from urllib.parse import quote, urlencode

from ftos.image.manifest import InstalledPackage, LockedPackage, Manifest
from ftos.image.store import BuiltImage


def sbom(image: BuiltImage) -> dict[str, object]:
    """The document."""
    manifest = image.manifest
    locked = {
        (package.name, package.version, package.architecture): package
        for package in (*manifest.lock.base, *manifest.lock.packages)
    }
    components = [
        _component(package, manifest, locked.get((package.name, package.version, package.architecture)))
        for package in manifest.packages
    ]
    about = {
        "commit": image.commit,
        "recipe": manifest.digest,
        "osbase": manifest.osbase,
        "base-commit": manifest.base,
        "os-components": ", ".join(manifest.components),
    }
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, image.commit)}",
        "version": 1,
        "metadata": {
            "timestamp": manifest.built_at,
            "tools": {"components": [{"type": "application", "name": "ftos"}]},
            "component": {
                "type": "container",
                "bom-ref": f"image:{image.commit}",
                "name": manifest.name,
                "version": image.commit,
                "properties": _properties(about),
            },
        },
        "components": components,
    }


def purl(package: InstalledPackage, osbase: str, kind: str) -> str:
    """`kind`: `deb` or `apk`. osbase: DISTRO/RELEASE."""
    distro, _, release = osbase.partition("/")
    # The colon of an epoch stays as it is; all else that is no letter, digit or one of "-._~" is encoded.
    name, version = quote(package.name.lower(), safe=""), quote(package.version, safe=":")
    qualifiers = {"arch": package.architecture, "distro": release}
    return f"pkg:{kind}/{distro}/{name}@{version}?{urlencode(qualifiers, quote_via=quote, safe='')}"


def _component(package: InstalledPackage, manifest: Manifest, locked: LockedPackage | None) -> dict[str, object]:
    kind = "apk" if manifest.osbase.startswith("alpine/") else "deb"
    name = purl(package, manifest.osbase, kind)
    component: dict[str, object] = {
        "type": "library",
        "bom-ref": name,
        "name": package.name,
        "version": package.version,
        "purl": name,
    }
    if package.license:
        component["licenses"] = [{"license": {"name": package.license}}]
    scheme, _, value = locked.checksum.partition(":") if locked is not None else ("", "", "")
    if scheme == "sha256":
        component["hashes"] = [{"alg": "SHA-256", "content": value}]
    if package.source:
        component["properties"] = _properties({"source-package": package.source})
    return component


def _properties(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": f"flyingtux:{name}", "value": value} for name, value in values.items() if value]
