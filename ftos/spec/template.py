# SPDX-License-Identifier: AGPL-3.0-or-later
"""`${settings.theme}` and `${host.locale}` in files of an image and in os-components: what is named, and filled in.

`$${` stands for a literal `${`, so that a shell script can be such a file. All other `$` are text. Pure text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

HOST_FACTS = ("architecture", "gpu", "language", "locale", "timezone")
"""What `${host.…}` may name, everywhere: what `ftos.host.facts.HostFacts.values` gives."""
DEPLOYMENT_NAME = "deployment.name"
"""What a file of an image may name besides: it is rendered for one deployment."""

_REFERENCE = re.compile(r"\$(\$\{|\{(?P<name>[^{}\n]*)\}|\{(?P<open>))")


def references(text: str) -> Iterator[str | None]:
    """The names between `${` and `}`, in order; None for a `${` that is not closed."""
    for match in _REFERENCE.finditer(text):
        if match["name"] is not None:
            yield match["name"]
        elif match["open"] is not None:
            yield None


def render(text: str, values: Mapping[str, str]) -> str:
    """`text` with each reference replaced by its value. `values`: {"settings.theme": "dark", "host.locale": ...}.

    Every reference must be known: `ftos.spec.checks` has seen to the names.
    """
    return _REFERENCE.sub(lambda match: "${" if match["name"] is None else values[match["name"]], text)
