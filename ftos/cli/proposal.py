# SPDX-License-Identifier: AGPL-3.0-or-later
"""What an image asks for, which service instances could answer, and what is proposed. Pure.

A proposal is what `--yes` takes, so it errs towards less: an instance of the request's own name, else for a required
request the first one by name, else `none`. The network is proposed only where it is required, and the host's own
network never. Of an interface which this ftos does not provide there is only `none`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ftos.errors import BadInput, NotFound, quote
from ftos.services.registry import INTERFACES
from ftos.spec.records import Image, Request, Right, Service

NONE = "none"
EMPTY = "empty"


@dataclass(frozen=True, slots=True)
class Question:
    """One request of an image. `candidates` are names of instances, the reserved ones last."""

    key: str
    interface: str
    request: Request
    candidates: tuple[str, ...]
    proposal: str


@dataclass(frozen=True, slots=True)
class Choice:
    """The answer to a question. `rights` None: those which the image asks for."""

    instance: str
    rights: tuple[Right, ...] | None = None


def questions(image: Image, services: Iterable[Service]) -> tuple[Question, ...]:
    """One question for each request of the image, in its order."""
    known = sorted(services, key=lambda service: service.name)
    return tuple(_question(key, request, known) for key, request in image.os_services.items())


def _question(key: str, request: Request, services: Sequence[Service]) -> Question:
    interface = request.interface or key
    provided = interface in INTERFACES
    fitting = [service for service in services if provided and service.interface == interface]
    names = [service.name for service in fitting]
    cautious = [service.name for service in fitting if service.provider != "host-shared"]
    if key in names and interface != "network":
        proposal = key
    else:
        proposal = next(iter(cautious), NONE) if request.required else NONE
    return Question(key, interface, request, (*names, *((EMPTY, NONE) if provided else (NONE,))), proposal)


def find_requests(image: Image, word: str) -> list[str]:
    """The requests that `word` means: the one of this name, else all of this interface."""
    if word in image.os_services:
        return [word]
    keys = [key for key, request in image.os_services.items() if request.interface == word]
    if not keys:
        near = difflib.get_close_matches(word, image.os_services, n=1)
        hint = (
            f"did you mean {quote(near[0])}?" if near else f"it asks for: {', '.join(image.os_services) or 'nothing'}"
        )
        raise NotFound(f"the image {quote(image.name)} does not ask for {quote(word)}", hint)
    return keys


def find_request(image: Image, word: str) -> str:
    """The one request that `word` means."""
    keys = find_requests(image, word)
    if len(keys) > 1:
        raise BadInput(f"{quote(word)} means several requests of {image.name}", f"name one of: {', '.join(keys)}")
    return keys[0]


def decided(
    image: Image, asked: Sequence[Question], bindings: Sequence[str], denied: Sequence[str]
) -> dict[str, Choice]:
    """What `--bind REQUEST=INSTANCE` and `--deny INTERFACE` say, by request. Raises BadInput on contradictions."""
    by_key = {question.key: question for question in asked}
    choices: dict[str, Choice] = {}
    for word in bindings:
        request, equals, instance = word.partition("=")
        if not equals or not request or not instance:
            raise BadInput(f"{quote(word)} is no binding", "write --bind REQUEST=INSTANCE, as in --bind network=none")
        key = find_request(image, request)
        check_candidate(by_key[key], instance)
        _decide(choices, key, Choice(instance))
    for word in denied:
        for key in find_requests(image, word):
            _decide(choices, key, Choice(NONE))
    return choices


def _decide(choices: dict[str, Choice], key: str, choice: Choice) -> None:
    if choices.setdefault(key, choice) != choice:
        raise BadInput(f"{quote(key)} is decided twice", "give one --bind or --deny for it")


def check_candidate(question: Question, instance: str) -> None:
    """Refuse an instance that can't answer the question."""
    if instance not in question.candidates:
        raise BadInput(
            f"{quote(instance)} is no service instance of interface {quote(question.interface)}",
            f"there are: {', '.join(question.candidates)}",
        )


def undecided(asked: Sequence[Question], choices: Mapping[str, Choice]) -> list[Question]:
    return [question for question in asked if question.key not in choices]
