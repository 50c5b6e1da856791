"""Calls that were just logged, beside those that the CRM shows."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from middleware.lookup.assemble import without_doubles
from middleware.lookup.card import Hit
from middleware.model.activity import Call
from middleware.tenants.tenant import LookupConfig
from tests.lookup.zoo import ADA, NOW, NUMBER, Desk, Zoo, tenant_of


def call(began: float = 0, lasted: float = 60, body: str = "ours") -> Call:
    """Return a call that began ``began`` seconds after noon."""
    at = NOW + timedelta(seconds=began)
    duration = timedelta(seconds=lasted)
    return Call(timestamp=at, start_time=at, duration=duration, from_number=NUMBER, to_number="+461", body=body)


def test_logged_call_shows_before_the_crm_finds_it(desk: Desk) -> None:
    """A call that was delivered for the number is on the card though the CRM's search does not bring it yet."""
    desk.own_calls = [call()]
    desk.generations.bump("acme", NUMBER)
    desk.ask(tenant_of(Zoo()))
    assert [activity.body for activity in desk.cards[-1].activities] == ["ours"]


@pytest.mark.parametrize(("own_calls", "logged"), [(False, True), (True, False)])
def test_own_calls_are_not_asked_for_in_vain(desk: Desk, own_calls: bool, logged: bool) -> None:
    """A customer can do without, and a number for which no call was logged costs no question."""
    desk.own_calls = [call()]
    if logged:
        desk.generations.bump("acme", NUMBER)
    desk.ask(tenant_of(Zoo(), lookup=LookupConfig(own_calls=own_calls)))
    assert desk.cards[-1].activities == ()


@pytest.mark.parametrize("shown", [call(), call(began=-20), call(began=59, lasted=3), call(began=75)])
def test_call_that_the_crm_shows_is_not_doubled(shown: Call) -> None:
    """A CRM may keep the beginning or the end, rounded to a minute: it is the same call."""
    assert without_doubles([call()], [shown]) == []


def test_another_call_is_no_double() -> None:
    """Two short calls in a row are two, even when the CRM shows one of them."""
    first, second = call(lasted=5), call(began=30, lasted=5)
    assert without_doubles([first, second], [call(lasted=5, body="the CRM's")]) == [second]
    assert without_doubles([first], [call(began=600)]) == [first]


def test_lagging_crm_shows_neither_call_twice() -> None:
    """A call-back within a minute is matched to its own record, not to that of the call before."""
    missed, back = call(lasted=0, body="missed"), call(began=50, lasted=5, body="back")
    assert without_doubles([back, missed], [call(lasted=0, body="the CRM's")]) == [back]
    linked = replace(back, link="https://crm.example/call/2")
    far = call(began=900, body="the CRM's, at the time it was written")
    assert without_doubles([linked, missed], [replace(far, link=linked.link)]) == [missed]


def test_calls_of_a_number_are_not_shown_for_an_id(desk: Desk) -> None:
    """Who typed an id may be anybody: the calls of the telephone he used are not his."""
    desk.own_calls = [call()]
    desk.generations.bump("acme", NUMBER)
    desk.ask(tenant_of(Zoo(by_id={"7": ADA})), numeric_id="7")
    assert desk.cards[-1].activities == ()


def test_history_that_cannot_be_read_costs_no_card(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that is away is told in the log, and the card comes without our own calls."""

    def fail(*_args: object) -> list[Call]:
        raise OSError("disk")

    desk.service._tools = replace(desk.service._tools, own_calls=fail)
    desk.generations.bump("acme", NUMBER)
    assert desk.ask(tenant_of(Zoo())) == Hit(body=b"Ada Webb")
