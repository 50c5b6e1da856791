"""The card and the waterfall, made of plain data."""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from middleware.console.card import initials_of, read_card, render_markdown
from middleware.console.waterfall import RULER, draw

STOCKHOLM = ZoneInfo("Europe/Stockholm")
AT = 1772366400000  # 2026-03-01 12:00 UTC


def shown(**activity: Any) -> Any:
    answer = {"displayName": "Ada", "activities": [{"type": "NOTE", "body": "x", "timestamp": AT, **activity}]}
    return read_card(answer, STOCKHOLM).activities[0]


@pytest.mark.parametrize(
    ("name", "initials"),
    [("Maria Andersson", "MA"), ("ada", "A"), ("Åsa von Öst", "ÅÖ"), ("(ny) +46 70", "+"), ("", "?"), ("🙂", "?")],
)
def test_initials_are_those_of_the_first_and_last_word(name: str, initials: str) -> None:
    """Without an avatar the card has the initials of the display name (specs/001, avatarUrl)."""
    assert initials_of(name) == initials.replace("+", "7")


@pytest.mark.parametrize(
    ("activity", "header"),
    [
        ({}, "Note"),
        ({"header": "Offer"}, "Note - Offer"),
        ({"header": "Offer", "customHeader": "Own"}, "Own"),
        ({"type": "DEAL", "header": "Big"}, "Deal - Big"),
        ({"type": "NEW"}, "NEW"),
    ],
)
def test_a_header_is_appended_or_replaced(activity: dict[str, Any], header: str) -> None:
    """A header stands behind the type, an own one in its place (specs/001, Note)."""
    assert shown(**activity).header == header


def test_facts_are_written_for_people() -> None:
    """Moments are in the customer's zone, spans in minutes; what is done has a mark in the place of its status."""
    call = shown(type="CALL", fromNumber="1", toNumber="2", duration=312_000, startTime=AT)
    assert call.at == "2026-03-01 13:00"
    assert ("Duration", "5:12") in call.facts
    assert ("Began", "2026-03-01 13:00") in call.facts
    task = shown(type="TASK", status="Open", done=True, dueDate=AT)
    assert task.is_done
    assert "Status" not in dict(task.facts)
    assert ("Begins", "2026-03-01") in shown(type="APPOINTMENT", startDate=AT, endDate=AT, allDay=True).facts
    assert shown(timestamp=10**18).at == f"{10**18} ms"


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](data:text/html,x)",
        "![a](https://x.example/a.png)",
        '[a](https://x.example "onmouseover=alert(1)")',
        '<https://x.example/"onclick=alert(1)>',
        "`<b>` &lt;script&gt;",
    ],
)
def test_markdown_runs_and_fetches_nothing(text: str) -> None:
    """Whatever a CRM's text says, no script, no image and no handler comes of it."""
    html = str(render_markdown(text))
    tags = re.findall(r"<(/?[a-z0-9]+)((?:\s[^<>]*)?)>", html)
    assert {name.strip("/") for name, _ in tags} <= {"p", "a", "code"}
    for _, attributes in tags:
        assert not re.search(r"\son\w+=", re.sub(r'"[^"]*"', '""', attributes))
        assert "javascript:" not in attributes
        assert "data:" not in attributes


def test_a_link_of_markdown_leaves_nothing_of_us() -> None:
    """A link opens a window of its own, which learns nothing of ours."""
    assert 'rel="noopener noreferrer nofollow" target="_blank"' in str(render_markdown("[a](https://x.example)"))


def told(*steps: dict[str, Any], ms: float) -> dict[str, Any]:
    return {"ms": ms, "steps": [{"source": "crm", "note": "", "queued": 0.0, **step} for step in steps]}


def test_a_step_stands_where_it_was_on_the_ruler() -> None:
    """A step of the second second is in the middle third, behind the time that it waited for a thread."""
    drawn = draw(told({"name": "contact", "begin": 1000.0, "queued": 500.0, "took": 1000.0}, ms=2600.0), 2600.0)
    (step,) = drawn.bars
    assert (step.queue_x, step.x, step.width) == (166.7, 333.3, 333.3)
    assert drawn.marks == [333.3, 666.7, 1000.0]
    assert drawn.budget_x == 866.7


def test_nothing_is_drawn_beside_the_ruler() -> None:
    """A lookup of more than three seconds has a longer ruler; what goes on ends where the answer was given."""
    drawn = draw(told({"name": "contact", "begin": 100.0, "took": None}, ms=2 * RULER))
    (step,) = drawn.bars
    assert not step.is_over
    assert step.x + step.width <= 1000
    assert len(drawn.marks) == 6
    late = {"name": "notes", "begin": 2700.0, "took": 100.0}
    assert draw(told(late, ms=2600.0)).bars == []
