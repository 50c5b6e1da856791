"""The text of a log, and whose call it is: every format, every spelling, whatever a caller is called."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from middleware.delivery.compose import MAX_BODY, MAX_SUBJECT, compose_call
from middleware.model.call import CallEvent, CallRecord, Direction, Ending, EventKind, Leg, Media
from middleware.tenants.log_template import LogFormat
from middleware.tenants.tenant import CallsConfig
from tests.lookup.zoo import Zoo, tenant_of

RECEIVED = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CALLER, OWN = "+46701740605", "+46101234567"
FORMATS: list[LogFormat] = ["text", "html", "markdown"]
HOSTILE = [
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "*a* _b_ `c` ~~d~~",
    "<javascript:alert(1)>",
    "&lt;b&gt;",
]


def compose(log_format: LogFormat = "text", calls: Mapping[str, Any] | None = None, **facts: Any) -> CallRecord:
    tenant = replace(tenant_of(Zoo()), calls=CallsConfig(**(calls or {})))
    told = {"from_number": CALLER, "to_number": OWN, **facts}
    event = CallEvent(sender="pbx", kind=EventKind.CALL_ENDED, key="1", **told)
    return compose_call(event, event_id="i", key="k", tenant=tenant, received_at=RECEIVED, log_format=log_format)


def shown(body: str, log_format: LogFormat) -> str:
    """Return what a reader sees of a body."""
    if log_format == "text":
        return body
    made = body if log_format == "html" else MarkdownIt("commonmark").enable("strikethrough").render(body)
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", made)).split())


@pytest.mark.parametrize("log_format", FORMATS)
@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_caller_is_called_is_shown_as_it_is(name: str, log_format: LogFormat) -> None:
    """Markup in a name, a group or a summary is text in every format, and no link and no script."""
    body = compose(log_format, caller_name=name, answer_group=name, summary=name, action_items=(name,)).body
    assert shown(body, log_format).count(name) == 4
    rendered = MarkdownIt("commonmark").render(body) if log_format == "markdown" else body
    assert log_format == "text" or not re.search(r"<script|<a |<em>|<code>", rendered)


@given(st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs")), max_size=60))
def test_any_line_survives_markdown(text: str) -> None:
    """What a renderer of markdown shows of a fact is the fact, but for spaces."""
    body = compose("markdown", {"body": "{{ summary }}"}, summary=text).body
    assert shown(body, "markdown") == " ".join(text.split())


@pytest.mark.parametrize("log_format", FORMATS)
def test_everything_known_is_in_the_log(log_format: LogFormat) -> None:
    """A log tells who, when in the customer's zone, how long, how it ended, the links and what an AI made of it."""
    body = compose(
        log_format,
        started_at=RECEIVED,
        duration=timedelta(seconds=65),
        wait_time=timedelta(seconds=40),
        agent="Bo",
        answer_group="Support",
        ending=Ending.ANSWERED,
        media=(Media(url="https://pbx.example/r/1"), Media(url="https://pbx.example/t/1", kind="transcript")),
        summary="Wants a red one.",
        action_items=("Send prices.",),
        sentiment="positive",
        journey=(Leg(group="Support", ending=Ending.TIMED_OUT), Leg(agent="Bo", group="Support")),
        facts={"Campaign": "Spring"},
    ).body
    seen = shown(body, log_format)
    for fact in (
        "Answered",
        "2026-03-01 13:00:00 (Europe/Stockholm)",
        "1 min 05 s",
        "40 s",
        CALLER,
        OWN,
        "Wants a red one.",
    ):
        assert fact in seen
    for fact in ("Support, timed out → Bo (Support)", "positive", "pbx.example/r/1", "pbx.example/t/1", "Send prices."):
        assert fact in seen
    assert re.search(r"Campaign:\s+Spring", seen)


_OUT: dict[str, Any] = {"from_number": OWN, "to_number": CALLER, "direction": Direction.OUTBOUND}


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (
            {"ending": Ending.ABANDONED, "wait_time": timedelta(seconds=40)},
            "Missed: the caller gave up after 40 s in Support",
        ),
        (
            {"ending": Ending.TIMED_OUT, "wait_time": timedelta(seconds=40)},
            "Missed: nobody answered in Support for 40 s",
        ),
        ({"ending": Ending.ABANDONED}, "Missed: the caller gave up in Support"),
        ({"ending": Ending.MISSED, "direction": Direction.INBOUND}, "Missed"),
        ({"ending": Ending.VOICEMAIL}, "Voicemail: the caller left a message"),
        ({"ending": Ending.ABANDONED, **_OUT}, "Not answered"),
        ({"ending": Ending.TIMED_OUT, **_OUT}, "Not answered"),
    ],
)
def test_outcome_is_told_in_words(facts: dict[str, Any], words: str) -> None:
    """Who was not reached reads why, in the subject and in the body."""
    call = compose(answer_group="Support", **facts)
    assert f"Outcome: {words}\n" in call.body
    assert call.subject == f"{call.direction.value.capitalize()} call: {words}"


@pytest.mark.parametrize(
    ("facts", "direction", "contact"),
    [
        ({}, Direction.INBOUND, CALLER),
        ({"from_number": OWN, "to_number": CALLER}, Direction.OUTBOUND, CALLER),
        ({"from_number": OWN, "to_number": CALLER, "direction": Direction.INBOUND}, Direction.OUTBOUND, CALLER),
        ({"from_number": "201", "to_number": CALLER}, Direction.OUTBOUND, CALLER),
        ({"from_number": "u-7", "to_number": CALLER}, Direction.OUTBOUND, CALLER),
        ({"from_number": "u-7", "to_number": CALLER, "direction": Direction.INBOUND}, Direction.INBOUND, "u-7"),
        ({"from_number": "u-7", "to_number": CALLER, "user_id": "u-7"}, Direction.OUTBOUND, CALLER),
        ({"to_number": "0707654321", "direction": Direction.OUTBOUND}, Direction.OUTBOUND, "+46707654321"),
        ({"to_number": None}, Direction.INBOUND, CALLER),
        ({"from_number": None, "to_number": None}, Direction.INBOUND, ""),
    ],
)  # fmt: skip
def test_contact_is_on_the_other_side(facts: dict[str, Any], direction: Direction, contact: str) -> None:
    """The customer's own number, an extension and the user's id are never the contact's."""
    call = compose(**facts)
    assert (call.direction, str(call.contact_number)) == (direction, contact)


@pytest.mark.parametrize(
    ("told", "shown_as"),
    [
        ("2026-03-01T12:01:40Z", "2026-03-01 13:01:40 (Europe/Stockholm)"),
        ("2026-07-01T12:01:40+00:00", "2026-07-01 14:01:40 (Europe/Stockholm)"),
        ("2026-03-01", "2026-03-01"),
        ("0001-01-01T00:00:00+14:00", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_moment_that_a_sender_tells_is_in_the_customers_zone(told: str, shown_as: str) -> None:
    """People read every moment in their own zone, also one that has no field of its own."""
    assert f"Recorded at: {shown_as}" in compose(facts={"Recorded at": told}).body


def test_who_only_rang_spoke_with_nobody() -> None:
    """The subject says for whom a missed call was, and who called in vain; only who spoke did so with somebody."""
    assert compose(agent="Bo", ending=Ending.ANSWERED).subject == "Inbound call with Bo"
    assert compose(agent="Bo", ending=Ending.MISSED).subject == "Inbound call for Bo: Missed"
    assert compose(agent="Bo", ending=Ending.MISSED, **_OUT).subject == "Outbound call by Bo: Not answered"


def test_length_that_nobody_told_is_not_zero() -> None:
    """A voicemail, or what an AI says alone, has no length: the log claims none, where a call of 0 s has that."""
    call = compose()
    assert (call.subject, call.body) == ("Inbound call", call.body.replace("Duration", ""))
    assert compose(duration=timedelta()).subject == "Inbound call, 0 s"


def test_call_that_nobody_timed_ends_when_it_was_told() -> None:
    """Without a start, the call began its length before we heard of it."""
    assert compose(duration=timedelta(minutes=5)).started_at == RECEIVED - timedelta(minutes=5)
    assert compose().duration == timedelta()


def test_owner_is_whoever_of_the_users_is_known() -> None:
    """The log is given to the user's id, e-mail or name, else to one of the journey, else to the default."""
    owners = {"owners": {"ada@acme.se": "71", "bo ek": "72", "default": "70"}}
    assert compose(calls=owners, username="Ada@acme.se", agent="Bo Ek").owner == "71"
    assert compose(calls=owners, agent="Cy", journey=(Leg(agent="Bo Ek"), Leg(agent="Cy"))).owner == "72"
    assert compose(calls=owners, user_id="u-9").owner == "70"
    assert compose(agent="Bo Ek").owner is None


def test_owner_is_the_last_one_who_spoke() -> None:
    """Of those who handed the call on and those who only rang nobody gets the log, where he who took it is known."""
    reception, sales = Leg(user_id="u-1", agent="Ada"), Leg(user_id="u-2", agent="Bo")
    rang = Leg(agent="Cy", ending=Ending.MISSED)
    owners = {"owners": {"u-1": "71", "u-2": "72", "cy": "73"}}
    assert compose(calls=owners, user_id="u-1", journey=(reception, sales, rang)).owner == "72"
    assert compose(calls=owners, user_id="u-1", journey=(reception, Leg(agent="Dan"))).owner == "71"


def test_link_that_dies_or_is_none_is_not_logged() -> None:
    """A recording whose link expires, or is no web address, is not put into the CRM; ours comes first."""
    assert compose(media=(Media(url="https://x.example/1", expires_at=RECEIVED),)).recording is None
    assert compose(media=(Media(url="javascript:alert(1)"),)).recording is None
    assert compose("html", media=(Media(url='https://x.example/"><script>'),)).body.count("<script>") == 0


@pytest.mark.parametrize("log_format", FORMATS)
def test_huge_facts_fit_and_markup_is_whole(log_format: LogFormat) -> None:
    """However much is told, the body keeps its limit, and HTML is closed."""
    huge = "<&" * 60_000
    facts = {f"{n} {huge}": huge for n in range(99)}
    call = compose(
        log_format,
        caller_name=huge,
        summary=huge,
        action_items=(huge,) * 99,
        facts=facts,
    )
    assert 1_000 < len(call.body) <= MAX_BODY
    assert len(call.subject) <= MAX_SUBJECT
    assert log_format != "html" or call.body.count("<li>") == call.body.count("</li>")


def test_template_of_the_customer_is_used_and_its_failure_loses_no_call() -> None:
    """A customer's words stand in the log; a template that fails against all expectation gives way to ours."""
    calls = {"subject": "{{ agent }}\n{{ duration }}", "body": "<i>{{ agent }}</i>"}
    assert compose("html", calls, agent="<Bo>").body == "<i>&lt;Bo&gt;</i>"
    assert compose("html", calls, agent="<Bo>", duration=timedelta()).subject == "<Bo> 0 s"
    assert "From: " in compose(calls={"body": "{{ agent.wrong }}"}).body
