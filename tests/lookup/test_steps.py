"""The steps of a lookup that asks a CRM by HTTP, and what of it is not shown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from threading import Event
from typing import Any, ClassVar

import pytest

from middleware.crm.auth import AuthBase, bearer
from middleware.crm.base import Context, CRMAdapter
from middleware.crm.settings import Secret
from middleware.lookup.card import Hit
from middleware.lookup.inquiry import Inquiry
from middleware.lookup.trace import MAX_PARTS, Trace
from middleware.model.activity import Note, Task
from middleware.model.contact import Contact, ContactNumber
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import LookupConfig, Source, Tenant
from middleware.testing.faults import FaultServer
from tests.lookup.zoo import ADA, NUMBER, Desk, NoSettings, Zoo, note, tenant_of

KEY = "k7Qz-very-secret-4711"


@dataclass
class Stub(CRMAdapter[NoSettings]):
    """Asks a real server: for the contact by number, for notes by his id, for tasks by both."""

    name: ClassVar[str] = "stub"
    label: ClassVar[str] = "Stub"
    settings_type: ClassVar[type] = NoSettings
    url: str = ""

    @property
    def base_url(self) -> str:
        return self.url

    def auth(self) -> AuthBase:
        return bearer(Secret(KEY))

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        ctx.http.get("contacts", params={"phone": str(number)})
        yield replace(ADA, id="4711")

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        ctx.http.get(f"contacts/{contact.id}/notes")
        return [note(1)]

    def find_tasks(self, contact: Contact, ctx: Context) -> Iterable[Task]:
        ctx.http.get(f"tasks/{contact.id}", params={"phone": contact.numbers[0].number})
        return []


@pytest.fixture
def crm() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def tenant(crm: FaultServer) -> Tenant:
    return replace(tenant_of(Zoo()), sources=(Source(name="stub", adapter=Stub(url=crm.url)),))


def steps(desk: Desk) -> list[tuple[int, str]]:
    return [(step["level"], step["name"]) for step in desk.trace.document()["steps"]]


def step(desk: Desk, name: str) -> dict[str, Any]:
    return next(step for step in desk.trace.document()["steps"] if step["name"] == name)


def test_every_step_and_every_request_is_told(desk: Desk, crm: FaultServer) -> None:
    """Cache, search, activities, each with its requests, assembly and answer: nothing of the time is unexplained."""
    assert isinstance(desk.ask(tenant(crm)), Hit)
    told = steps(desk)
    assert told[:3] == [(0, "cache"), (0, "contact"), (1, "GET /contacts")]
    assert told[-2:] == [(0, "assembly"), (0, "answer")]
    notes, tasks = told.index((0, "notes")), told.index((0, "tasks"))
    assert told[notes + 1] == (1, "GET /contacts/…/notes")
    assert told[tasks + 1] == (1, "GET /tasks/…")


def test_a_refused_second_request_is_seen_below_its_step(desk: Desk, crm: FaultServer) -> None:
    """A CRM that has had enough after the first request: who was asked, what it said, for how long it is spared."""
    crm.faults["/contacts/4711/notes"] = "status/429?retry-after=30"
    assert desk.ask(tenant(crm)) == Hit(body=b"Ada Webb", is_partial=True)
    assert step(desk, "GET /contacts")["note"] == "200"
    assert step(desk, "GET /contacts/…/notes")["note"] == "429, again in 30 s, RateLimitedError"
    assert step(desk, "notes")["note"] == "RateLimitedError"
    assert "stub: notes failed (RateLimitedError)" in desk.trace.left_out


def test_a_slow_second_request_is_still_under_way_when_the_answer_is_given(desk: Desk, crm: FaultServer) -> None:
    """Which request cost the notes is seen, though it has not ended."""
    crm.delays["/contacts/4711/notes"] = 60
    assert desk.ask(tenant(crm), patience=2.0) == Hit(body=b"Ada Webb", is_partial=True)
    assert step(desk, "GET /contacts/…/notes")["took"] is None
    assert step(desk, "GET /contacts")["took"] is not None
    assert desk.trace.left_out == ["stub: notes late"]


def test_steps_hold_no_number_no_id_and_no_secret(desk: Desk, crm: FaultServer) -> None:
    """Whoever reads a trace learns neither who was asked for nor with which key, also when the CRM fails."""
    for fault in ("ok", "status/500", "status/401", "reset", "not-json"):
        crm.faults = dict.fromkeys(("/contacts/4711/notes", "/tasks/4711"), fault)
        desk.ask(replace(tenant(crm), revision=fault))
        text = json.dumps(desk.trace.document())
        assert "GET /tasks" in text
        for hidden in (NUMBER[1:], NUMBER[3:], ADA.numbers[0].number, "4711", KEY, "Ada", crm.url.rpartition(":")[2]):
            assert hidden not in text, fault


def test_what_is_not_shown_is_told(desk: Desk) -> None:
    """Contacts without the number, the others who have it, and all but the latest ten notes are dropped in words."""
    stranger = replace(ADA, id="2", numbers=(ContactNumber(number="070-174 06 99"),))
    twin = replace(ADA, id="3")
    first = Zoo(contacts=lambda: [ADA, stranger, twin], notes=lambda: [note(days) for days in range(12)])
    desk.ask(tenant_of(first))
    assert desk.trace.dropped == [
        "zoo0: 1 of 3 contacts: they do not have the number",
        "zoo0: 1 more contacts with the number (several = latest)",
        "zoo0: 2 of 12 notes: the latest ten are shown",
    ]


def test_contacts_that_the_card_names_are_not_dropped(desk: Desk) -> None:
    """With ``several = "all"`` the others stand on the card, and nothing says that they do not."""
    zoo = Zoo(contacts=lambda: [ADA, replace(ADA, id="3")])
    desk.ask(tenant_of(zoo, lookup=LookupConfig(several="all")))
    assert desk.trace.dropped == []


def test_a_contact_of_a_later_crm_is_told(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where two CRMs have the number, the trace says that the second one's contact was there and is not shown."""
    second_has_come, report = Event(), Inquiry._report

    def reporting(self: Inquiry, place: int, result: Any) -> None:
        report(self, place, result)
        if place == 1:
            second_has_come.set()

    monkeypatch.setattr(Inquiry, "_report", reporting)
    first = Zoo(contacts=lambda: [ADA] if second_has_come.wait(20) else [])
    desk.ask(tenant_of(first, Zoo(), lookup=LookupConfig(budget=timedelta(seconds=60))), patience=60)
    assert desk.trace.dropped == ["zoo1: its contact, since zoo0 has one"]


def test_a_step_of_many_requests_keeps_the_first() -> None:
    """An adapter that pages for long does not make a trace of any length."""
    trace = Trace()
    with trace.span("notes", "crm") as step:
        for _ in range(3 * MAX_PARTS):
            with trace.span("GET /notes", within=step, least=0.001):
                pass
            with trace.span("GET /notes", within=step):
                pass
    assert len(step.parts) == MAX_PARTS


def test_an_answer_from_the_cache_is_all_cache(desk: Desk) -> None:
    """Where nobody was asked there is one step, and it is as long as the lookup."""
    desk.ask(tenant_of(Zoo()))
    desk.ask(tenant_of(Zoo()))
    assert desk.trace.cache == "fresh"
    (only,) = desk.trace.document(took=0.005)["steps"]
    assert (only["name"], only["begin"], only["took"]) == ("cache", 0.0, 5.0)


def test_authentication_is_the_first_step_where_somebody_had_to_show_who_he_is(desk: Desk) -> None:
    """A request's first milliseconds are those in which its secret was checked."""
    desk.ask(tenant_of(Zoo()))
    desk.trace.known_at = 0.002
    first, second, *_ = desk.trace.document()["steps"]
    assert (first["name"], first["begin"], first["took"]) == ("authentication", 0.0, 2.0)
    assert (second["name"], second["begin"]) == ("cache", 2.0)
