"""Reads form data and query strings as nested objects: ``cdr[id]=1`` and ``cdr.id=1`` are the same.

Hand-written: werkzeug and urllib split the pairs, and no library that is kept up nests them in both spellings.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import parse_qsl

from werkzeug.exceptions import HTTPException
from werkzeug.formparser import FormDataParser
from werkzeug.http import parse_options_header

from middleware.receivers.body import UnreadableBody

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
MAX_PAIRS = 1000  # a CDR has about a hundred
MAX_LEVELS = 8
# a number, or the offset of a moment, whose sender did not write %2B
_FORGOTTEN_PLUS = re.compile(r"^ (?=[1-9][\d ().-]{5,20}$)|(?<=T\d\d:\d\d:\d\d) (?=\d\d:?\d\d$)")
Pairs = list[tuple[str, str]]


def read_pairs(raw: bytes, content_type: str) -> Pairs:
    """Return the names and values in their order; raises :class:`UnreadableBody`."""
    mimetype, options = parse_options_header(content_type)
    if mimetype == MULTIPART:
        return _read_parts(raw, options)
    try:
        text = raw.decode("utf-8", errors="replace")
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_PAIRS)
    except ValueError:
        raise UnreadableBody("The form has too many fields.") from None
    return [(name, _FORGOTTEN_PLUS.sub("+", value)) for name, value in pairs]


def _read_parts(raw: bytes, options: dict[str, str]) -> Pairs:
    parser = FormDataParser(max_form_memory_size=len(raw), max_form_parts=MAX_PAIRS, silent=False)
    try:
        _, form, _ = parser.parse(io.BytesIO(raw), MULTIPART, len(raw), options)
    except (ValueError, HTTPException):
        raise UnreadableBody("The body is no form.") from None
    return [(name or "", value) for name, value in form.items(multi=True)]  # a part may come without a name


def path_of(name: str) -> list[str]:
    """Return the steps of a name: ``a[b][0]`` and ``a.b.0`` are ``a``, ``b``, ``0``; ``a[]`` ends in an empty one."""
    first, bracket, rest = name.partition("[")
    steps = [first, *rest.removesuffix("]").split("][")] if bracket else name.split(".")
    return steps if len(steps) <= MAX_LEVELS else [name]


def nest(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return one object of all pairs; what is repeated becomes a list, and so do steps that are numbers, later."""
    document: dict[str, Any] = {}
    for name, value in pairs:
        *steps, last = path_of(name)
        place = document
        for step in steps:
            inner = place.setdefault(step, {})
            if not isinstance(inner, dict):
                inner = place[step] = {"": inner}  # a value and fields of the same name
            place = inner
        last = last or str(len(place))
        known = place.get(last)
        place[last] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    return document


def is_place(step: str) -> bool:
    """Whether a step of a name is one of a list: a number, or nothing."""
    return not step or step.isdigit()


def items_of(value: object) -> list[Any]:
    """Return the members of a list, however it came; nothing is an empty list."""
    if isinstance(value, dict) and value and all(map(is_place, value)):
        return list(value.values())
    if value is None or value == "":
        return []
    return value if isinstance(value, list) else [value]
