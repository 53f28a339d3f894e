# SPDX-License-Identifier: AGPL-3.0-or-later
"""docs/plan-format.md, construct and C describe the same bytes."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ftos.plan import encode
from ftos.plan.records import ALL_NAMESPACES, FOREIGN_BASE, ID_COUNT, MountFlag, MountKind
from tests.native.plan_bytes import fields

LAYOUTS = {
    "header": encode.HEADER,
    "idmap": encode.IDMAP,
    "mount": encode.MOUNT,
    "landlock": encode.LANDLOCK,
    "rlimit": encode.RLIMIT,
    "filter": encode.FILTER,
}
INCLUDES = '#include <stdio.h>\n#include "plan_decode.h"\n#include <linux/filter.h>\n'


def c_values(checkout: Path, tmp_path: Path, expressions: list[str]) -> list[int]:
    """What a C compiler makes of expressions over plan_decode.h."""
    lines = "".join(f'printf("%lld\\n", (long long)({each}));\n' for each in expressions)
    source, program = tmp_path / "values.c", tmp_path / "values"
    source.write_text(INCLUDES + "int main(void) {\n" + lines + "return 0; }\n")
    subprocess.run(["gcc", f"-I{checkout / 'ftos/_native'}", "-o", program, source], check=True)
    return [int(line) for line in subprocess.run([program], capture_output=True, check=True).stdout.split()]


@pytest.mark.parametrize("name", LAYOUTS)
def test_the_page_has_every_field_where_it_is(checkout: Path, name: str) -> None:
    page = (checkout / "docs/plan-format.md").read_text()
    section = page.split(f"\n## {name}\n", 1)[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| (\d+) \| (\w+) \|", section, re.M)
    assert {field: (int(start), int(size)) for start, size, field in rows} == fields(LAYOUTS[name])


@pytest.mark.parametrize("name", LAYOUTS)
def test_c_has_every_field_where_it_is(checkout: Path, tmp_path: Path, name: str) -> None:
    layout: Any = LAYOUTS[name]
    struct = f"struct plan_{name}"
    ours = fields(layout)
    expressions, wanted = [f"sizeof({struct})"], [layout.sizeof()]
    for field, (start, size) in ours.items():
        if field == "jt_jf":
            expressions.append(f"offsetof({struct}, jt)")
            wanted.append(start)
            continue
        expressions += [f"offsetof({struct}, {field})", f"sizeof((({struct} *)0)->{field})"]
        wanted += [start, size]
    assert c_values(checkout, tmp_path, expressions) == wanted
    assert sum(size for _, size in ours.values()) == layout.sizeof()  # no gaps


def test_a_filter_is_what_the_kernel_takes(checkout: Path, tmp_path: Path) -> None:
    pairs = [
        f"offsetof(struct {name}, {field})"
        for field in ("code", "jt", "jf", "k")
        for name in ("plan_filter", "sock_filter")
    ]
    values = c_values(checkout, tmp_path, [*pairs, "sizeof(struct plan_filter)", "sizeof(struct sock_filter)"])
    assert values[::2] == values[1::2]


def test_c_and_python_have_the_same_numbers(checkout: Path, tmp_path: Path) -> None:
    ours = {
        "PLAN_VERSION": encode.VERSION,
        "PLAN_ID_COUNT": ID_COUNT,
        "PLAN_IDS_END": FOREIGN_BASE,
        "PLAN_LANDLOCK_SCOPES": encode.FLAG_LANDLOCK_SCOPES,
        "MF_ALL": sum(flag.value for flag in MountFlag),
        **{f"MOUNT_{kind.name}": kind.value for kind in MountKind},
        **{f"MF_{flag.name}": flag.value for flag in MountFlag},
    }
    assert c_values(checkout, tmp_path, list(ours)) == list(ours.values())
    source = (checkout / "ftos/_native/plan_decode.c").read_text()
    always = re.search(r"NAMESPACES_ALWAYS (0x[0-9a-f]+)u", source)
    assert always
    assert int(always[1], 16) | 0x40000000 == ALL_NAMESPACES


def test_the_page_says_the_limits_of_the_decoder(checkout: Path, tmp_path: Path) -> None:
    page = (checkout / "docs/plan-format.md").read_text()
    names = ["IDMAPS", "MOUNTS", "LANDLOCK", "RLIMITS", "SECCOMP", "STRINGS_COUNT"]
    limits = c_values(checkout, tmp_path, [f"PLAN_{name}_MAX" for name in names])
    rows = ("idmaps", "mounts", "landlock", "rlimits", "seccomp", "command_count")
    for limit, row in zip(limits, rows, strict=True):
        assert re.search(rf"\| {row} \| .*\b{limit} (records|instructions|strings) \|", page), row
    for kind in MountKind:
        assert f"{kind.value} {kind.name.lower()}" in page
    for flag in MountFlag:
        assert f"{flag.value} {str(flag.name).lower().replace('_', '-')}" in page
