"""Whose call it is, and what is written for it: one record, the right contact, nobody created twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from middleware.crm.base import Context
from middleware.delivery.outcome import Delivered, Ignored, Outcome, Parked
from middleware.delivery.write import Job, write_call
from middleware.errors import CRMRejectedError, CRMTimeoutError
from middleware.model.call import CallRecord, Direction, LoggedCall
from middleware.model.contact import Contact, ContactDraft, ContactNumber
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber, parse_number
from middleware.tenants.tenant import CallsConfig
from tests.lookup.zoo import ADA, NOW, NUMBER, Zoo, tenant_of

CALL = CallRecord(
    id="i",
    key="k",
    direction=Direction.INBOUND,
    contact_number=parse_number(NUMBER, "SE"),
    own_number=parse_number("+46101234567", "SE"),
    started_at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    duration=timedelta(),
    subject="Call",
    body="Text",
)
BO = replace(ADA, id="2", display_name="Bo Ek", updated_at=NOW)
STRANGER = Contact(id="9", display_name="Stranger", numbers=(ContactNumber(number="0707654321"),))


@dataclass
class Crm(Zoo):
    """A CRM that remembers what is written; ``fail`` is raised by tasks."""

    people: list[Contact] = field(default_factory=list)
    able: tuple[str, ...] = ("log_call", "find_logged_call", "update_call", "create_contact", "create_task")
    written: list[tuple[CallRecord, Contact | None]] = field(default_factory=list)
    tasks_made: dict[str, str] = field(default_factory=dict)
    fail: Exception | None = None

    def can(self, method: str) -> bool:
        return method in self.able

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        return list(self.people)

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        return next((person for person in [*self.people, STRANGER] if person.id == numeric_id), None)

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        made = ContactNumber(number=str(draft.number))
        self.people.append(Contact(id=f"new-{len(self.people)}", display_name=draft.display_name, numbers=(made,)))
        return self.people[-1]

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        self.written.append((call, contact))
        return LoggedCall(external_id=call.key)

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        return LoggedCall(external_id=call.key) if self.written else None

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        self.written.append((call, None))

    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        if self.fail:
            raise self.fail
        self.tasks_made[call.task_key(text)] = text


def write(
    crm: Crm,
    call: CallRecord = CALL,
    *,
    is_in_doubt: bool = False,
    earlier: LoggedCall | None = None,
    **calls: Any,
) -> Outcome:
    tenant = replace(tenant_of(crm), calls=CallsConfig(log_to=("zoo0",), **calls))
    job = Job(tenant=tenant, source=tenant.sources[0], call=call, is_in_doubt=is_in_doubt, earlier=earlier)
    return write_call(job, Deadline.after(timedelta(seconds=30)))


@pytest.mark.parametrize(("several", "name"), [("latest", "Bo Ek"), ("first", "Ada Webb"), ("all", "Bo Ek")])
def test_of_several_contacts_the_policy_takes_one(several: str, name: str) -> None:
    """A shared number is one record, with the contact that the customer wants."""
    crm = Crm(people=[ADA, BO])
    write(crm, several=several)
    [(call, contact)] = crm.written
    assert contact
    assert contact.display_name == name
    assert [other.display_name for other in call.other_contacts] == (["Ada Webb"] if several == "all" else [])


def test_others_who_share_the_number_are_named_also_after_an_update() -> None:
    """With ``all`` the body names the others, whenever it is written."""
    crm = Crm(people=[ADA, BO])
    write(crm, several="all")
    write(crm, several="all", earlier=LoggedCall(external_id="k"))
    assert [call.body for call, _ in crm.written] == ["Text\n\nThe number is also that of: Ada Webb"] * 2


def test_sender_picks_among_those_with_the_number() -> None:
    """The contact that a sender names is taken when he has the number, and no one else on his word alone."""
    crm = Crm(people=[ADA, BO], able=("log_call", "find_contact_by_id"))
    write(crm, replace(CALL, contact_id="1"))
    write(crm, replace(CALL, contact_id="9"))
    assert [contact and contact.id for _, contact in crm.written] == ["1", "2"]
    crm.people.clear()
    assert isinstance(write(crm, replace(CALL, contact_id="9")), Parked)


def test_sender_is_believed_where_there_is_no_number() -> None:
    """A call from an address has no number to compare: the contact's id counts."""
    crm = Crm(able=("log_call", "find_contact_by_id"))
    assert isinstance(write(crm, replace(CALL, contact_number=parse_number("9", "SE"), contact_id="9")), Delivered)
    assert isinstance(write(crm, replace(CALL, contact_number=parse_number("anonymous", "SE"))), Parked)


def test_id_that_the_crm_refuses_is_nobody_s() -> None:
    """An address, or another system's id, that the CRM takes for no id parks the call: nothing is wrong with it."""

    class Strict(Crm):
        def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
            raise CRMRejectedError("HTTP 400")

    crm = Strict(able=("log_call", "find_contact_by_id"))
    for number in ("ada@acme.se", "anonymous", NUMBER):
        assert isinstance(
            write(crm, replace(CALL, contact_number=parse_number(number, "SE"), contact_id="x-9")), Parked
        )


def test_unknown_caller_is_created_once() -> None:
    """``create`` makes a contact with the name that the sender knows, and the next call finds him."""
    crm = Crm()
    write(crm, replace(CALL, caller_name="Cy Dahl"), unknown="create")
    write(crm, CALL, unknown="create")
    assert [person.display_name for person in crm.people] == ["Cy Dahl"]
    assert {contact.id for _, contact in crm.written if contact} == {"new-0"}


def test_who_may_have_been_created_is_looked_for_first() -> None:
    """An attempt that died after it had created the contact leaves one, not two."""
    crm = Crm(people=[ADA])
    write(crm, unknown="create", is_in_doubt=True)
    assert len(crm.people) == 1


def test_nobody_is_parked_ignored_or_named_by_his_number() -> None:
    """Without the capability ``create`` parks; a caller without a name is called what he calls from."""
    assert isinstance(write(Crm(able=("log_call",)), unknown="create"), Parked)
    assert isinstance(write(Crm(), unknown="park"), Parked)
    assert isinstance(write(Crm(), unknown="ignore"), Ignored)
    crm = Crm()
    write(crm, replace(CALL, caller_name="070-174 06 05"), unknown="create")
    assert crm.people[0].display_name == NUMBER


def test_action_items_become_tasks_once_and_only_on_request() -> None:
    """Each action item is one task, however often the call is told."""
    crm, call = Crm(people=[ADA]), replace(CALL, action_items=("Send prices.", "Call back."))
    write(crm, call)
    assert crm.tasks_made == {}
    write(crm, call, tasks=True)
    write(crm, call, tasks=True, earlier=LoggedCall(external_id="k"))
    assert sorted(crm.tasks_made.values()) == ["Call back.", "Send prices."]


def test_task_that_fails_never_repeats_the_call() -> None:
    """A task is tried again only where the next attempt finds the call; otherwise it is told."""
    call = replace(CALL, action_items=("Send prices.",))
    crm = Crm(people=[ADA], fail=CRMTimeoutError("no answer in time"))
    with pytest.raises(CRMTimeoutError):
        write(crm, call, tasks=True)
    crm.fail = None
    write(crm, call, tasks=True, is_in_doubt=True)
    assert (len(crm.written), len(crm.tasks_made)) == (1, 1)
    blind = Crm(people=[ADA], able=("log_call", "create_task"), fail=CRMTimeoutError("no answer in time"))
    refused = Crm(people=[ADA], fail=CRMRejectedError("no"))
    for other in (blind, refused):
        outcome = write(other, call, tasks=True)
        assert isinstance(outcome, Delivered)
        assert "Not all of its tasks" in outcome.words
