"""The call log's fields and the sections of its text, as specs/001 has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from middleware.model.call import Direction
from middleware.receivers.calllog import parse_calllog
from middleware.receivers.sections import Sections, parse_sections
from tests.conftest import call_log


def test_every_field_is_understood() -> None:
    """The table's fields become the call."""
    event = parse_calllog(call_log())
    assert event.direction is Direction.INBOUND
    assert event.started_at == datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    assert event.duration == timedelta(milliseconds=8762790)
    assert (event.from_number, event.to_number, event.user_id) == ("+46701740605", "+46846500400", "u-1")
    assert event.username == "ada.webb@emca.inc"


def test_call_type_is_seen_from_the_contact() -> None:
    """M8Com's Inbound means that M8Com called the contact: an outbound call of the customer."""
    assert parse_calllog(call_log(callType="Inbound")).direction is Direction.OUTBOUND
    assert parse_calllog(call_log(callType="outbound")).direction is Direction.INBOUND


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("referred to: +46 70 123 45 67", {"referred_to": "+46 70 123 45 67"}),
        ("referred by: +46 70 123 45 67", {"referred_by": "+46 70 123 45 67"}),
        ("Call to user: ada@x.example (+46 70 1)", {"user": "ada@x.example"}),
        ("Call from user: Ada Webb (u-17)", {"user": "Ada Webb"}),
        ("Call from: +46 70 123 45 67", {}),
        ("Call to: +46 70 123 45 67", {}),
        ("Call to answer group: Sales (North) (+46 8 1)", {"answer_group": "Sales (North)"}),
        ("Call from answer group: Sales (+46 8 1)", {"answer_group": "Sales"}),
        ("M8Com agent: ada@x.example", {"agent": "ada@x.example"}),
        ("Call type: Inbound", {"call_type": "Inbound"}),
        ("CALL TYPE :Inbound  ", {"call_type": "Inbound"}),
        ("Wants a refund.\n\nCall type: he said", {"summary": "Wants a refund.\n\nCall type: he said"}),
        ("Call type: Inbound\r\nLine one.\r\nLine two.", {"call_type": "Inbound", "summary": "Line one.\nLine two."}),
        ("Call to answer group: \nSomething new: 1", {"summary": "Something new: 1"}),
        ("", {}),
    ],
)
def test_sections_of_the_text_are_taken_apart(text: str, found: dict[str, Any]) -> None:
    """Every section of the table is understood, and what follows without a header is the summary."""
    assert parse_sections(text) == Sections(**found)
