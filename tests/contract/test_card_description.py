"""What the OpenAPI description says of a card is what the specification's tables say, and what is sent."""

from __future__ import annotations

from dataclasses import fields
from decimal import Decimal
from typing import Any

import jsonschema_rs
import pytest
from marshmallow import Schema

from middleware.lookup.card import Card
from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.contact import Contact
from middleware.web.schemas.lookup import ACTIVITY_SCHEMAS, dump_activity, dump_card
from tests.conftest import NOW, House

# specs/001, RESPONSE - Activities; "!" marks what is not optional
_ALL = "type! body! timestamp! link markdown "
_TEXTS = "header customHeader customDescription "
TABLES = {
    "Note": _ALL + "header customHeader associatedUser",
    "Task": _ALL + _TEXTS + "dueDate! status done assignedUser",
    "Call": _ALL + "toNumber! fromNumber! duration! startTime! customHeader customDescription",
    "Ticket": _ALL + _TEXTS + "createdDate! priority pipeline pipelineStage ticketLink",
    "Deal": _ALL + _TEXTS + "closeDate! currency amount done pipeline pipelineStage dealLink",
    "Appointment": _ALL + "startDate! endDate! allDay venue header customDescription status",
    "Contact": "displayName! firstName lastName avatarUrl coverPhotoUrl emails phoneNumbers companyInfo fields "
    "activities createActivityUrl createActivityUrls moreInfoUrl",
    "Email": "id! comment",
    "PhoneNumber": "id! comment",
    "CompanyInfo": "name title",
    "Field": "comment! title!",
    "CreateUrl": "name! url!",
}


def describe(house: House) -> dict[str, Any]:
    document: dict[str, Any] = house.client.get("/-/openapi.json").get_json()
    return document


@pytest.mark.parametrize("name", TABLES)
def test_description_has_the_fields_of_the_table(house: House, name: str) -> None:
    """Every field of the table is described, no other, and required where the table says so."""
    schema = describe(house)["components"]["schemas"][name]
    words = TABLES[name].split()
    assert set(schema["properties"]) == {word.rstrip("!") for word in words}
    assert set(schema.get("required", [])) == {word.rstrip("!") for word in words if word.endswith("!")}


def test_every_answer_of_the_demo_fits_the_description(house: House) -> None:
    """Real cards, activities of all six types among them, are as the description says."""
    document = describe(house)
    card = {"$ref": "#/components/schemas/Contact", "components": document["components"]}
    types = set()
    for customer in house.customers.values():
        for number in customer.known_numbers:
            answer = house.lookup(number, customer.id).get_json()
            jsonschema_rs.validate(card, answer)
            types |= {activity["type"] for activity in answer.get("activities", [])}
    assert types >= {"NOTE", "TASK", "TICKET", "DEAL", "APPOINTMENT", "CALL"}


def test_activity_of_a_wrong_type_does_not_fit(house: House) -> None:
    """The description can be broken: an activity must be one of the six types, with its fields."""
    card = {"$ref": "#/components/schemas/Contact", "components": describe(house)["components"]}
    for activity in ({"type": "FAX", "body": "", "timestamp": 1}, {"type": "TASK", "body": "", "timestamp": 1}):
        assert not jsonschema_rs.is_valid(card, {"displayName": "Ada", "activities": [activity]})


@pytest.mark.parametrize(
    ("amount", "sent"),
    [
        (0, 0),
        (True, 1),
        (Decimal("10.00"), 10),
        (Decimal("0.1"), 0.1),
        (12.5, 12.5),
        (-1, -1),
        (10**400, None),
        (Decimal("1e400"), None),
        (float("-inf"), None),
    ],
)
def test_amount_is_a_number_a_reader_takes(amount: Any, sent: object) -> None:
    """Whole amounts have no fraction, nothing is a boolean, and what JSON cannot say is left out."""
    answer = dump_activity(Deal(timestamp=NOW, amount=amount))
    assert answer.get("amount") == sent
    assert ("amount" in answer) == (sent is not None)
    assert not isinstance(answer.get("amount"), bool)


@pytest.mark.parametrize(
    "activity",
    [
        Note(timestamp=NOW, body=None),  # type: ignore[arg-type]
        Task(timestamp=NOW, done=False),
        Call(timestamp=NOW, from_number="", to_number="", duration=NOW - NOW),
        Ticket(timestamp=NOW),
        Deal(timestamp=NOW),
        Appointment(timestamp=NOW, start_date=NOW),
    ],
    ids=lambda activity: type(activity).__name__,
)
def test_barest_activity_has_what_is_required(house: House, activity: Activity) -> None:
    """An activity of which a CRM knows next to nothing still fits its table."""
    name = type(activity).__name__
    schema = {"$ref": f"#/components/schemas/{name}", "components": describe(house)["components"]}
    jsonschema_rs.validate(schema, dump_activity(activity, deprecated_names=True))


@pytest.mark.parametrize("text", ["", "x"])
@pytest.mark.parametrize("kind", [Note, Task, Call, Ticket, Deal, Appointment], ids=lambda kind: kind.__name__)
def test_activities_are_written_as_marshmallow_does(kind: type[Activity], text: str) -> None:
    """What our schemas do more quickly is what marshmallow does, with what is unknown left out."""
    values: dict[str, Any] = {"str": text, "bool": True, "datetime": NOW, "timedelta": NOW - NOW, "int": 1.5}
    kinds = {field.name: str(field.type).split(" ")[0] for field in fields(kind)}
    activity = kind(**{name: values.get(of, text) for name, of in kinds.items()})
    quick = ACTIVITY_SCHEMAS[kind.__name__]()

    def known(_schema: object, obj: Any, name: str, default: Any) -> Any:
        value = getattr(obj, name, default)
        return default if value is None or (value == "" and not required[name]) else value

    required = {field.attribute or name: field.required for name, field in quick.fields.items()}
    plain = type("Plain", (type(quick),), {"dump": Schema.dump, "get_attribute": known})()
    assert quick.dump(activity) == plain.dump(activity)
    assert quick.dump([activity, activity], many=True) == plain.dump([activity, activity], many=True)
    assert len(quick.dump(activity)) > 2


def test_card_is_utf_8_without_escapes() -> None:
    """A name is sent as it is written."""
    body = dump_card(Card(contact=Contact(id="1", display_name="Åsa Öberg 😀")), False)
    assert body.decode() == '{"displayName":"Åsa Öberg 😀"}'
