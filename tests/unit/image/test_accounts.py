# SPDX-License-Identifier: AGPL-3.0-or-later
"""Account files of images are read strictly, and completed."""

from __future__ import annotations

import pytest

from ftos.errors import BuildError
from ftos.image.accounts import complete

ROOT = "root:x:0:0:root:/root:/bin/bash\n"
APP = "app:x:1000:1000::/home/app:/bin/sh\n"


def test_the_app_gets_an_account_in_every_file() -> None:
    assert complete("etc/passwd", ROOT) == ROOT + APP
    assert complete("etc/group", "root:x:0:\n") == "root:x:0:\napp:x:1000:\n"
    assert complete("etc/shadow", "root:*:1:0:99999:7:::\n") == "root:*:1:0:99999:7:::\napp:!:1::::::\n"
    assert complete("etc/gshadow", "root:*::\n") == "root:*::\napp:!::\n"


def test_a_completed_file_stays_as_it_is() -> None:
    for path in ("etc/passwd", "etc/group", "etc/shadow", "etc/gshadow"):
        once = complete(path, "")
        assert complete(path, once) == once


def test_a_last_line_without_its_end_is_no_trap() -> None:
    assert complete("etc/passwd", ROOT.rstrip("\n")) == ROOT + APP


@pytest.mark.parametrize(
    "uid", ["0x0", " 1000", "1000abc", "-1", "4294967295", "65536", "", "+0", "00", "0 ", "٣", "1e3"]
)
def test_an_id_that_is_no_plain_number_of_the_container_is_refused(uid: str) -> None:
    for line in (f"mallory:x:{uid}:7::/:/bin/sh\n", f"mallory:x:7:{uid}::/:/bin/sh\n"):
        with pytest.raises(BuildError, match=r"/etc/passwd, line 2: .* is no id from 0 to 65535"):
            complete("etc/passwd", ROOT + line)
    with pytest.raises(BuildError, match=r"/etc/group, line 1: .* is no id"):
        complete("etc/group", f"mallory:x:{uid}:\n")


def test_a_second_account_with_uid_0_is_refused() -> None:
    with pytest.raises(BuildError, match="line 2: 'toor' and 'root' share the id 0"):
        complete("etc/passwd", ROOT + "toor:x:0:0::/:/bin/sh\n")


def test_two_accounts_may_share_another_id() -> None:
    complete("etc/passwd", ROOT + "a:x:7:7::/:/bin/sh\nb:x:7:7::/:/bin/sh\n")


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(BuildError, match="line 2: the name 'root' is there twice"):
        complete("etc/shadow", "root:*:1::::::\nroot::1::::::\n")


@pytest.mark.parametrize(
    "line", ["+::::::", "", "root:x:0", "ro ot:x:7:7::/:/bin/sh", "a:x:7:7::/:/bin/sh:more", "\x1b[2J:x:7:7::/:/"]
)
def test_a_malformed_line_is_refused_and_shown_safely(line: str) -> None:
    with pytest.raises(BuildError, match=r"/etc/passwd, line 2: .* is malformed") as caught:
        complete("etc/passwd", ROOT + line + "\n")
    assert "\x1b" not in caught.value.message


def test_the_apps_id_or_name_taken_by_another_is_refused() -> None:
    with pytest.raises(BuildError, match="gives the app's id, 1000, to 'mallory'"):
        complete("etc/passwd", ROOT + "mallory:x:1000:7::/:/bin/sh\n")
    with pytest.raises(BuildError, match="the account app has not the id 1000"):
        complete("etc/passwd", ROOT + "app:x:7:7::/:/bin/sh\n")
    with pytest.raises(BuildError, match="'mallory' and 'app' share the id 1000"):
        complete("etc/passwd", APP + "mallory:x:1000:7::/:/bin/sh\n")
