# SPDX-License-Identifier: AGPL-3.0-or-later
"""The text of a new deployment descriptor: what each line means, why the image asks, what else could be chosen. Pure.

Words of the image go into comments only after everything that is not printable was escaped: a line separator in a
reason must not begin a line of YAML, which would grant what nobody granted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence

from ftos.cli.output import escape
from ftos.cli.proposal import NONE, Choice, Question
from ftos.spec.records import Image, Setting

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*")
_NOT_TEXT = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}
_COLUMN = 32


def _scalar(value: object) -> str:
    """A value as YAML: JSON, but words without quotes."""
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _NOT_TEXT:
        return value
    return json.dumps(value)


def _line(text: str, comment: str = "") -> str:
    return f"{text.ljust(_COLUMN)}  # {escape(comment)}" if comment else text


def deployment_text(
    image: Image, name: str, identity: str, asked: Sequence[Question], choices: Mapping[str, Choice]
) -> str:
    """The descriptor `name` with one choice for each question."""
    return "\n".join(_lines(image, name, identity, asked, choices)) + "\n"


def _lines(
    image: Image, name: str, identity: str, asked: Sequence[Question], choices: Mapping[str, Choice]
) -> Iterator[str]:
    yield escape(
        f"# {image.title}: what this copy of the image {image.name} may reach. Change it with `ftos edit {name}`;"
    )
    yield "# changes take effect at the next start."
    yield "kind: deployment"
    yield "schema: 1"
    yield f"name: {_scalar(name)}"
    yield _line(f"id: {identity}", "never changes: the data and the id range belong to it")
    yield f"image: {_scalar(image.name)}"
    yield ""
    yield "# What the image lets you set, with its defaults."
    yield "settings: {}"
    for key, setting in image.settings.items():
        yield _line(f"#  {_scalar(key)}: {_scalar(setting.default)}", _about_setting(setting))
    yield ""
    yield "# What the app may reach, one line for each thing that it asks for. Without a line it is `none`: not there."
    if asked:
        yield "os-services:"
        for question in asked:
            yield from _binding(question, choices[question.key])
    else:
        yield "os-services: {}"
    kept = [volume for volume in image.volumes if volume.volume_class in ("data", "settings")]
    yield ""
    yield "# What the app keeps between its runs."
    if kept:
        yield "volumes:"
        for volume in kept:
            yield _line(f"  - {{name: {_scalar(volume.name)}, backup: true}}", f"{volume.volume_class}, {volume.path}")
    else:
        yield "volumes: []"
    yield ""
    yield _line("limits: {}", "as in {memory: 700M, pids: 200, cpu-weight: 50}")
    yield _line("autostart: false", "true: to be started with the device; not yet: nothing starts apps by itself")


def _about_setting(setting: Setting) -> str:
    choices = f"one of {', '.join(map(str, setting.choices))}" if setting.choices else ""
    return "; ".join(part for part in (setting.title, choices) if part)


def _binding(question: Question, choice: Choice) -> Iterator[str]:
    need = "required: " if question.request.required else ""
    yield escape(f"  # {need}{question.request.reason}")
    others = [name for name in question.candidates if name != choice.instance]
    value = f"{{instance: {_scalar(choice.instance)}"
    rights = question.request.rights if choice.rights is None else choice.rights
    if rights and choice.instance != NONE:
        value += f", rights: [{', '.join(rights)}]"
    yield _line(f"  {_scalar(question.key)}: {value}}}", f"or: {', '.join(others)}" if others else "")
