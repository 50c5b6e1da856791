"""What an adapter's author is told of what his adapter brings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from middleware.lookup.remarks import remarks_on_activities, remarks_on_contacts
from middleware.model.activity import Activity, Appointment, Call, Note
from middleware.model.contact import Contact, ContactNumber, Field

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOTE = Note(timestamp=NOW, body="text")
CALL = Call(timestamp=NOW, from_number="1", to_number="2", duration=timedelta(minutes=5))
CONTACT = Contact(id="1", display_name="Ada", numbers=(ContactNumber(number="1"),), updated_at=NOW)


def test_what_is_right_is_not_remarked_on() -> None:
    """Ten notes, a call and a contact as they should be are no remark."""
    assert remarks_on_activities("notes", [NOTE] * 10) == []
    assert remarks_on_activities("calls", [CALL]) == []
    assert remarks_on_contacts([CONTACT], 1) == []


@pytest.mark.parametrize(
    ("activity", "words"),
    [
        (replace(NOTE, timestamp=datetime(1970, 1, 21, tzinfo=UTC)), "is in 1970"),
        (replace(NOTE, timestamp=NOW.replace(tzinfo=None)), "no time zone"),
        (replace(CALL, duration=timedelta(days=104)), "104 days: milliseconds taken for seconds"),
        (replace(CALL, duration=timedelta(milliseconds=312)), "seconds taken for milliseconds"),
        (replace(CALL, duration=timedelta(seconds=-1)), "negative"),
        (Appointment(timestamp=NOW, start_date=NOW, end_date=NOW - timedelta(1)), "before `start_date`"),
        (replace(NOTE, link="javascript:alert(1)"), "`link` is no http(s) address"),
        (replace(NOTE, body="x" * 10_001), "longer than 10000"),
        (replace(NOTE, body="![a](https://x.example/a.png)", markdown=True), "has an image"),
        (replace(NOTE, body="<p>a</p><img src=a>"), "has an image"),
        (replace(NOTE, body="<p>a</p>"), "is HTML"),
        (replace(NOTE, body="[a](ftp://x)", markdown=True), "no web, mail or phone link"),
    ],
)
def test_an_odd_activity_is_remarked_on(activity: Activity, words: str) -> None:
    """What is odd about an activity is said once, with how often it is so."""
    (alone,) = [remark for remark in remarks_on_activities("part", [activity]) if words in remark]
    (twice,) = [remark for remark in remarks_on_activities("part", [activity, activity]) if words in remark]
    assert alone.startswith("part: ")
    assert twice.startswith("part, 2 times: ")


def test_what_is_not_shown_is_counted() -> None:
    """The eleventh of a type, and what is no activity at all."""
    assert remarks_on_activities("notes", [NOTE] * 11) == [
        "notes: 11 of type Note were brought, the newest 10 are shown"
    ]
    assert "2 are no activity" in remarks_on_activities("notes", [NOTE, None, {"body": "x"}])[0]
    assert "only the first 200" in " ".join(remarks_on_activities("notes", [NOTE] * 200))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda: replace(CONTACT, display_name=" "), "`display_name` is empty"),
        (lambda: replace(CONTACT, avatar_url="data:image/png;base64,AA"), "`avatar_url` is no http(s) address"),
        (lambda: replace(CONTACT, fields=(Field(title="", comment="x"),)), "a field without title or text"),
    ],
)
def test_an_odd_contact_is_remarked_on(change: Callable[[], Contact], words: str) -> None:
    """What the card leaves out of a contact is said."""
    (remark,) = remarks_on_contacts([change()], 1)
    assert words in remark


def test_contacts_without_the_number_are_counted() -> None:
    """An adapter whose search is wider than the number, or whose `numbers` lack it, is told so."""
    assert remarks_on_contacts([], 3) == ["contacts: of 3 only 0 have the number in `numbers`; no other is shown"]
    assert "not all say `updated_at`" in remarks_on_contacts([CONTACT, replace(CONTACT, updated_at=None)], 2)[0]
