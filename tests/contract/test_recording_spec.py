"""Call recordings as specs/000 describes them, V2 as M8Com's help pages do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from middleware.model.call import Direction, Ending, EventKind, Media
from middleware.receivers.fields import FieldErrors
from middleware.receivers.recording import RecordingSchema, parse_recording

# specs/000, Data Provided; userId and summary: V2
TABLE = (
    "id fileUrls callerNumber calleeNumber startTime endTime waitTime talkTime agentId agentName answerGroupName "
    "answerGroupId referredTo referredBy direction recorderId userId summary"
).split()


def recording(**changes: Any) -> dict[str, Any]:
    return {
        "id": 4711,
        "fileUrls": ["https://files.example/1.mp3", "https://files.example/2.mp3"],
        "callerNumber": "+46701740605",
        "calleeNumber": "+46846500400",
        "startTime": 1772366400000,
        "endTime": 1772366500000,
        "waitTime": 8000,
        "talkTime": 92000,
        "agentId": "a-1",
        "agentName": "Ada Webb",
        "answerGroupName": "Sales",
        "answerGroupId": "g-1",
        "referredTo": "+46701740606",
        "referredBy": "+46701740607",
        "direction": "inbound",
        "recorderId": "ada.webb@emca.inc",
        **changes,
    }


def test_schema_has_the_fields_of_the_table() -> None:
    """Every field of the table is known by its name."""
    assert set(RecordingSchema().fields) == set(TABLE)


def test_every_field_arrives() -> None:
    """A recording of a queue call tells who, when, how long and where its files are."""
    event = parse_recording(recording())
    assert (event.kind, event.key, event.call_ids) == (EventKind.RECORDING, "4711", ("recording:4711",))
    assert event.media == (
        Media(url="https://files.example/1.mp3"),
        Media(url="https://files.example/2.mp3"),
    )
    assert (event.from_number, event.to_number) == ("+46701740605", "+46846500400")
    assert event.started_at == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert (event.duration, event.wait_time, event.talk_time) == tuple(timedelta(seconds=s) for s in (100, 8, 92))
    assert (event.agent, event.answer_group, event.username) == ("Ada Webb", "Sales", "ada.webb@emca.inc")
    assert (event.referred_to, event.referred_by) == ("+46701740606", "+46701740607")
    assert (event.direction, event.ending, event.user_id) == (Direction.INBOUND, Ending.ANSWERED, "a-1")


def test_second_version_has_more() -> None:
    """The summary and the user's id of V2 are understood."""
    event = parse_recording(recording(summary="Wants a refund.", userId="u-9"))
    assert (event.summary, event.user_id) == ("Wants a refund.", "u-9")


def test_personal_call_has_nulls() -> None:
    """What is null for a personal call is unknown, and a recorder with a number is one of ours."""
    nothing = dict.fromkeys(TABLE[6:14])
    event = parse_recording(recording(**nothing, direction="Outbound", recorderId="+46846500401"))
    assert (event.agent, event.answer_group, event.user_id, event.username) == (None, None, None, None)
    assert (event.direction, event.other_numbers) == (Direction.OUTBOUND, ("+46846500401",))
    assert event.duration == timedelta(seconds=100)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"id": None}, "id"),
        ({"id": True}, "id"),
        ({"id": 1.5}, "id"),
        ({"id": ""}, "id"),
        ({"id": ["1"]}, "id"),
        ({"startTime": "yesterday"}, "startTime"),
        ({"startTime": 2**63}, "startTime"),
    ],
)
def test_what_places_a_call_must_be_right(changes: dict[str, Any], field: str) -> None:
    """A wrong id, moment or span is told by the name of its field."""
    with pytest.raises(FieldErrors) as caught:
        parse_recording(recording(**changes))
    assert set(caught.value.errors) == {field}


@pytest.mark.parametrize("odd", [-1, {}, "soon", 1e99])
def test_odd_spans_cost_no_recording(odd: object) -> None:
    """A recording whose links die in half an hour is not set aside for how long somebody talked."""
    event = parse_recording(recording(talkTime=odd, waitTime=odd))
    assert (event.talk_time, event.wait_time) == (None, None)
    assert event.media


@pytest.mark.parametrize("urls", [None, [], "", [None, 1, {}, ""], {"a": 1}])
def test_odd_files_are_no_files(urls: object) -> None:
    """What is no URL is left out, and the call is still told."""
    assert parse_recording(recording(fileUrls=urls)).media == ()


def test_a_whole_float_is_the_same_id() -> None:
    """``4711.0`` is what some senders make of ``4711``; a long id stands for itself."""
    assert parse_recording(recording(id=4711.0)).key == "4711"
    assert parse_recording(recording(id="1234567890123456")).call_ids == ("1234567890123456",)
