# SPDX-License-Identifier: AGPL-3.0-or-later
"""Where a container that fetches finds what is in directories of this host."""

from __future__ import annotations

import pytest

from ftos.image.online import as_known, as_seen, local_binds, local_directory

MIRRORS = ["https://m.invalid/debian", "file:///srv/a", "file:///srv/a/b/", "file:///srv/my%20packages"]


@pytest.mark.parametrize("scheme", ["file", "copy"])
@pytest.mark.parametrize(
    ("url", "mirror", "rest"),
    [
        ("file:///srv/a/pool/x.deb", 1, "pool/x.deb"),
        ("file:///srv/a/b/pool/x.deb", 2, "pool/x.deb"),
        ("file:///srv/my%20packages/x%2b.deb", 3, "x%2b.deb"),
    ],
)
def test_a_file_of_a_local_mirror_is_seen_elsewhere_and_known_by_its_url(
    url: str, mirror: int, rest: str, scheme: str
) -> None:
    seen = as_seen(url, MIRRORS, scheme)
    assert seen == f"{scheme}:{local_directory(MIRRORS[mirror])}/{rest}"
    assert as_known(seen, MIRRORS, scheme) == url


@pytest.mark.parametrize(
    "url", ["https://m.invalid/debian/x", "file:///srv/abc/x", "file:///etc/passwd", "copy:/ftos/local/0/x"]
)
def test_other_urls_stay(url: str) -> None:
    assert as_seen(url, MIRRORS, "copy") == url
    assert as_known(url, MIRRORS, "copy") == url


def test_local_mirrors_are_directories_by_their_real_names() -> None:
    assert [(bind.source, bind.target) for bind in local_binds([*MIRRORS, MIRRORS[1]])] == [
        ("/srv/a", local_directory("file:///srv/a")),
        ("/srv/a/b", local_directory("file:///srv/a/b/")),
        ("/srv/my packages", local_directory("file:///srv/my%20packages")),
    ]
