"""The marshmallow fields and the error that receivers share."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

LARGEST = 2**53  # beyond it JSON numbers are no longer exact
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
        loaded: dict[str, Any] = schema.load(document)
    except ValidationError as error:
        # the messages alone: the error itself holds the body
        raise FieldErrors(dict(error.messages_dict)) from None
    return loaded
