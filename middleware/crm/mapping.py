"""Rows -> contacts and activities, by the names of the fields.

A row is a mapping of column names to values.  A value nobody can read is a ``CRMResponseError`` that names
the column and never the value.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, dataclass, fields
from datetime import UTC, date, datetime, timedelta, tzinfo
from decimal import Decimal
from functools import cache, lru_cache
from typing import Any, TypeVar

from middleware.errors import CRMResponseError
from middleware.model.activity import Activity
from middleware.model.contact import Contact, ContactNumber, Email, Field

Record = Mapping[str, Any]
ActivityT = TypeVar("ActivityT", bound=Activity)

REQUIRED_OF_CONTACT = ("id", "number")
PRIORITIES = ("HIGH", "MEDIUM", "LOW")
_REPEATED = re.compile(r"(?:number|email)(?:_\d+)?(?:_comment)?|field_\w+")
MOMENTS = {"timestamp", "due_date", "start_time", "created_date", "close_date", "start_date", "end_date", "updated_at"}
_FLAGS = {"done", "all_day", "markdown"}
_TRUE, _FALSE = ("1", "true", "t", "yes", "y"), ("0", "false", "f", "no", "n", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """Reads the rows of one source; ``where`` begins every message, ``zone`` is that of times without one."""

    where: str
    zone: tzinfo = UTC

    def contacts(self, rows: Iterable[Record]) -> list[Contact]:
        """Return the contacts; rows with the same ``id`` are one with several numbers, e-mails and fields."""
        grouped: dict[str, list[Record]] = {}
        for row in rows:
            if _is_empty("id", row.get("id")):
                raise CRMResponseError(f"{self.where}: the column id is missing or empty")
            grouped.setdefault(_text(row["id"]), []).append(row)
        return [self._contact(contact_id, several) for contact_id, several in grouped.items()]

    def activity(self, kind: type[ActivityT], row: Record) -> ActivityT:
        """Return the row as an activity of ``kind``."""
        known = {field.name for field in fields(kind)}
        filled = {
            name: self._value(name, value)
            for name, value in row.items()
            if name in known and not _is_empty(name, value)
        }
        for name in required_columns(kind):
            if filled.get(name) is None:
                raise CRMResponseError(f"{self.where}: the column {name} is missing or empty")
        return kind(**filled)

    def _contact(self, contact_id: str, rows: list[Record]) -> Contact:
        first = rows[0]
        single = _single_columns() & first.keys()
        known = {name: self._value(name, first[name]) for name in single if not _is_empty(name, first[name])}
        return Contact(
            **{"display_name": "", **known},
            id=contact_id,
            numbers=_repeated(rows, "number", lambda text, note: ContactNumber(number=text, comment=note)),
            emails=_repeated(rows, "email", lambda text, note: Email(address=text, comment=note)),
            fields=_facts(rows),
        )

    def _value(self, column: str, value: Any) -> Any:
        try:
            return self._read(column, value)
        except (ValueError, ArithmeticError, TypeError, OSError):
            raise CRMResponseError(f"{self.where}: the column {column} cannot be read") from None

    def _read(self, column: str, value: Any) -> Any:
        if column in MOMENTS:
            return parse_moment(value, self.zone)
        if column == "duration":
            return value if isinstance(value, timedelta) else timedelta(seconds=float(value))
        if column == "amount":
            amount = Decimal(_text(value))
            return amount if amount.is_finite() else None
        text = _text(value)
        if column in _FLAGS:
            if text.lower() not in _TRUE + _FALSE:
                raise ValueError
            return text.lower() in _TRUE
        if column == "priority":  # M8Com shows three; any other of the CRM's own is left out
            return text.upper() if text.upper() in PRIORITIES else None
        return text


def required_columns(kind: type[Activity]) -> tuple[str, ...]:
    """Return the columns without which a row is no ``kind``."""
    return tuple(field.name for field in fields(kind) if field.default is MISSING)


def is_column(kind: type[Activity] | type[Contact], name: str) -> bool:
    """Whether a column called ``name`` fills anything of a ``kind``."""
    if kind is Contact:
        return name in _single_columns() or name == "id" or bool(_REPEATED.fullmatch(name))
    return name in {field.name for field in fields(kind)}


def parse_moment(value: object, zone: tzinfo) -> datetime:
    """Read a moment: a datetime, a date, ISO 8601, or Unix seconds or milliseconds; raises ``ValueError``."""
    if isinstance(value, str) and value.isdigit() and len(value) > 8:  # eight digits are an ISO date
        value = int(value)
    if isinstance(value, int | float | Decimal):
        number = float(value)
        return datetime.fromtimestamp(number / 1000 if abs(number) > 1e11 else number, UTC)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=zone)
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(_text(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=zone)


@cache
def _single_columns() -> set[str]:
    return {field.name for field in fields(Contact)} - {"id", "numbers", "emails", "fields"}


def _is_empty(column: str, value: object) -> bool:
    """Whether there is nothing; some CRMs (Odoo) write ``false`` for it."""
    return value is None or value == "" or (isinstance(value, bool) and column not in _FLAGS)


def _text(value: object) -> str:
    return bytes(value).decode(errors="replace") if isinstance(value, bytes | bytearray | memoryview) else str(value)


T = TypeVar("T")


@lru_cache(maxsize=256)  # the rows of a query have the same columns
def _numbered(column: str, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if re.fullmatch(rf"{column}(?:_\d+)?", name)]


def _repeated(rows: list[Record], column: str, make: Callable[[str, str | None], T]) -> tuple[T, ...]:
    """Return what the columns ``number``, ``number_2`` … hold, each with its ``…_comment``, each once."""
    names = _numbered(column, tuple(rows[0]))
    found = [
        make(_text(row[name]), _text(row[comment]) if row.get(comment := f"{name}_comment") else None)
        for row in rows
        for name in names
        if not _is_empty(name, row[name])
    ]
    return tuple(dict.fromkeys(found))


def _facts(rows: list[Record]) -> tuple[Field, ...]:
    """Return what the columns ``field_…`` hold; ``field_account_manager`` is titled ``Account manager``."""
    found = [
        Field(title=name.removeprefix("field_").replace("_", " ").capitalize(), comment=_text(value))
        for row in rows
        for name, value in row.items()
        if name.startswith("field_") and not _is_empty(name, value)
    ]
    return tuple(dict.fromkeys(found))
