# SPDX-License-Identifier: AGPL-3.0-or-later
"""The questions of `ftos deploy` to a person at a terminal: what the image asks for, why, and who shall answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import get_args

import click

from ftos.cli.output import escape
from ftos.cli.proposal import NONE, Choice, Question
from ftos.spec.records import Image, Right

MEANING = {NONE: "the app sees nothing of it", "empty": "there, but empty"}


def overview(image: Image, asked: Sequence[Question], titles: Mapping[str, str]) -> str:
    """What the image asks for: each request with interface, rights, need, reason and the instances there are.

    titles: the title of each service instance by its name.
    """
    if not asked:
        return f"{escape(image.title)} asks for nothing outside its own container."
    lines = [f"{escape(image.title)} asks for:"]
    for question in asked:
        request = question.request
        need = "required" if request.required else "optional"
        rights = f"; rights: {', '.join(request.rights)}" if request.rights else ""
        lines += ["", f"  {question.key} ({question.interface}, {need}{rights}): {escape(request.reason)}"]
        for name in question.candidates:
            lines.append(f"    {name.ljust(20)} {escape(titles.get(name) or MEANING.get(name, ''))}".rstrip())
    return "\n".join(lines)


def ask(question: Question) -> Choice:
    """Let the person accept the proposal or choose another instance, and other rights where there are some."""
    click.echo()
    instance = click.prompt(
        f"{question.key}: {' / '.join(question.candidates)}",
        default=question.proposal,
        type=click.Choice(question.candidates),
        show_choices=False,
    )
    requested = question.request.rights
    if not requested or instance in MEANING:
        return Choice(instance)
    return Choice(instance, click.prompt("  rights", default=", ".join(requested), value_proc=_rights))


def _rights(answer: str) -> tuple[Right, ...]:
    rights = tuple(dict.fromkeys(answer.replace(",", " ").split()))
    unknown = [right for right in rights if right not in get_args(Right)]
    if unknown or not rights:
        what = f"{unknown[0]!r} is no right" if unknown else "no right is given"
        raise click.BadParameter(f"{what}; rights are: {', '.join(get_args(Right))}")
    return rights  # type: ignore[return-value]  # checked against Right's own words
