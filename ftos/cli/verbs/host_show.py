# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos host show`."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import click

from ftos.cli import names
from ftos.cli.context import App, pass_app
from ftos.cli.output import Column, show_rows

if TYPE_CHECKING:
    from ftos.plan.effective import Value
    from ftos.spec.records import Host

_TOOLS = {"apk": "apk", "apt": "apt-get"}
"""Package manager → its program."""


@click.command("show")
@names.json_option
@pass_app
def command(app: App, as_json: bool) -> None:
    """Show what is known about this device, and from where.

    The os-components of images are chosen by these facts. Each can be set in host.yml, which wins over what is found.
    """
    rows = [{"fact": ".".join(value.key), "value": value.value, "origin": value.origin} for value in _values(app)]
    columns = (Column("fact", "fact"), Column("value", "value"), Column("origin", "origin"))
    show_rows(columns, rows, as_json=as_json, empty="")


def _values(app: App) -> list[Value]:
    """Facts, mirrors and tools, by their keys in host.yml where they have one."""
    from ftos.host.facts import gather
    from ftos.plan.effective import Source, Value, host_values

    path = app.places.etc / "host.yml"
    sources = {"host": Source(path, path.read_bytes())} if path.exists() else {}
    host = app.catalog.host()
    facts = gather(host)
    found = [Value(value.key[1:], value.value, value.origin) for value in host_values(facts, sources)]

    def add(key: tuple[str, ...], value: str | None, otherwise: str) -> None:
        line = sources["host"].line(key) if sources else None
        found.append(Value(key, value, otherwise if line is None else f"{path}:{line}"))

    for role, url in sorted(facts.mirrors.items()):
        add(("mirrors", role), url, "this device's package sources")
    for tool in _TOOLS:
        add(("tools", tool), *_tool(tool, host))
    add(("kernel",), os.uname().release, "the running kernel")
    return found


def _tool(name: str, host: Host) -> tuple[str | None, str]:
    """Where a package manager is, and who says so."""
    if program := shutil.which(_TOOLS[name]):
        return program, "a program of this device"
    own = next((tool for known, tool in host.tools.items() if known == name), None)
    return (own.archive, "host.yml") if own else (None, "not on this device")
