"""M8Com's call recordings, V1 and V2 (specs/000; V2: specs/README, Facts newer than these texts)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from middleware.model.call import CallEvent, Direction, Ending, EventKind, Media
from middleware.receivers.fields import Anything, EventSchema, Identity, Loose, Millis, Span, between, call_id, load
from middleware.receivers.fields import plain_text as text_of

SENDER = "recording"
LINK_LIFE = timedelta(minutes=30)  # of a file's URL, from when it is sent
_MILLISECOND = timedelta(milliseconds=1)


class RecordingSchema(EventSchema):
    """The request body; ``summary`` and ``userId`` come from V2 on."""

    id = Identity(required=True, metadata={"description": "Unique identifier of the call."})
    fileUrls = Anything("URLs of the recording; they die after 30 minutes.")  # noqa: N815
    callerNumber = Loose("The caller's number, or an identifier if VoIP.")  # noqa: N815
    calleeNumber = Loose("The number that was called, or an identifier if VoIP.")  # noqa: N815
    startTime = Millis("Unix milliseconds.")  # noqa: N815
    endTime = Millis("Unix milliseconds.")  # noqa: N815
    # set aside, the recording would be gone before anybody looked: odd spans are no reason
    waitTime = Span(_MILLISECOND, "Milliseconds in the queue.", may_be_odd=True)  # noqa: N815
    talkTime = Span(_MILLISECOND, "Milliseconds.", may_be_odd=True)  # noqa: N815
    agentId = Loose()  # noqa: N815
    agentName = Loose()  # noqa: N815
    answerGroupName = Loose()  # noqa: N815
    answerGroupId = Loose()  # noqa: N815
    referredTo = Loose("Where the caller was transferred to.")  # noqa: N815
    referredBy = Loose("Who transferred the caller.")  # noqa: N815
    direction = Loose("Inbound or outbound, seen from the recorder.")
    recorderId = Loose("E-mail address or number of the user who records.")  # noqa: N815
    summary = Loose("What was said (V2).")
    userId = Loose("The user's identifier (V2).")  # noqa: N815


_schema = RecordingSchema()


def read_recording(document: object) -> dict[str, Any]:
    """Return the fields; raises ``FieldErrors`` when the schema does not understand the document."""
    return load(_schema, document)


def key_of(loaded: dict[str, Any]) -> str:
    """Return the call's id."""
    return loaded["id"]  # type: ignore[no-any-return]


def parse_recording(document: object) -> CallEvent:
    """Return what is told; raises ``FieldErrors`` when the schema does not understand the document."""
    loaded = read_recording(document)
    recorder = loaded["recorderId"]
    is_mail = "@" in (recorder or "")
    return CallEvent(
        sender=SENDER,
        kind=EventKind.RECORDING,
        key=key_of(loaded),
        call_ids=(call_id(SENDER, loaded["id"]),),
        direction=_direction(loaded["direction"]),
        from_number=loaded["callerNumber"],
        to_number=loaded["calleeNumber"],
        other_numbers=(recorder,) if recorder and not is_mail else (),
        started_at=loaded["startTime"],
        duration=_duration(loaded),
        talk_time=loaded["talkTime"],
        wait_time=loaded["waitTime"],
        ending=Ending.ANSWERED if loaded["talkTime"] else None,
        agent=loaded["agentName"],
        username=recorder if is_mail else None,
        answer_group=loaded["answerGroupName"],
        user_id=loaded["userId"] or loaded["agentId"],
        referred_to=loaded["referredTo"],
        referred_by=loaded["referredBy"],
        summary=loaded["summary"],
        media=_media(loaded["fileUrls"]),
    )


def _direction(word: str | None) -> Direction | None:
    return {"inbound": Direction.INBOUND, "outbound": Direction.OUTBOUND}.get((word or "").lower())


def _duration(loaded: dict[str, Any]) -> timedelta | None:
    lasted = between(loaded["startTime"], loaded["endTime"])
    if lasted is None and loaded["talkTime"] is not None:
        return (loaded["waitTime"] or timedelta()) + loaded["talkTime"]  # type: ignore[no-any-return]
    return lasted


def _media(urls: object) -> tuple[Media, ...]:
    """Return the files in their order; when their links die is told by when they came, and not here."""
    listed = urls if isinstance(urls, list) else [urls]
    found = (text_of(url) for url in listed if isinstance(url, str))
    return tuple(Media(url=url) for url in dict.fromkeys(found) if url)
