"""A body for somebody who may not read it: what kind of call it was, and nothing of whom, or of what was said.

What is shown is named here, and not what is hidden: senders add fields.
"""

from __future__ import annotations

import json
import re

from middleware.receivers.body import UnreadableBody
from middleware.receivers.stored import read_document

# what a field of any sender may be called that says when, how long and what kind
_SHOWN = frozenset(
    "type calltype direction status duration starttime endtime waittime talktime call_start_at connected_at "
    "recorded_at call_duration conversation_duration mode dtype sver tz start end answer dur ring talk lost ans cause "
    "dir hasrec".split()
)
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.,]{4,18}(?:Z|[+-]\d\d:?\d\d)?")
_WORDS = re.compile(r"[A-Za-z][A-Za-z_/ -]{0,39}")
_LARGEST = 10**15  # a moment in milliseconds has 13 digits


def mask_body(raw: bytes, content_type: str, *, indent: int | None = 2) -> str:
    """Return the body as JSON with its fields, and dots in the place of what may be anybody's.

    Without an ``indent`` it is one line, which takes a tenth of the time.
    """
    try:
        document = read_document(raw, content_type)
    except UnreadableBody:
        return f"({len(raw)} bytes that cannot be read)"
    return json.dumps(_mask(document, is_shown=False), indent=indent, ensure_ascii=False)


def pretty_body(raw: bytes, content_type: str, *, indent: int | None = 2) -> str:
    """Return the body so that a person can read it: JSON with its lines indented, or as one, else as it came."""
    text = raw.decode(errors="replace")
    if "form" in content_type:
        return text
    try:
        return json.dumps(json.loads(text), indent=indent, ensure_ascii=False).encode(errors="replace").decode()
    except (ValueError, RecursionError):
        return text


def _mask(value: object, *, is_shown: bool) -> object:
    match value:
        case dict():
            return {_key(key): _mask(inner, is_shown=str(key).lower() in _SHOWN) for key, inner in value.items()}
        case list():
            return [_mask(inner, is_shown=False) for inner in value]
        case None | bool():
            return value
        case int() | float() if is_shown and abs(value) < _LARGEST:
            return value
        case str() if is_shown and (_MOMENT.fullmatch(value) or _WORDS.fullmatch(value)):
            return value
    return "…" if value != "" else ""


def _key(key: str) -> str:
    """Return a field's name; one that holds digits or a sign is somebody's data in the wrong place."""
    return key if re.fullmatch(r"[A-Za-z_][A-Za-z_]{0,40}\d{0,2}", key) else "…"
