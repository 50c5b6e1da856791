"""What of a CDR is read and kept: its document, its credential, and its body without it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from middleware.receivers.body import UnreadableBody, read_json
from middleware.receivers.cdr import SECRETS
from middleware.receivers.fields import plain_text
from middleware.receivers.form import FORM, MULTIPART, nest, path_of, read_pairs

JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request: what it says, what is kept of it, and the token that it brought in its data."""

    document: object
    raw: bytes
    content_type: str
    token: str | None = None


def is_form(content_type: str) -> bool:
    """Whether the body is a form."""
    return content_type.partition(";")[0].strip().lower() in (FORM, MULTIPART)


def read_document(raw: bytes, content_type: str) -> object:
    """Return what a body says, JSON or form; raises :class:`UnreadableBody`."""
    return nest(read_pairs(raw, content_type)) if is_form(content_type) else read_json(raw)


def receive_plain(raw: bytes, content_type: str) -> Received:
    """Return a body of JSON as it came."""
    return Received(document=read_json(raw), raw=raw, content_type=content_type)


def receive_cdr(raw: bytes, content_type: str) -> Received:
    """Return a CDR without its token; as it came where there is none, but a multipart form as a plain one."""
    return _receive_form(raw, content_type) if is_form(content_type) else _receive_json(raw, content_type)


def _receive_form(raw: bytes, content_type: str) -> Received:
    pairs = read_pairs(raw, content_type)
    tokens: list[object] = [value for name, value in pairs if _is_token(path_of(name))]
    kept = [(name, value) for name, value in pairs if not _is_token(path_of(name))]
    for i, (name, value) in enumerate(kept):
        inner = _object(value) if name.lower() == "customdata" else None
        if inner and (found := list(_take(inner))):
            tokens += found
            kept[i] = (name, json.dumps(inner))
    if tokens or not content_type.lower().startswith(FORM):  # a multipart form is understood by its header alone
        raw, content_type = urlencode(kept).encode(), FORM
    return Received(document=nest(kept), raw=raw, content_type=content_type, token=_first(tokens))


def _receive_json(raw: bytes, content_type: str) -> Received:
    document = read_json(raw)
    tokens = list(_take_nested(document)) if isinstance(document, dict) else []
    if tokens:
        raw = json.dumps(document).encode()
    return Received(document=document, raw=raw, content_type=content_type, token=_first(tokens))


def _is_token(path: list[str]) -> bool:
    lower = [step.lower() for step in path]
    return lower[-1] in SECRETS and lower[:-1] in ([], ["customdata"])


def _take_nested(document: dict[str, Any]) -> Iterator[object]:
    """Take the tokens out of the payload and its custom data, an object or a JSON string."""
    for key, value in document.items():
        if key.lower() != "customdata":
            continue
        inner = _object(value) if isinstance(value, str) else value
        if isinstance(inner, dict) and (found := list(_take(inner))):
            document[key] = json.dumps(inner) if isinstance(value, str) else inner
            yield from found
    yield from _take(document)


def _take(told: dict[str, Any]) -> Iterator[object]:
    for key in [key for key in told if key.lower() in SECRETS]:
        yield told.pop(key)


def _object(text: str) -> dict[str, Any] | None:
    try:
        inner = read_json(text.encode(errors="replace"))
    except UnreadableBody:
        return None
    return inner if isinstance(inner, dict) else None


def _first(tokens: list[object]) -> str | None:
    return next(filter(None, map(plain_text, tokens)), "") if tokens else None
