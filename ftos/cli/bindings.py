# SPDX-License-Identifier: AGPL-3.0-or-later
"""`ftos bind` and `ftos unbind` as changes of a deployment's text. Pure; comments and order survive."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ftos.cli.proposal import NONE, check_candidate, find_request, questions
from ftos.errors import NotFound, quote
from ftos.spec.edit import remove_value, set_value
from ftos.spec.records import Deployment, Image, Service

Edit = Callable[[str], str]


def bind(
    image: Image, services: Iterable[Service], deployment: Deployment, word: str, instance: str
) -> tuple[str, Edit]:
    """The request that `word` means, and the change which ties it to `instance`.

    A new binding gets the rights which the image asks for, written out, so that an image that asks for more one day
    does not get it by itself. A binding that is there keeps its own, also where it names none: that grants list and
    read.
    """
    key = find_request(image, word)
    question = next(question for question in questions(image, services) if question.key == key)
    check_candidate(question, instance)
    bound = deployment.os_services.get(key)
    is_new = bound is None or (bound.instance == NONE and bound.rights is None)
    rights = question.request.rights if is_new else ()

    def edit(text: str) -> str:
        text = set_value(text, f"os-services.{key}.instance", instance)
        if rights and instance != NONE:
            text = set_value(text, f"os-services.{key}.rights", f"[{', '.join(rights)}]")
        return text

    return key, edit


def unbind(image: Image, deployment: Deployment, word: str) -> tuple[str, Edit]:
    """The request that `word` means, and the change which removes its binding."""
    key = word if word in deployment.os_services else find_request(image, word)
    if key not in deployment.os_services:
        bound = ", ".join(deployment.os_services) or "nothing"
        raise NotFound(f"{deployment.name} has no binding for {quote(key)}", f"it binds: {bound}")
    return key, lambda text: remove_value(text, f"os-services.{key}")
