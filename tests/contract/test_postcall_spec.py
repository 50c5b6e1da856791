"""An AI agent's post-call webhook as specs/004 describes it."""

from __future__ import annotations

from typing import Any

import pytest

from middleware.demo.samples import POSTCALL_EXAMPLE, POSTCALL_TEST
from middleware.model.call import Direction, EventKind, Media
from middleware.receivers.fields import FieldErrors
from middleware.receivers.postcall import ANALYSIS, CALLER, PostCallSchema, parse_postcall

# specs/004, Payload Structure
TOP = "callId recordingUri transcriptUri callerDetails callAnalysis".split()
CALLER_DETAILS = (
    "name phoneNumber email scheduledTime address pincode city state country age gender occupation company "
    "preferredContactMethod bestTimeToCall language"
).split()
CALL_ANALYSIS = "summary mood score callOutcome classification interestsAndNeeds actionItems sentiment".split()


def test_all_fields_are_known() -> None:
    """Every field of the structure is known by its name."""
    assert list(PostCallSchema().fields) == TOP
    assert {"name", "phoneNumber", *CALLER} == set(CALLER_DETAILS)
    assert {"summary", "actionItems", "sentiment", *ANALYSIS} == set(CALL_ANALYSIS)


def test_example_of_the_text() -> None:
    """The example tells the caller, the summary, both files, and no moment."""
    event = parse_postcall(POSTCALL_EXAMPLE)
    assert (event.kind, event.direction, event.started_at) == (EventKind.ANALYSIS, Direction.INBOUND, None)
    assert event.call_ids == (event.key,) == ("693bff62619c51fac21acf50",)
    assert (event.from_number, event.to_number, event.caller_name) == ("+1-555-123-4567", None, "John Smith")
    assert event.summary == "Customer called to schedule a product demo..."
    assert event.media == (
        Media(url=POSTCALL_EXAMPLE["recordingUri"]),
        Media(url=POSTCALL_EXAMPLE["transcriptUri"], kind="transcript"),
    )
    assert event.facts == {
        "E-mail": "john.smith@example.com",
        "Scheduled time": "2025-01-20T10:00:00Z",
        "Address": "123 Main Street",
        "City": "New York",
        "State": "NY",
        "Country": "USA",
        "Language": "English",
        "Mood": "Positive",
        "Score": "85",
        "Result": "Demo Scheduled",
        "Classification": "Sales Inquiry",
    }


def test_every_fact_arrives() -> None:
    """Each detail of the caller and of the analysis becomes a fact with a label of its own."""
    details = {name: f"v-{name}" for name in CALLER_DETAILS}
    analysis: dict[str, Any] = {name: f"v-{name}" for name in CALL_ANALYSIS}
    event = parse_postcall({"callId": "1", "callerDetails": details, "callAnalysis": analysis})
    assert set(event.facts.values()) == {f"v-{name}" for name in (*CALLER, *ANALYSIS)}


def test_test_of_the_text() -> None:
    """The smallest call is one; its short id is the sender's own."""
    event = parse_postcall(POSTCALL_TEST)
    assert event.call_ids == ("postcall:test-call-123",)
    assert [media.kind for media in event.media] == ["recording"]


@pytest.mark.parametrize(
    ("items", "texts"),
    [
        (None, ()),
        ({}, ()),
        ([], ()),
        ("Call back", ("Call back",)),
        ("- Call back\n- Send the offer", ("Call back", "Send the offer")),
        (["Call back", "Send the offer", "Call back"], ("Call back", "Send the offer")),
        ([{"title": "Call back", "due": "Friday"}], ("Call back (due: Friday)",)),
        ([{"owner": "Ada", "what": "Call"}], ("owner: Ada, what: Call",)),
        ({"items": ["Call back", {"task": "Send"}]}, ("Call back", "Send")),
        ({"task": "Call back", "owner": "Ada"}, ("Call back (owner: Ada)",)),
        ({"1": "Call back", "2": "Send"}, ("Call back", "Send")),
        ({"sales": "Call back", "support": {"text": "Fix it"}}, ("sales: Call back", "Fix it")),
        ([None, "", {}, [], 7], ("7",)),
        (True, ("true",)),
    ],
)
def test_action_items_of_any_shape(items: object, texts: tuple[str, ...]) -> None:
    """Whatever shape the follow-ups have, each is one text."""
    assert parse_postcall({"callId": "1", "callAnalysis": {"actionItems": items}}).action_items == texts


@pytest.mark.parametrize(
    ("told", "text"),
    [
        ("positive", "positive"),
        ({"overall": "positive", "score": 0.8}, "overall: positive, score: 0.8"),
        (["calm", {"end": "happy"}], "calm; end: happy"),
        ({}, None),
    ],
)
def test_sentiment_of_any_shape(told: object, text: str | None) -> None:
    """Whatever shape the sentiment has, it is a text for people."""
    assert parse_postcall({"callId": "1", "callAnalysis": {"sentiment": told}}).sentiment == text


@pytest.mark.parametrize("odd", [None, [], "x", 1])
def test_odd_parts_are_as_good_as_missing(odd: object) -> None:
    """Details that are no object are nothing, and the call is still told."""
    event = parse_postcall({"callId": "1", "callerDetails": odd, "callAnalysis": odd, "recordingUri": []})
    assert (event.facts, event.media, event.summary) == ({}, (), None)


@pytest.mark.parametrize("document", [{}, {"callId": None}, {"callId": ""}, {"callId": {}}, {"callId": False}])
def test_id_must_be_there(document: dict[str, Any]) -> None:
    """Only a call without an id is not understood."""
    with pytest.raises(FieldErrors) as caught:
        parse_postcall(document)
    assert set(caught.value.errors) == {"callId"}
