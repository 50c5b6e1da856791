"""How somebody follows the requests of a session: by a step for each, whose name holds no number and no secret."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import Protocol

HIDDEN = "…"
_WORD = re.compile(r"(?!(?:.*[A-Z]){4})[A-Za-z][A-Za-z_-]{0,23}(\.json|\.xml)?|v\d{1,2}(\.\d)?")
_ENTITY = re.compile(r"([A-Za-z_]{1,32})\(.*\)")  # OData: contacts(4711)


class Step(Protocol):
    """A request on its way."""

    note: str

    def waited(self, seconds: float) -> None:
        """Say that it waited so long for its turn and begins now."""


Watch = Callable[..., AbstractContextManager[Step]]  # (name, least=seconds that make it worth being told)


@lru_cache(maxsize=1024)  # an adapter asks for the same again and again
def name_of(method: str, path: str, base_url: str) -> str:
    """Return the request in words that may be kept: ``GET /contacts/…/notes``.

    Of the path below the CRM's address only what looks like a word or an API's version is told, of one elsewhere
    and of what is asked for nothing: an id, a number, a name with an accent and a key hold something else.
    """
    if path.startswith(f"{base_url}/"):
        path = path[len(base_url) :]
    elif "://" in path:
        return f"{method} {HIDDEN}"
    plain = path.partition("?")[0].partition("#")[0].strip("/")
    return f"{method} /{'/'.join(map(_segment, plain.split('/')))}"


def _segment(text: str) -> str:
    if not text or _WORD.fullmatch(text):
        return text
    entity = _ENTITY.fullmatch(text)
    return f"{entity[1]}({HIDDEN})" if entity and _WORD.fullmatch(entity[1]) else HIDDEN
