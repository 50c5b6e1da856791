"""A PBX's webhook events, of all twelve types (specs/002, Configuring Global Webhooks)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from middleware.model.call import CallEvent, Direction, Ending, EventKind, Media
from middleware.receivers.fields import EventSchema, Identity, Loose, Moment, Span, aware, between, call_id, load

SENDER = "pbx"
_SECOND = timedelta(seconds=1)
_IN, _OUT = Direction.INBOUND, Direction.OUTBOUND
TYPES: dict[str, tuple[EventKind, Direction]] = {
    "user_inbound": (EventKind.RINGING, _IN),
    "user_inbound_answered": (EventKind.ANSWERED, _IN),
    "user_inbound_completed": (EventKind.CALL_ENDED, _IN),
    "user_outbound": (EventKind.RINGING, _OUT),
    "user_outbound_answered": (EventKind.ANSWERED, _OUT),
    "user_outbound_completed": (EventKind.CALL_ENDED, _OUT),
    "queue_call": (EventKind.CALL_ENDED, _IN),
    "ring_group_call": (EventKind.CALL_ENDED, _IN),
    "voicemail": (EventKind.VOICEMAIL, _IN),
    "recording_inbound": (EventKind.RECORDING, _IN),
    "recording_outbound": (EventKind.RECORDING, _OUT),
    "webhook_component_event": (EventKind.COMPONENT, _IN),
}
ENDINGS = {"answered": Ending.ANSWERED, "abandoned": Ending.ABANDONED, "timedout": Ending.TIMED_OUT}
FACTS = {
    "component_name": "Call flow",
    "status": "Status",
    "emails": "Sent to",
    "email_subject": "E-mail subject",
    "email_message": "E-mail message",
    "mode": "Kept in",
}


class PbxSchema(EventSchema):
    """The fields of all types; each type has some of them."""

    type = Identity(required=True, metadata={"description": f"One of {', '.join(TYPES)}, or a new one."})
    unique_call_id = Identity(required=True, metadata={"description": "Unique identifier of the call."})
    caller_id = Loose("The caller's number (CLI).")
    caller_name = Loose("CNAM of the caller.")
    user_name = Loose("Name of the user; of the caller in a webhook_component_event.")
    user_number = Loose("Number of the user; of the caller in a webhook_component_event.")
    dest_number = Loose("The number that was called.")
    call_start_at = Moment("ISO 8601.")
    connected_at = Moment("ISO 8601, when the call was answered.")
    recorded_at = Moment("ISO 8601.")
    call_duration = Span(_SECOND, "Seconds.")
    conversation_duration = Span(_SECOND, "Seconds.")
    queue_name = Loose()
    ring_group_name = Loose()
    status = Loose("answered, abandoned or timedout.")
    emails = Loose("Who gets the voicemail or recording, comma separated.")
    email_subject = Loose()
    email_message = Loose()
    call_recording_link = Loose("Not sent yet.")
    mode = Loose("storage, if the recording is kept in S3.")
    component_name = Loose("Name of the Webhook object in the call flow.")


_schema = PbxSchema()


def read_pbx(document: object) -> dict[str, Any]:
    """Return the fields; raises ``FieldErrors`` when the schema does not understand the document."""
    return load(_schema, document)


def key_of(loaded: dict[str, Any]) -> str:
    """Return the event's identity: several users of one call ring, and several components see it pass."""
    name = loaded["type"].lower()
    parts = [loaded["unique_call_id"], name]
    if name.startswith("user_"):
        parts.append(loaded["user_number"] or "")
    if name == "webhook_component_event":
        parts.append(loaded["component_name"] or "")
    return "\0".join(parts)


def parse_pbx(document: object) -> CallEvent:
    """Return what is told; raises ``FieldErrors`` when the schema does not understand the document."""
    loaded = read_pbx(document)
    kind, direction = TYPES.get(loaded["type"].lower(), (EventKind.UNKNOWN, None))
    ending = _ending(loaded, kind, direction)
    started_at, answered_at = aware(loaded["call_start_at"]), aware(loaded["connected_at"])
    return CallEvent(
        sender=SENDER,
        kind=kind,
        key=key_of(loaded),
        call_ids=(call_id(SENDER, loaded["unique_call_id"]),),
        direction=direction,
        to_number=loaded["dest_number"],
        started_at=started_at,
        answered_at=answered_at,
        duration=loaded["call_duration"],
        talk_time=loaded["conversation_duration"],
        wait_time=_wait(loaded, direction, ending),
        ending=ending,
        answer_group=loaded["queue_name"] or loaded["ring_group_name"],
        media=(Media(url=link),) if (link := loaded["call_recording_link"]) and link.startswith("http") else (),
        facts=_facts(loaded, ending),
        **_people(loaded, kind),
    )


def _wait(loaded: dict[str, Any], direction: Direction | None, ending: Ending | None) -> timedelta | None:
    """Return how long the caller waited: until he was answered, or until he gave up or was given up."""
    if direction is not _IN:
        return None
    if ending in (Ending.ABANDONED, Ending.TIMED_OUT):
        return loaded["call_duration"]  # type: ignore[no-any-return]
    return between(aware(loaded["call_start_at"]), aware(loaded["connected_at"]))


def _people(loaded: dict[str, Any], kind: EventKind) -> dict[str, Any]:
    if kind is EventKind.COMPONENT:  # its "user" is the caller
        return {"from_number": loaded["user_number"], "caller_name": loaded["user_name"]}
    return {
        "from_number": loaded["caller_id"],
        "other_numbers": (loaded["user_number"],) if loaded["user_number"] else (),
        "agent": loaded["user_name"],
        "user_id": loaded["user_number"],
        "caller_name": loaded["caller_name"],
    }


def _ending(loaded: dict[str, Any], kind: EventKind, direction: Direction | None) -> Ending | None:
    if kind is EventKind.VOICEMAIL:
        return Ending.VOICEMAIL
    if loaded["status"]:
        return ENDINGS.get(loaded["status"].lower().replace(" ", "").replace("_", ""))
    if loaded["connected_at"] or loaded["conversation_duration"]:
        return Ending.ANSWERED
    return Ending.MISSED if kind is EventKind.CALL_ENDED and direction else None


def _facts(loaded: dict[str, Any], ending: Ending | None) -> dict[str, str]:
    facts = {label: loaded[name] for name, label in FACTS.items() if loaded[name]}
    if ending:
        facts.pop("Status", None)  # understood
    if loaded["recorded_at"]:
        facts["Recorded at"] = aware(loaded["recorded_at"]).isoformat()  # type: ignore[union-attr]
    return facts
