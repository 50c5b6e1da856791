"""The answer, table by table, as specs/001 has it; the examples are the specification's own."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from middleware.lookup.card import Card
from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.contact import Contact, ContactNumber, Email, Field, Link
from middleware.web.schemas.lookup import dump_activity, dump_card

MILLIS = 1606490711729
AT = datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=MILLIS)
LATER = AT + timedelta(hours=1)
TEXT = "Maria is setting up a new integration, after delivery verify that the integration is working as expected."

EXAMPLES: list[tuple[Activity, dict[str, Any]]] = [
    (
        Note(
            timestamp=AT,
            header="Previous contact",
            body="Maria Andersson has previously been in communication with Adam Webb.",
            associated_user="adam.webb@emca.inc",
            link="https://link.to.note",
        ),
        {
            "type": "NOTE",
            "header": "Previous contact",
            "body": "Maria Andersson has previously been in communication with Adam Webb.",
            "timestamp": MILLIS,
            "associatedUser": "adam.webb@emca.inc",
            "link": "https://link.to.note",
        },
    ),
    (
        Task(
            timestamp=AT,
            due_date=AT,
            status="Pending",
            header="New Integration",
            custom_description="Details",
            body=TEXT,
            assigned_user="adam.webb@emca.inc",
            link="https://link.to.task",
        ),
        {
            "type": "TASK",
            "status": "Pending",
            "header": "New Integration",
            "customDescription": "Details",
            "body": TEXT,
            "timestamp": MILLIS,
            "dueDate": MILLIS,
            "assignedUser": "adam.webb@emca.inc",
            "link": "https://link.to.task",
        },
    ),
    (
        Call(
            timestamp=AT, body="b", from_number="+461", to_number="+462", duration=timedelta(seconds=1.5), start_time=AT
        ),
        {
            "type": "CALL",
            "body": "b",
            "timestamp": MILLIS,
            "fromNumber": "+461",
            "toNumber": "+462",
            "duration": 1500,
            "startTime": MILLIS,
        },
    ),
    (
        Ticket(
            timestamp=AT, created_date=LATER, priority="HIGH", pipeline="Support", pipeline_stage="New", markdown=True
        ),
        {
            "type": "TICKET",
            "body": "",
            "timestamp": MILLIS,
            "createdDate": MILLIS + 3_600_000,
            "priority": "HIGH",
            "pipeline": "Support",
            "pipelineStage": "New",
            "markdown": True,
        },
    ),
    (
        Deal(
            timestamp=AT,
            close_date=LATER,
            amount=Decimal("12500.50"),
            currency="SEK",
            done=False,
            custom_header="Affär",
        ),
        {
            "type": "DEAL",
            "body": "",
            "timestamp": MILLIS,
            "closeDate": MILLIS + 3_600_000,
            "amount": 12500.5,
            "currency": "SEK",
            "done": False,
            "customHeader": "Affär",
        },
    ),
    (
        Appointment(timestamp=AT, start_date=AT, end_date=LATER, all_day=True, venue="Pier 4", status="Booked"),
        {
            "type": "APPOINTMENT",
            "body": "",
            "timestamp": MILLIS,
            "startDate": MILLIS,
            "endDate": MILLIS + 3_600_000,
            "allDay": True,
            "venue": "Pier 4",
            "status": "Booked",
        },
    ),
]


@pytest.mark.parametrize(("activity", "wire"), EXAMPLES, ids=[wire["type"] for _, wire in EXAMPLES])
def test_activities_are_dumped_as_the_tables_say(activity: Activity, wire: dict[str, Any]) -> None:
    """Each type has its own fields by their names, in milliseconds, and nothing that is unknown."""
    assert dump_activity(activity) == wire


@pytest.mark.parametrize(
    ("activity", "field"),
    [
        (Task(timestamp=AT), "dueDate"),
        (Deal(timestamp=AT), "closeDate"),
        (Ticket(timestamp=AT), "createdDate"),
        (Call(timestamp=AT, from_number="1", to_number="2", duration=timedelta()), "startTime"),
        (Appointment(timestamp=LATER, start_date=AT), "endDate"),
    ],
)
def test_required_moments_that_a_crm_does_not_know_are_filled(activity: Activity, field: str) -> None:
    """What the specification requires is always there."""
    assert dump_activity(activity)[field] == MILLIS


def test_whole_card_has_every_field_of_the_table() -> None:
    """All response fields of a contact, the deprecated names among them on request."""
    link = Link(name="Create a note", url="https://crm.example/new")
    contact = Contact(
        id="1",
        display_name="Maria Andersson",
        first_name="Maria",
        last_name="Andersson",
        avatar_url="https://crm.example/a.png",
        cover_photo_url="https://crm.example/c.png",
        emails=(Email(address="m@acme.example", comment="Work"), Email(address="m@home.example")),
        numbers=(ContactNumber(number="070", comment="Work"),),
        company="Acme Inc.",
        title="Engineer",
        fields=(Field(title="City", comment="Malmö"),),
        url="https://loremIpsum.com/contact/maria-andersson",
    )
    deal = Deal(timestamp=AT, link="https://crm.example/deal")
    answer = json.loads(dump_card(Card(contact=contact, activities=(deal,), links=(link,)), True))
    assert answer.pop("activities")[0]["dealLink"] == "https://crm.example/deal"
    assert answer == {
        "displayName": "Maria Andersson",
        "firstName": "Maria",
        "lastName": "Andersson",
        "avatarUrl": "https://crm.example/a.png",
        "coverPhotoUrl": "https://crm.example/c.png",
        "emails": [{"id": "m@acme.example", "comment": "Work"}, {"id": "m@home.example"}],
        "phoneNumbers": [{"id": "070", "comment": "Work"}],
        "companyInfo": {"name": "Acme Inc.", "title": "Engineer"},
        "fields": [{"title": "City", "comment": "Malmö"}],
        "createActivityUrls": [{"name": "Create a note", "url": "https://crm.example/new"}],
        "createActivityUrl": [{"name": "Create a note", "url": "https://crm.example/new"}],
        "moreInfoUrl": "https://loremIpsum.com/contact/maria-andersson",
    }


def test_what_is_unknown_is_left_out() -> None:
    """A contact that is only a name is answered as a name."""
    assert dump_card(Card(contact=Contact(id="1", display_name="Ada")), False) == b'{"displayName":"Ada"}'


@pytest.mark.parametrize("amount", [float("nan"), float("inf"), Decimal("NaN")])
def test_amount_that_is_no_number_is_left_out(amount: float) -> None:
    """NaN is no JSON and never sent."""
    assert "amount" not in dump_activity(Deal(timestamp=AT, amount=amount))
