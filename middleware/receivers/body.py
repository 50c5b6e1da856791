"""Reads JSON as senders really send it: nothing readable is refused, nothing breaks the reader."""

from __future__ import annotations

import json

MAX_DEPTH = 64  # levels; no sender's text has more than five
MAX_DIGITS = 20  # of an integer; longer ones are read as floats, which no field accepts


class UnreadableBody(ValueError):  # noqa: N818 - says what the body is, as HTTP's 400 does
    """The body is no JSON at all; the message may be shown."""


def read_json(raw: bytes) -> object:
    """Return what ``raw`` says; raises :class:`UnreadableBody` for no JSON and for JSON nested too deeply.

    NaN, huge integers, lone surrogates and NUL are readable: the schema judges them.
    """
    try:
        document: object = json.loads(raw, parse_int=_read_int)
    except RecursionError:
        raise UnreadableBody("The body is nested too deeply.") from None
    except ValueError:  # also undecodable bytes
        raise UnreadableBody("The body is no JSON.") from None
    if raw.count(b"{") + raw.count(b"[") >= MAX_DEPTH and _is_deep(document):  # most have fewer brackets than that
        raise UnreadableBody("The body is nested too deeply.")
    return document


def _read_int(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _is_deep(document: object) -> bool:
    level = [document]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in _children(outer)]
        if not level:
            return False
    return True


def _children(value: object) -> list[object]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []
