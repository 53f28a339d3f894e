# SPDX-License-Identifier: AGPL-3.0-or-later
"""Every key is described, and the reference for people is what the records say."""

from __future__ import annotations

from pathlib import Path

from ftos.spec import records
from ftos.spec.describe import KEYS
from ftos.spec.reference import markdown
from ftos.spec.walk import struct_type


def all_records() -> list[type[records.Record]]:
    return [known for known in vars(records).values() if isinstance(known, type) and issubclass(known, records.Record)]


def test_every_key_of_every_record_is_described_and_nothing_else() -> None:
    described = {record: set(keys) for record, keys in KEYS.items()}
    for record in all_records():
        if record is not records.Record:
            assert described.pop(record) == {field.encode_name for field in struct_type(record).fields}
    assert described == {}


def test_the_reference_is_up_to_date(checkout: Path) -> None:
    """If not: python -m ftos.spec.reference > docs/descriptors.md"""
    assert (checkout / "docs/descriptors.md").read_text() == markdown()


def test_the_reference_has_every_kind_and_key() -> None:
    page = markdown()
    for kind, record in records.KINDS.items():
        section = page.partition(f"\n## {kind}\n")[2].partition("\n## ")[0]
        for field in struct_type(record).fields:
            assert f"| `{field.encode_name}` |" in section
