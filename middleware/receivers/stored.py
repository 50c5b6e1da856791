"""What of a CDR is read and kept: its document, its credential, and its body without it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from middleware.receivers.body import UnreadableBody, read_json
from middleware.receivers.cdr import SECRETS
from middleware.receivers.fields import plain_text
from middleware.receivers.form import FORM, MULTIPART, is_place, nest, read_pairs

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
    """Return a CDR without its token; as it came where there is none, but a multipart form as a plain one.

    A form with a token in its custom data becomes JSON.
    """
    return _receive_form(raw, content_type) if is_form(content_type) else _receive_json(raw, content_type)


def _receive_form(raw: bytes, content_type: str) -> Received:
    pairs = read_pairs(raw, content_type)
    kept = [(name, value) for name, value in pairs if not _is_secret(name)]
    document = nest(kept)
    in_data = _take(document)
    tokens = [value for name, value in pairs if _is_secret(name)] + in_data
    if in_data:
        raw, content_type = json.dumps(document).encode(), JSON
    elif tokens or not content_type.lower().startswith(FORM):  # a multipart form is understood by its header alone
        raw, content_type = urlencode(kept).encode(), FORM
    return Received(document=document, raw=raw, content_type=content_type, token=_first(tokens))


def _receive_json(raw: bytes, content_type: str) -> Received:
    document = read_json(raw)
    tokens = _take(document) if isinstance(document, dict) else []
    if tokens:
        raw = json.dumps(document).encode()
    return Received(document=document, raw=raw, content_type=content_type, token=_first(tokens))


def _take(document: dict[str, Any]) -> list[object]:
    """Take the tokens out of the payload and its custom data."""
    tokens: list[object] = []
    for key in [key for key in document if key.lower() == "customdata"]:
        document[key] = _without_tokens(document[key], tokens)
    tokens += [document.pop(key) for key in list(document) if _is_secret(key)]
    return tokens


def _without_tokens(custom: object, tokens: list[object]) -> object:
    """Return what is kept of custom data; what is not is added to ``tokens``.

    It is an object, a list of ``{"key": …, "value": …}`` or of objects, a form's list, or one of them as a JSON string.
    """
    if isinstance(custom, str):
        before = len(tokens)
        kept = _without_tokens(_inner(custom), tokens)
        return json.dumps(kept) if len(tokens) > before else custom
    if isinstance(custom, list):
        return [_without_tokens(item, tokens) for item in custom]
    if not isinstance(custom, dict):
        return custom
    if set(map(str.lower, custom)) == {"key", "value"}:
        return _pair_without_token(custom, tokens)
    tokens += [value for key, value in custom.items() if _is_secret(key)]
    kept_of = {key: value for key, value in custom.items() if not _is_secret(key)}
    return {key: _without_tokens(value, tokens) if is_place(key) else value for key, value in kept_of.items()}


def _pair_without_token(pair: dict[str, Any], tokens: list[object]) -> dict[str, Any]:
    """Return the pair, or nothing of it; a form's ``customData[][key]`` is a list when it comes more than once."""
    key, value = (pair[name] for name in sorted(pair, key=str.lower))
    if not isinstance(key, list) or not isinstance(value, list):
        key, value = [key], [value]
    secret = [place for place, name in enumerate(key) if _is_secret(name)]
    if not secret:
        return pair
    tokens += [value[place] for place in secret if place < len(value)]
    pairs = [(name, told) for name, told in zip(key, value, strict=False) if not _is_secret(name)]
    return {str(name): told for name, told in pairs}


def _is_secret(name: object) -> bool:
    return isinstance(name, str) and name.strip().lower() in SECRETS


def _inner(text: str) -> object:
    try:
        return read_json(text.encode(errors="replace"))
    except UnreadableBody:
        return None


def _first(tokens: list[object]) -> str | None:
    return next(filter(None, map(plain_text, tokens)), "") if tokens else None
