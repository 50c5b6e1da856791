"""Calls that were just logged, beside those that the CRM shows."""

from __future__ import annotations

from datetime import timedelta

import pytest

from middleware.lookup.assemble import without_doubles
from middleware.model.activity import Call
from middleware.tenants.tenant import LookupConfig
from tests.lookup.zoo import NOW, NUMBER, Desk, Zoo, tenant_of


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
