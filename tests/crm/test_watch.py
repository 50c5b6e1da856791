"""The requests of a session as whoever watches it sees them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.crm.session import CRMSession
from middleware.crm.watch import name_of
from middleware.errors import CRMError, RateLimitedError
from middleware.lookup.trace import Span, Trace
from middleware.model.deadline import Clock, Deadline
from middleware.testing.faults import FaultServer

BASE = "https://crm.example/rest/1/a-webhooks-secret"


@pytest.fixture
def crm() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def asked(session: CRMSession, path: str, clock: Clock = time.monotonic) -> list[Span]:
    """Return the steps that a request to ``path`` leaves."""
    trace = Trace(clock=clock)
    with suppress(CRMError):
        session.watched(trace.span).get(path, params={"phone": "+46701740605"})
    return trace.spans


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("api/v2/contacts/search", "GET /api/v2/contacts/search"),
        ("contacts.json", "GET /contacts.json"),
        ("/crm/v3/objects/contacts/4711/associations", "GET /crm/v3/objects/contacts/…/associations"),
        ("api/data/v9.2/contacts(4711)", "GET /api/data/v9.2/contacts(…)"),
        ("search/%2B46701740605?phone=%2B46701740605", "GET /search/…"),
        ("lists/MgwZkTqRbXvBnPsL/people", "GET /lists/…/people"),
        (f"{BASE}/contacts?page=2", "GET /contacts"),
        ("https://crm.example/elsewhere/contacts", "GET …"),
    ],
)
def test_a_requests_name_is_its_way_without_what_was_asked_for(path: str, name: str) -> None:
    """People see which of a CRM's interfaces was asked, and neither for what nor with which key."""
    assert name_of("GET", path, BASE) == name


@given(
    parts=st.lists(st.text(st.characters(exclude_characters="/?#"), max_size=12), max_size=5),
    secret=st.from_regex(r"[A-Za-z0-9+%_-]*[0-9][A-Za-z0-9+%_-]*[0-9]{2}", fullmatch=True),
    place=st.integers(0, 5),
)
def test_no_path_brings_a_number_into_a_name(parts: list[str], secret: str, place: int) -> None:
    """Whatever an adapter puts into a path, a number, an id with digits and a key are not told."""
    path = "/".join([*parts[:place], secret, *parts[place:]])
    assert secret not in name_of("GET", path, BASE).split("/")
    assert "…" in name_of("GET", path, BASE)
    assert name_of("GET", f"contacts?key={secret}", BASE) == "GET /contacts"


def test_an_answer_a_refusal_and_a_hanging_server_are_told_apart(crm: FaultServer) -> None:
    """Each request says how it ended, by its status or the class of what went wrong, and how long it took."""
    session = CRMSession(crm.url, Deadline.after(timedelta(seconds=30)))
    assert [span.note for span in asked(session, "contacts")] == ["200"]
    assert [span.note for span in asked(session, "status/404")] == ["404, CRMNotFoundError"]
    short = CRMSession(crm.url, Deadline.after(timedelta(seconds=0.1)))
    (slow,) = asked(short, "hang")
    assert (slow.name, slow.note) == ("GET /hang", "CRMTimeoutError")
    assert slow.took is not None
    assert 0.05 < slow.took < 20


def test_what_is_not_sent_says_when_it_may_be(crm: FaultServer) -> None:
    """A request that the account's protection holds back is a step, too, with the time to wait."""

    class Refusing:
        def __enter__(self) -> None:
            raise RateLimitedError("too many", retry_after=timedelta(seconds=12))

        def __exit__(self, *_: object) -> None:
            """Never comes."""

    session = CRMSession(crm.url, Deadline.after(timedelta(seconds=30)), guard=Refusing)
    assert [span.note for span in asked(session, "contacts")] == ["again in 12 s, RateLimitedError"]
    assert crm.requests == []


def test_waiting_for_the_budget_is_told_apart_from_the_request(crm: FaultServer) -> None:
    """The time until a request had its turn is not the CRM's."""
    now = [100.0]

    class Busy:
        def __enter__(self) -> None:
            now[0] += 0.3

        def __exit__(self, *_: object) -> None:
            """Nothing."""

    def clock() -> float:
        return now[0]

    (span,) = asked(CRMSession(crm.url, Deadline(130.0, clock), guard=Busy), "contacts", clock)
    assert (span.queued, span.begin, span.took) == pytest.approx((0.3, 0.3, 0.0))
