"""The marshmallow fields and the error that receivers share."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

LARGEST = 2**53  # beyond it JSON numbers are no longer exact
_LAST = 253_402_300_799_000 - 86_400_000  # milliseconds; any zone has it before the year 10000
_EPOCH = datetime.fromtimestamp(0, UTC)
_LONGEST = timedelta(days=3650)
_WORLDWIDE = 16  # characters of an id that no other sender uses for something else
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # text that databases and encoders refuse


class FieldErrors(ValueError):  # noqa: N818 - it holds several
    """The schema does not understand an event; ``errors`` says per field why."""

    def __init__(self, errors: dict[str, Any]) -> None:
        super().__init__("the event is not understood")
        self.errors = errors


class EventSchema(Schema):
    """What senders' schemas have in common: adding is not breaking (specs/001), so unknown fields are ignored."""

    class Meta:
        """Ignore what is unknown; the stored body keeps it."""

        unknown = EXCLUDE


class Text(fields.String):
    """A text that can be stored everywhere; numbers and booleans are no texts."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        return _UNSTORABLE.sub("\ufffd", super()._deserialize(value, attr, data, **kwargs))


class Whole(fields.Field[int]):
    """A whole number, however JSON writes it: ``8762790`` and ``8762790.0`` are the same."""

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> int:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if not is_number or not abs(value) <= LARGEST or value != int(value):  # type: ignore[arg-type,call-overload]
            raise ValidationError("Not a whole number in range.")
        return int(value)  # type: ignore[call-overload,no-any-return]


def load(schema: Schema, document: object) -> dict[str, Any]:
    """Return the document as ``schema`` has it; raises :class:`FieldErrors`."""
    if not isinstance(document, dict):
        raise FieldErrors({"body": ["Must be an object."]})
    try:
        return _load_quickly(schema, document)
    except ValidationError:  # the schema itself tells all that is wrong
        pass
    try:
        loaded: dict[str, Any] = schema.load(document)
    except ValidationError as error:
        # the messages alone: the error itself holds the body
        raise FieldErrors(dict(error.messages_dict)) from None
    return loaded


def _load_quickly(schema: Schema, document: dict[str, Any]) -> dict[str, Any]:
    """Return what ``schema.load`` does; raises ``ValidationError`` for the first thing that is wrong.

    Hand-written: marshmallow takes longer to find and call a field than a field does.
    """
    known, loaded = schema.load_fields, _defaults(schema).copy()
    for name, value in document.items():
        field = known.get(name)
        if isinstance(field, fields.Nested) and isinstance(value, dict):
            loaded[name] = _load_quickly(field.schema, value)
        elif field and (value is None or field.validators):
            loaded[name] = field.deserialize(value, name, document)
        elif field:
            loaded[name] = field._deserialize(value, name, document)
    if not _required(schema) <= loaded.keys():
        raise ValidationError("Missing data for required field.")
    return loaded


@cache
def _defaults(schema: Schema) -> dict[str, Any]:
    return {name: field.load_default for name, field in schema.load_fields.items() if not field.required}


@cache
def _required(schema: Schema) -> frozenset[str]:
    return frozenset(name for name, field in schema.load_fields.items() if field.required)


class Identity(fields.String):
    """What an event is known by: a text that is not empty, or a whole number."""

    default_error_messages = {"invalid": "Not a text or a whole number."}  # noqa: RUF012 - as marshmallow declares it

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> str:
        text = plain_text(value)
        if text is None or isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
            raise self.make_error("invalid")
        return text.removesuffix(".0") if isinstance(value, float) else text


class Loose(fields.String):
    """A text that may be anything: numbers are taken as texts, and what is no text at all is as good as missing."""

    def __init__(self, description: str = "", **kwargs: Any) -> None:
        about = {"metadata": {"description": description}} if description else {}
        super().__init__(**{"allow_none": True, "load_default": None, **about, **kwargs})

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> str | None:  # type: ignore[override]
        return plain_text(value)


class Anything(fields.Raw):
    """A value of any shape."""

    def __init__(self, description: str = "") -> None:
        super().__init__(allow_none=True, load_default=None, metadata={"description": description})


class Flag(fields.Boolean):
    """1 or 0, however it is written; what is neither is as good as missing."""

    def __init__(self, description: str = "") -> None:
        super().__init__(allow_none=True, load_default=None, metadata={"description": description})

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> bool | None:  # type: ignore[override]
        return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}.get(
            (plain_text(value) or "").lower()
        )


class Span(fields.Float):
    """A span, in ``unit`` on the wire; form data has it as a text.

    Where it ``may_be_odd``, one that is no span is as good as missing.
    """

    def __init__(self, unit: timedelta, description: str = "", *, may_be_odd: bool = False) -> None:
        super().__init__(allow_none=True, load_default=None, metadata={"description": description})
        self._unit = unit
        self._may_be_odd = may_be_odd

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> timedelta | None:  # type: ignore[override]
        if value == "":
            return None
        number = _number(value)
        if number is None or not 0 <= number <= _LONGEST / self._unit:
            if self._may_be_odd:
                return None
            raise ValidationError("Not a span in range.")
        return number * self._unit


class Millis(fields.Integer):
    """A moment in Unix milliseconds."""

    def __init__(self, description: str = "") -> None:
        super().__init__(allow_none=True, load_default=None, metadata={"description": description})

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> datetime | None:  # type: ignore[override]
        if value == "":
            return None
        number = _number(value)
        if number is None or not 0 <= number <= _LAST:
            raise ValidationError("Not a moment in Unix milliseconds.")
        return _EPOCH + timedelta(milliseconds=number)


class Moment(fields.String):
    """A moment as ISO 8601 has it, naive when it came without an offset."""

    def __init__(self, description: str = "") -> None:
        super().__init__(allow_none=True, load_default=None, metadata={"description": description})

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: Any) -> datetime | None:  # type: ignore[override]
        text = value.strip() if isinstance(value, str) else value
        if text == "":
            return None
        try:
            moment = datetime.fromisoformat(text)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            raise ValidationError("Not a moment of ISO 8601.") from None
        if not 1970 <= moment.year < 9999:  # what lies outside breaks when it is moved to another zone
            raise ValidationError("Not a moment of ISO 8601 after 1970.")
        return moment


def plain_text(value: object) -> str | None:
    """Return a text that can be stored of a text or number; ``None`` for what is neither, or empty."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\ufffd", value.strip()) or None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
    return None


def any_text(value: object) -> str | None:
    """Return what a value of any shape says, on one line for people; ``None`` when it says nothing."""
    if isinstance(value, dict):
        told = {plain_text(key): any_text(inner) for key, inner in value.items()}
        return ", ".join(f"{key}: {inner}" for key, inner in told.items() if inner) or None
    if isinstance(value, list):
        return "; ".join(filter(None, map(any_text, value))) or None
    return plain_text(value)


def call_id(sender: str, identity: str) -> str:
    """Return how a call's id is compared with other senders': short ones are no ids of the whole world."""
    return identity if len(identity) >= _WORLDWIDE else f"{sender}:{identity}"


def aware(moment: datetime | None, zone: tzinfo = UTC) -> datetime | None:
    """Return the moment with an offset; a naive one is in ``zone``."""
    return moment.replace(tzinfo=zone) if moment and moment.tzinfo is None else moment


def between(begin: datetime | None, end: datetime | None) -> timedelta | None:
    """Return the span between two moments, if both are known and in order."""
    return end - begin if begin and end and end >= begin else None


def _number(value: object) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
