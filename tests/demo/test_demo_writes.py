"""The demo's CRMs keep what is known of a call, and take new contacts and tasks."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from datetime import timedelta

from middleware.crm.context import build_context
from middleware.model.call import CallRecord, Direction, Ending
from middleware.model.contact import Contact, ContactDraft
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from middleware.tenants.tenant import Source
from tests.conftest import NOW, House

CALL = CallRecord(
    id="i",
    key="k",
    direction=Direction.INBOUND,
    contact_number=parse_number("+447700900999", "GB"),
    own_number=parse_number("+442079460100", "GB"),
    started_at=NOW,
    duration=timedelta(seconds=65),
    subject="Call",
    body="Text",
    ending=Ending.ANSWERED,
    owner="71",
)


def source_of(house: House, customer: str) -> Source:
    tenant = house.parts.tenants.get(customer)
    assert tenant
    return tenant.sources[0]


def test_new_contact_is_found_and_gets_each_task_once(house: House) -> None:
    """A contact that is created by its number is found by it, and a task that comes again is one task."""
    adapter = source_of(house, "harbour").adapter
    ctx = build_context(adapter, region="GB", deadline=Deadline.after(timedelta(seconds=30)))
    draft = ContactDraft(number=CALL.contact_number, display_name="Cy Dale")
    made: Contact = adapter.create_contact(draft, ctx)
    found = list(adapter.find_contacts(CALL.contact_number, ctx))
    assert [(contact.id, contact.display_name) for contact in found] == [(made.id, "Cy Dale")]
    for _ in range(2):
        adapter.create_task(made, "Send prices.", CALL, ctx)
    assert [task.header for task in adapter.find_tasks(made, ctx)] == ["Send prices."]


def test_facts_of_a_call_have_columns_of_their_own(house: House) -> None:
    """Outcome, owner and a recording that comes later stand in the CRM beside the text."""
    adapter = source_of(house, "nordlys").adapter
    ctx = build_context(adapter, region="SE", deadline=Deadline.after(timedelta(seconds=30)))
    logged = adapter.log_call(CALL, None, ctx)
    adapter.update_call(logged, replace(CALL, recording="https://x.example/r"), ctx)
    [path] = (file for file in house.folder.rglob("nordlys*") if file.suffix in (".db", ".sqlite", ".sqlite3"))
    with sqlite3.connect(path) as db:
        rows = db.execute("SELECT outcome, owner, recording FROM call_log WHERE call_key = 'k'").fetchall()
    db.close()
    assert rows == [("answered", "71", "https://x.example/r")]
