"""Reads an answer's JSON without trust: every key may be missing, null, or of another type than ever before.

What is not there is ``None`` or empty; what is there and of a wrong type is a ``CRMResponseError`` that names the place
and never the value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from middleware.errors import CRMResponseError


def value(json: object, path: str) -> Any:
    """Return what is at ``path`` (``"properties.phone"``), ``None`` where there is nothing."""
    for name in path.split("."):
        if json is None:
            return None
        if not isinstance(json, dict):
            raise CRMResponseError(f"{path}: what should be an object is none")
        json = json.get(name)
    return json


def scalar(json: object, path: str) -> str | int | float | bool | None:
    """Return the text, number or truth at ``path``."""
    return _scalar(value(json, path), path)


def text(json: object, path: str) -> str:
    """Return the text at ``path``, a number as text, an empty one where there is nothing or ``false``."""
    return _text(value(json, path), path)


def required(json: object, path: str) -> str:
    """Return the text or number at ``path`` as text; one that is missing or empty is an error."""
    found = text(json, path)
    if not found:
        raise CRMResponseError(f"{path}: is missing or empty")
    return found


def number(json: object, path: str) -> float:
    """Return the number at ``path``, also one in quotes; 0 where there is nothing."""
    try:
        return float(text(json, path) or 0)
    except ValueError:
        raise CRMResponseError(f"{path}: what should be a number is none") from None


def records(json: object, path: str = "", *, is_optional: bool = False) -> list[dict[str, Any]]:
    """Return the list of objects at ``path``, or the answer itself; only an optional list may be missing."""
    found = value(json, path) if path else json
    if found is None and is_optional:
        return []
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise CRMResponseError(f"{path or 'the answer'}: what should be a list of objects is none")
    return found


def texts(json: object, path: str) -> list[str]:
    """Return the list of texts or numbers at ``path`` as texts; empty where there is nothing."""
    found = value(json, path)
    if found is None:
        return []
    if not isinstance(found, list):
        raise CRMResponseError(f"{path}: what should be a list is none")
    return [text for one in found if (text := _text(one, path))]


def columns(table: str) -> dict[str, str]:
    """Return what ``row`` wants of words: ``columns("header=subject body=note.text")``; one without ``=`` is both."""
    pairs = (word.partition("=") for word in table.split())
    return {column: path or column for column, _, path in pairs}


def row(json: object, columns: Mapping[str, str]) -> dict[str, Any]:
    """Return a row for ``mapping.Reader``: to each column what is at its path.

    ``phones[].value``, or ``phones[]`` for a list of texts, fills ``number``, ``number_2`` … with what the list has,
    and ``number_comment``, ``number_2_comment`` … alike.
    """
    read: dict[str, Any] = {}
    for column, path in columns.items():
        read |= _numbered(json, column, path) if "[]" in path else {column: scalar(json, path)}
    return read


def _numbered(json: object, column: str, path: str) -> dict[str, Any]:
    place, _, inner = path.partition("[]")
    found = [text(one, inner[1:]) for one in records(json, place, is_optional=True)] if inner else texts(json, place)
    name, comment, _ = column.partition("_comment")
    return {f"{name}{f'_{nth}' if nth > 1 else ''}{comment}": one for nth, one in enumerate(found, start=1)}


def _scalar(found: object, path: str) -> str | int | float | bool | None:
    if found is None or isinstance(found, str | int | float | bool):
        return found
    raise CRMResponseError(f"{path}: what should be a text or number is none")


def _text(found: object, path: str) -> str:
    known = _scalar(found, path)
    if known is True:
        raise CRMResponseError(f"{path}: what should be a text or number is none")
    return "" if known is None or known is False else str(known)
