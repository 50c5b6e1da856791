"""A call is written into a CRM that cannot search by number: its contact comes from the index, or is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from middleware.crm.base import Context
from middleware.delivery.outcome import Delivered, Parked, Wait, outcome_of
from middleware.delivery.write import Job, write_call
from middleware.errors import IndexNotReadyError
from middleware.model.call import CallRecord, Direction, LoggedCall
from middleware.model.contact import Contact
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from middleware.tenants.tenant import Tenant
from tests.index.rolodex import ReadableRolodex, Town, tenant_with
from tests.lookup.zoo import NUMBER

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


@dataclass(eq=False)
class Diary(ReadableRolodex):
    """Remembers whose calls were written."""

    written: list[str | None] = field(default_factory=list)

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        self.written.append(contact.display_name if contact else None)
        return LoggedCall(external_id=call.key)


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town.at(f"sqlite:///{tmp_path / 'inbox.db'}")
    yield town
    town.inbox.close()


def job(town: Town, tenant: Tenant) -> Job:
    return Job(tenant=tenant, source=tenant.sources[0], call=CALL, is_in_doubt=False, earlier=None, index=town.store)


def test_a_call_is_logged_with_the_contact_of_the_index(town: Town) -> None:
    """The contact of the call is who has the number by the index, as the CRM has him now."""
    crm = Diary()
    crm.put("ada", NUMBER, name="Ada Webb")
    tenant = tenant_with(crm)
    town.sync(tenant)
    crm.put("ada", NUMBER, name="Ada Lovelace")
    assert isinstance(write_call(job(town, tenant), Deadline.after(timedelta(seconds=5))), Delivered)
    assert crm.written == ["Ada Lovelace"]


def test_who_has_the_number_no_more_gets_no_call(town: Town) -> None:
    """A contact whose number has changed since is not taken for the caller."""
    crm = Diary()
    crm.put("ada", NUMBER)
    tenant = tenant_with(crm)
    town.sync(tenant)
    crm.put("ada", "+46701740699")
    assert isinstance(write_call(job(town, tenant), Deadline.after(timedelta(seconds=5))), Parked)
    assert crm.written == []


def test_an_index_that_cannot_tell_lets_the_call_wait(town: Town) -> None:
    """Nobody is taken for unknown, and nothing is created, while the index is not built; no attempt is used up."""
    with pytest.raises(IndexNotReadyError) as raised:
        write_call(job(town, tenant_with(Diary())), Deadline.after(timedelta(seconds=5)))
    assert isinstance(outcome_of(raised.value), Wait)
