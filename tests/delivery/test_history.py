"""A call that was just logged is on the card of the next lookup."""

from __future__ import annotations

from middleware.delivery.history import logged_calls
from middleware.model.phone import parse_number
from tests.conftest import House, call_log

KNOWN = "+46701740605"


def calls_of(house: House, number: str = KNOWN, customer: str = "nordlys") -> list[str]:
    tenant = house.parts.tenants.get(customer)
    assert tenant
    return [
        call.body
        for call in logged_calls(house.parts.inbox, house.parts.recordings, tenant, parse_number(number, "SE"))
    ]


def activities(house: House) -> list[str]:
    found = house.lookup().json
    assert found
    return [activity["body"] for activity in found["activities"] if activity["type"] == "CALL"]


def test_delivered_call_is_remembered_for_its_number_alone(house: House) -> None:
    """The history of a number holds what was written for it, by customer, and nothing that still waits."""
    house.post(call_log(body="Call type: Outbound\nWants a red one."))
    assert calls_of(house) == []
    house.deliver()
    assert calls_of(house) == ["Wants a red one."]
    assert calls_of(house, "+46701740606") == []
    assert calls_of(house, customer="harbour") == []


def test_later_event_of_a_call_takes_the_place_of_the_earlier(house: House) -> None:
    """A call that is completed later is in the history once, as it was told last."""
    house.post(call_log(body="Call type: Outbound\nFirst."))
    house.deliver()
    house.post(call_log(body="Call type: Outbound\nSecond."))
    house.deliver()
    assert calls_of(house) == ["Second."]


def test_logged_call_is_on_the_card_once(house: House) -> None:
    """After a call log the card has the call, from us or from the CRM, and not from both."""
    before = activities(house)
    house.post(call_log(body="Call type: Outbound\nWants a red one."))
    house.deliver()
    after = activities(house)
    assert len(after) == len(before) + 1
    assert sum("red one" in body for body in after) == 1
