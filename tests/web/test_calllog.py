"""``POST /<customer-id>/calllog``: durable before the 200, whatever comes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from tests.conftest import House, call_log


def send(house: House, raw: bytes, content_type: str | None = "application/json") -> Any:
    return house.client.post("/nordlys/calllog", data=raw, content_type=content_type, headers=house.bearer())


def stored(house: House) -> list[Any]:
    return house.parts.inbox.list_events()


def test_call_is_stored_and_acknowledged_once(house: House) -> None:
    """The same call posted twice is one event; what changed in it is an update of the same call."""
    first = house.post(call_log()).get_json()
    assert first["status"] == "accepted"
    assert house.post(call_log()).get_json() == {"status": "duplicate", "id": first["id"]}
    assert house.post(call_log(body="Call type: Outbound\nA summary.")).get_json()["status"] == "accepted"
    assert [json.loads(event.raw) for event in stored(house)][1] == call_log()


def test_logged_call_shows_in_the_next_lookup(house: House) -> None:
    """The cached answer gives way to the call that was just delivered; a later summary completes it."""
    before = house.lookup().get_json()["activities"]
    house.post(call_log())
    house.deliver()
    after = house.lookup().get_json()["activities"]
    assert len([a for a in after if a["type"] == "CALL"]) == len([a for a in before if a["type"] == "CALL"]) + 1
    house.post(call_log(body="Call type: Outbound\nWants a refund."))
    house.deliver()
    bodies = [a["body"] for a in house.lookup().get_json()["activities"] if a["type"] == "CALL"]
    assert len(bodies) == 2
    assert sum("Wants a refund." in body for body in bodies) == 1


@pytest.mark.parametrize(
    "raw", [b"", b"nonsense", b'{"a": ', b"\xff\xfe\x00", b'{"a":' + b"[" * 100 + b"]" * 100 + b"}", b"[" * 200_000]
)
def test_what_is_no_json_is_refused(house: House, raw: bytes) -> None:
    """No JSON, and JSON nested too deeply, is 400 with a message, and nothing is stored."""
    answer = send(house, raw)
    assert answer.status_code == 400
    assert answer.get_json()["message"]
    assert stored(house) == []


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_other_media_types_are_refused(house: House, content_type: str) -> None:
    """What is not sent as JSON is 415."""
    answer = send(house, json.dumps(call_log()).encode(), content_type)
    assert answer.status_code == 415
    assert stored(house) == []


@pytest.mark.parametrize("content_type", [None, "application/json; charset=utf-8", "application/vnd.m8com+json"])
def test_json_is_known_by_any_of_its_names(house: House, content_type: str | None) -> None:
    """A sender that is vague about JSON is understood."""
    assert send(house, json.dumps(call_log()).encode(), content_type).status_code == 200


def test_too_large_a_body_is_refused(house: House) -> None:
    """More than 256 kB is 413."""
    answer = send(house, json.dumps(call_log(body="x" * 262_144)).encode())
    assert answer.status_code == 413
    assert answer.get_json()["message"]
    assert stored(house) == []


@pytest.mark.parametrize(
    ("changes", "fields"),
    [
        ({"duration": "long"}, {"duration"}),
        ({"duration": True}, {"duration"}),
        ({"duration": 1.5}, {"duration"}),
        ({"startTime": 2**63}, {"startTime"}),
        ({"startTime": -1}, {"startTime"}),
        ({"callType": "Sideways", "fromNumber": None}, {"callType", "fromNumber"}),
        ({"toNumber": 46101234567}, {"toNumber"}),
        ({"body": ["x"]}, {"body"}),
    ],
)
def test_odd_json_is_quarantined(house: House, changes: dict[str, Any], fields: set[str]) -> None:
    """A call that the schema does not understand is stored as it came and acknowledged with its field errors."""
    answer = house.post(call_log(**changes))
    assert (answer.status_code, answer.get_json()["status"]) == (200, "quarantined")
    assert set(answer.get_json()["errors"]) == fields
    assert [event.state for event in stored(house)] == ["quarantined"]
    assert json.loads(stored(house)[0].raw) == call_log(**changes)


@pytest.mark.parametrize(
    "raw",
    [
        b"[]",
        b'"x"',
        b"1",
        b"null",
        b'{"startTime": NaN}',
        b'{"duration": ' + b"9" * 5000 + b"}",
        b'{"a": -Infinity, "b": 1e999}',
    ],
)
def test_readable_oddities_are_never_lost(house: House, raw: bytes) -> None:
    """Any JSON at all is kept, and quarantined when it is no call."""
    answer = send(house, raw)
    assert (answer.status_code, answer.get_json()["status"]) == (200, "quarantined")
    assert [event.raw for event in stored(house)] == [raw]


@pytest.mark.parametrize(
    "changes",
    [
        {"duration": 8762790.0},
        {"fromNumber": "\ud800"},
        {"body": "a\x00b\ud83d"},
        {"unknown": {"deep": [1, 2]}},
        {"userId": None},
        {"fromNumber": "", "toNumber": "agent-1"},
        {"startTime": 0, "duration": 0},
    ],
)
def test_unusual_calls_are_accepted_and_delivered_or_ignored(house: House, changes: dict[str, Any]) -> None:
    """Floats that are whole, lone surrogates, NUL and new fields are no obstacle on the whole way."""
    answer = send(house, json.dumps(call_log(**changes)).encode())
    assert (answer.status_code, answer.get_json()["status"]) == (200, "accepted")
    house.deliver()
    assert stored(house)[0].state in ("delivered", "ignored", "parked")


def test_storage_that_fails_is_503(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be stored is never acknowledged; the sender is told when to come again."""

    def fail(*args: object, **kwargs: object) -> None:
        raise StorageError("full")

    monkeypatch.setattr(Inbox, "accept", fail)
    answer = house.post(call_log())
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.get_json()["message"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.dictionaries(st.sampled_from([*call_log(), "new"]), JSON, max_size=4), raw=st.binary(max_size=60))
def test_no_input_breaks_the_receiver(house: House, changes: dict[str, Any], raw: bytes) -> None:
    """Any JSON and any bytes are answered 200 or 400, and the worker survives what was stored."""
    assert send(house, json.dumps(call_log(**changes)).encode()).status_code == 200
    assert send(house, raw).status_code in (200, 400)
    house.deliver()
