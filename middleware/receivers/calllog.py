"""M8Com's automatic call logging (specs/001, Automatic Call Logging)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from marshmallow import validate

from middleware.model.call import CallEvent, Direction, EventKind
from middleware.receivers.fields import EventSchema, Text, Whole, load
from middleware.receivers.sections import parse_sections

SENDER = "calllog"
# seen from the contact: "Inbound" means that M8Com called him
_DIRECTIONS = {"inbound": Direction.OUTBOUND, "outbound": Direction.INBOUND}
_MOMENT = validate.Range(0, 253_402_300_799_999)  # milliseconds until the year 9999, the last that Python knows


class CallLogSchema(EventSchema):
    """The request body; ``userId`` comes from v2 on."""

    fromNumber = Text(required=True, metadata={"description": "The caller's number."})  # noqa: N815
    toNumber = Text(required=True, metadata={"description": "The number that was dialled."})  # noqa: N815
    duration = Whole(required=True, validate=_MOMENT, metadata={"description": "Milliseconds."})
    startTime = Whole(required=True, validate=_MOMENT, metadata={"description": "Unix milliseconds."})  # noqa: N815
    callType = Text(  # noqa: N815
        required=True,
        validate=lambda value: validate.OneOf(["Inbound", "Outbound"])(value.strip().capitalize()),
        metadata={"description": "Inbound or Outbound, seen from the contact."},
    )
    body = Text(load_default="", metadata={"description": "Free text with sections, the summary at its end."})
    userId = Text(allow_none=True, load_default=None)  # noqa: N815


_schema = CallLogSchema()


def read_calllog(document: object) -> dict[str, Any]:
    """Return the fields; raises ``FieldErrors`` when the schema does not understand the document."""
    return load(_schema, document)


def key_of(loaded: dict[str, Any]) -> str:
    """Return what identifies the call: nothing else of it is the same each time it is told."""
    parts = (loaded["fromNumber"], loaded["toNumber"], loaded["startTime"], _call_type(loaded), loaded["duration"])
    return "\0".join(map(str, parts))


def parse_calllog(document: object) -> CallEvent:
    """Return the call; raises ``FieldErrors`` when the schema does not understand the document."""
    loaded = read_calllog(document)
    sections = parse_sections(loaded["body"])
    return CallEvent(
        sender=SENDER,
        kind=EventKind.CALL_ENDED,
        key=key_of(loaded),
        direction=_DIRECTIONS[_call_type(loaded)],
        from_number=loaded["fromNumber"],
        to_number=loaded["toNumber"],
        started_at=datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=loaded["startTime"]),
        duration=timedelta(milliseconds=loaded["duration"]),
        agent=sections.agent,
        username=sections.user,
        answer_group=sections.answer_group,
        user_id=loaded["userId"] or None,
        referred_to=sections.referred_to,
        referred_by=sections.referred_by,
        call_type=sections.call_type,
        summary=sections.summary,
    )


def _call_type(loaded: dict[str, Any]) -> str:
    return loaded["callType"].strip().lower()  # type: ignore[no-any-return]
