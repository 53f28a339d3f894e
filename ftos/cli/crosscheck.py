# SPDX-License-Identifier: AGPL-3.0-or-later
"""One descriptor held against those it names: an image against its osbase, a service against
its provider, a deployment against image and services.
"""

from __future__ import annotations

from pathlib import Path

from ftos.errors import BadInput, NotFound, Unsupported, quote
from ftos.host.facts import gather
from ftos.services.registry import check_service
from ftos.spec.catalog import Catalog
from ftos.spec.cross import check_deployment, check_image
from ftos.spec.load import locate
from ftos.spec.problems import DescriptorError, DescriptorErrors, Finding
from ftos.spec.records import Deployment, Descriptor, Host, Image, Service


def cross_check(
    catalog: Catalog, record: Descriptor, text: str | bytes, path: Path, *, installed: bool
) -> list[DescriptorError]:
    """Warnings about a valid record that was read from `text`; raises DescriptorErrors for what is wrong.

    installed: the record is, or shall be, one of this device, so that the image it names must be there. For any other
    file a missing image is worth a warning only.
    """
    findings = shared_id(catalog, record) if isinstance(record, Deployment) else []
    try:
        findings += _findings(catalog, record)
    except NotFound as error:
        key = "osbase" if isinstance(record, Image) else "image"
        findings.append(Finding((key,), error.message, error.hint, warning=key == "image" and not installed))
    placed = list(zip(findings, locate(text, path, findings), strict=True))
    if errors := [error for finding, error in placed if not finding.warning]:
        raise DescriptorErrors(errors)
    return [error for _, error in placed]


def shared_id(catalog: Catalog, deployment: Deployment) -> list[Finding]:
    """A finding when another deployment of this device has the same id."""
    if (other := catalog.same_id(deployment)) is None:
        return []
    message = f"{quote(deployment.id)} is the id of {quote(catalog.path('deployment', other))} too"
    return [Finding(("id",), message, "give it an id of its own")]


def _findings(catalog: Catalog, record: Descriptor) -> list[Finding]:
    """Raises NotFound for an image or osbase that is not there."""
    if isinstance(record, Image):
        return check_image(record, catalog.osbase(record.osbase), _facts(catalog))
    if isinstance(record, Deployment):
        return check_deployment(record, catalog.image(record.image), _services(catalog, record))
    if isinstance(record, Service):
        return _provider(record)
    return []


def _facts(catalog: Catalog) -> dict[str, str]:
    """The host's; what is wrong with host.yml is no error of another file."""
    try:
        return gather(catalog.host()).values()
    except BadInput:
        return gather(Host(kind="host", schema=1)).values()


def _provider(service: Service) -> list[Finding]:
    """An interface that this ftos does not provide is no error of the file."""
    try:
        check_service(service)
    except Unsupported as error:
        return [Finding(("interface",), error.message, error.hint, warning=True)]
    except BadInput as error:
        return [Finding(("provider",), error.message, error.hint)]
    return []


def _services(catalog: Catalog, deployment: Deployment) -> dict[str, Service]:
    """All services by name; a broken one counts only when the deployment uses it."""
    used = {binding.instance for binding in deployment.os_services.values()}
    found = {}
    for name in catalog.names("service"):
        try:
            found[name] = catalog.service(name)
        except DescriptorErrors:
            if name in used:
                raise
    return found
