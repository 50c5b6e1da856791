"""What an adapter can do and what its ``[[crm]]`` takes, for people: read from the class, and so never out of date."""

from __future__ import annotations

import inspect
from dataclasses import MISSING, Field, dataclass, fields
from typing import Any

from middleware.crm.base import CRMAdapter

_TYPES = {  # as they are written in TOML
    "str": "text",
    "int": "whole number",
    "float": "number",
    "bool": "true or false",
    "timedelta": 'span, e.g. "5s"',
    "Secret": "secret",
    "tuple[str, ...]": "list of texts",
    "dict[str, str]": "table of texts",
    "Mapping[str, str]": "table of texts",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A key of a ``[[crm]]``; ``default`` is what holds without it."""

    name: str
    type: str
    is_required: bool
    default: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """An adapter; ``words`` say what its settings mean, as its author wrote it, ``budget`` what the vendor allows."""

    name: str
    label: str
    can: frozenset[str]
    budget: str
    has_oauth2: bool
    words: str
    settings: tuple[Setting, ...]


def describe(kind: type[CRMAdapter[Any]]) -> Reference:
    """Return the adapter's reference."""
    _, _, words = (inspect.getdoc(kind.settings_type) or "").partition("\n\n")
    return Reference(
        name=kind.name,
        label=kind.label,
        can=kind.capabilities(),
        budget=str(kind.budget or ""),
        has_oauth2=kind.oauth2 is not CRMAdapter.oauth2,
        words=" ".join(words.replace("``", "").split()),
        settings=tuple(map(_setting, fields(kind.settings_type))),
    )


def _setting(field: Field[Any]) -> Setting:
    written = str(field.type).removesuffix(" | None")
    is_required = field.default is MISSING and field.default_factory is MISSING
    default = field.default_factory() if field.default_factory is not MISSING else field.default
    return Setting(
        name=field.name,
        type=_TYPES.get(written, written),
        is_required=is_required,
        default="" if is_required else _default(default),
    )


def _default(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, tuple | list | frozenset):
        return ", ".join(map(str, value))
    return str(value) if value or value == 0 else ""
