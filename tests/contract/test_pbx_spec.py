"""The PBX's webhook events as specs/002 describes them, type by type."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from middleware.demo.samples import PBX_FIELDS
from middleware.model.call import Direction, Ending, EventKind
from middleware.receivers.fields import FieldErrors
from middleware.receivers.pbx import TYPES, PbxSchema, parse_pbx

# specs/002: the fields of each type, then what it is to us
_IN = "type unique_call_id caller_id caller_name user_name user_number dest_number call_start_at "
_OUT = "type unique_call_id caller_id user_name user_number dest_number call_start_at "
_BOTH = "queue_name ring_group_name"
_LENGTHS = "connected_at call_duration conversation_duration "
_MAIL = "recorded_at emails email_subject email_message call_recording_link"
TABLES = {
    "user_inbound": (_IN + _BOTH, EventKind.RINGING, Direction.INBOUND),
    "user_inbound_answered": (_IN + "connected_at " + _BOTH, EventKind.ANSWERED, Direction.INBOUND),
    "user_inbound_completed": (_IN + _LENGTHS + _BOTH, EventKind.CALL_ENDED, Direction.INBOUND),
    "user_outbound": (_OUT, EventKind.RINGING, Direction.OUTBOUND),
    "user_outbound_answered": (_OUT + "connected_at", EventKind.ANSWERED, Direction.OUTBOUND),
    "user_outbound_completed": (_OUT + _LENGTHS, EventKind.CALL_ENDED, Direction.OUTBOUND),
    "queue_call": (_IN + _LENGTHS + "queue_name status", EventKind.CALL_ENDED, Direction.INBOUND),
    "ring_group_call": (_IN + _LENGTHS + "ring_group_name status", EventKind.CALL_ENDED, Direction.INBOUND),
    "voicemail": ("type unique_call_id caller_id dest_number " + _MAIL, EventKind.VOICEMAIL, Direction.INBOUND),
    "recording_inbound": ("type unique_call_id caller_id dest_number " + _MAIL, EventKind.RECORDING, Direction.INBOUND),
    "recording_outbound": (
        "type unique_call_id caller_id user_name user_number dest_number mode " + _MAIL,
        EventKind.RECORDING,
        Direction.OUTBOUND,
    ),
    "webhook_component_event": (
        "type unique_call_id user_name user_number dest_number call_start_at component_name",
        EventKind.COMPONENT,
        Direction.INBOUND,
    ),
}
VALUES: dict[str, Any] = {
    "unique_call_id": "1772366400.123456",
    "caller_id": "+46701740605",
    "caller_name": "M ANDERSSON",
    "user_name": "Ada Webb",
    "user_number": "302",
    "dest_number": "+46846500400",
    "call_start_at": "2026-03-01T13:00:00+01:00",
    "connected_at": "2026-03-01T12:00:08Z",
    "recorded_at": "2026-03-01T12:01:40Z",
    "call_duration": 100,
    "conversation_duration": 92,
    "queue_name": "Sales",
    "ring_group_name": "",
    "status": "answered",
    "emails": "ada@emca.inc",
    "email_subject": "Voicemail",
    "email_message": "Call me back.",
    "call_recording_link": "",
    "mode": "storage",
    "component_name": "After hours",
}


def event_of(name: str, **changes: Any) -> dict[str, Any]:
    """Return an event of the type with the fields of its table."""
    return {field: VALUES.get(field, name) for field in TABLES[name][0].split()} | changes


def test_all_types_and_fields_are_known() -> None:
    """Every type and every field of the text is known by its name, and no other."""
    assert set(TYPES) == set(TABLES) == set(PBX_FIELDS)
    assert set(PbxSchema().fields) == {field for fields, *_ in TABLES.values() for field in fields.split()}


@pytest.mark.parametrize("name", TABLES)
def test_type_is_understood(name: str) -> None:
    """Each type has its kind and direction, its call's id and both numbers."""
    _, kind, direction = TABLES[name]
    event = parse_pbx(event_of(name))
    assert (event.kind, event.direction) == (kind, direction)
    assert event.call_ids == (VALUES["unique_call_id"],)
    assert (event.from_number, event.to_number) == (
        "302" if kind is EventKind.COMPONENT else VALUES["caller_id"],
        VALUES["dest_number"],
    )
    has_start = "call_start_at" in TABLES[name][0]
    assert event.started_at == (datetime(2026, 3, 1, 12, tzinfo=UTC) if has_start else None)


def test_ended_call_tells_all() -> None:
    """A completed call has its times in seconds, its user, group and caller."""
    event = parse_pbx(event_of("user_inbound_completed"))
    assert (event.duration, event.talk_time, event.wait_time) == tuple(timedelta(seconds=s) for s in (100, 92, 8))
    assert (event.agent, event.user_id, event.other_numbers) == ("Ada Webb", "302", ("302",))
    assert (event.answer_group, event.caller_name, event.ending) == ("Sales", "M ANDERSSON", Ending.ANSWERED)
    assert event.answered_at == datetime(2026, 3, 1, 12, 0, 8, tzinfo=UTC)


@pytest.mark.parametrize("name", ["queue_call", "ring_group_call"])
@pytest.mark.parametrize(
    ("status", "ending"),
    [
        ("answered", Ending.ANSWERED),
        ("abandoned", Ending.ABANDONED),
        ("timedout", Ending.TIMED_OUT),
        ("TimedOut", Ending.TIMED_OUT),
        ("overflowed", None),
    ],
)
def test_outcome_of_a_group_is_what_a_crm_shows(name: str, status: str, ending: Ending | None) -> None:
    """A group's call is answered, abandoned or timed out; a new word is kept as a fact."""
    event = parse_pbx(event_of(name, status=status, connected_at=""))
    assert event.ending is ending
    assert event.facts.get("Status") == (None if ending else status)


@pytest.mark.parametrize("status", ["abandoned", "timedout"])
def test_who_was_not_answered_waited_all_the_time(status: str) -> None:
    """The whole of a call that a group did not take was waiting."""
    event = parse_pbx(event_of("queue_call", status=status, connected_at="", conversation_duration=0))
    assert event.wait_time == event.duration == timedelta(seconds=100)


@pytest.mark.parametrize("name", ["user_inbound_completed", "user_outbound_completed"])
def test_call_that_nobody_took_is_missed(name: str) -> None:
    """A user's call without a conversation was missed."""
    assert parse_pbx(event_of(name, connected_at="", conversation_duration=0)).ending is Ending.MISSED


def test_voicemail_says_what_was_said() -> None:
    """A voicemail ends a call, and its message is for people."""
    event = parse_pbx(event_of("voicemail"))
    assert event.ending is Ending.VOICEMAIL
    assert event.facts["E-mail message"] == "Call me back."
    assert event.facts["Recorded at"] == "2026-03-01T12:01:40+00:00"


def test_component_is_named() -> None:
    """A Webhook object in the call flow tells its name; its user is the caller."""
    event = parse_pbx(event_of("webhook_component_event"))
    assert event.facts == {"Call flow": "After hours"}
    assert (event.caller_name, event.agent) == ("Ada Webb", None)


def test_recording_link_is_media_once_it_is_sent() -> None:
    """The link that is promised for later is understood when it comes."""
    url = "https://pbx.example/1.mp3"
    assert [media.url for media in parse_pbx(event_of("voicemail", call_recording_link=url)).media] == [url]
    assert parse_pbx(event_of("voicemail", call_recording_link="Pending")).media == ()


def test_unknown_type_is_a_value() -> None:
    """A type that nobody has told us of is kept, and no call by itself."""
    event = parse_pbx(event_of("user_inbound", type="fax_received", pages=3))
    assert event.kind is EventKind.UNKNOWN
    assert event.call_ids == (VALUES["unique_call_id"],)
    assert not event.kind.is_logged


def test_events_of_one_call_have_keys_of_their_own() -> None:
    """The types of a call, the users that ring and the components it passes are events of their own."""
    events = [
        *(event_of(name) for name in TABLES),
        event_of("user_inbound", user_number="303"),
        event_of("webhook_component_event", component_name="Menu"),
    ]
    assert len({parse_pbx(event).key for event in events}) == len(events)
    assert parse_pbx(event_of("queue_call", status="abandoned")).key == parse_pbx(event_of("queue_call")).key


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"type": None}, "type"),
        ({"type": {}}, "type"),
        ({"unique_call_id": ""}, "unique_call_id"),
        ({"call_start_at": "13 o'clock"}, "call_start_at"),
        ({"call_duration": "long"}, "call_duration"),
    ],
)
def test_what_places_a_call_must_be_right(changes: dict[str, Any], field: str) -> None:
    """A wrong type, id, moment or span is told by the name of its field."""
    with pytest.raises(FieldErrors) as caught:
        parse_pbx(event_of("user_inbound_completed", **changes))
    assert set(caught.value.errors) == {field}


def test_moment_without_an_offset_is_utc() -> None:
    """A moment that came without its offset is not refused."""
    event = parse_pbx(event_of("user_inbound", call_start_at="2026-03-01T12:00:00"))
    assert event.started_at == datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_short_id_is_the_senders_own() -> None:
    """An id that another sender may use for something else has the sender's name before it."""
    assert parse_pbx(event_of("user_inbound", unique_call_id=17)).call_ids == ("pbx:17",)
