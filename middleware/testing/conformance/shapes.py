"""Whether a value is what its dataclass says; for people, in words."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import datetime
from functools import cache
from typing import Any

# what a missing value becomes when it is turned into text
RESIDUE = ("undefined", "[object Object]", "<built-in", "NoneType")
RESIDUES = frozenset({"None", "null", "nil", "NaN", "nan", "False", "True", "{}", "[]"})


@cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def misfits(value: Any, where: str = "") -> list[str]:
    """Return what is not as declared in a dataclass of the model, naming the field and never its value."""
    return list(_misfits(value, where))


def _misfits(value: Any, where: str) -> Iterator[str]:
    if not is_dataclass(value) or isinstance(value, type):
        return
    for field in fields(value):
        inner, place = getattr(value, field.name), f"{where or type(value).__name__}.{field.name}"
        if not _fits(inner, _hints(type(value))[field.name]):
            yield f"{place} is of type {type(inner).__name__}"
        elif isinstance(inner, str) and (inner in RESIDUES or any(word in inner for word in RESIDUE)):
            yield f"{place} is the text of a missing value, e.g. None or undefined"
        elif isinstance(inner, datetime) and inner.tzinfo is None:
            yield f"{place} is a moment without a time zone"
        for number, each in enumerate(inner if isinstance(inner, tuple) else (inner,)):
            yield from _misfits(each, f"{place}[{number}]" if isinstance(inner, tuple) else place)


def _fits(value: Any, hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in typing.get_args(hint))
    if origin is typing.Literal:
        return value in typing.get_args(hint)
    if origin is tuple:
        return isinstance(value, tuple) and all(_fits(each, typing.get_args(hint)[0]) for each in value)
    if origin is not None:
        return isinstance(value, Mapping if origin in (dict, Mapping) else origin)
    if hint in (int, float) and isinstance(value, bool):
        return False
    return hint is Any or isinstance(value, hint)
