"""Lookups of a CRM that cannot search by number: from its index, when the CRM is down as well."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.crm.base import Context
from middleware.errors import CRMUnavailableError, StorageError
from middleware.lookup.card import Failed, Hit, Miss
from middleware.lookup.indexed import Indexed
from middleware.lookup.search import INDEX_PAUSE
from middleware.model.contact import Contact
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import IndexConfig, LookupConfig, Source, Tenant
from tests.index.rolodex import ReadableRolodex, Rolodex, Town, tenant_with
from tests.lookup.zoo import ADA, NUMBER, Desk, Zoo

UNKNOWN = "+46701740699"


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    town = Town.at(f"sqlite:///{tmp_path / 'inbox.db'}")
    yield town
    town.inbox.close()


@pytest.fixture
def desk(town: Town, tmp_path: Path) -> Iterator[Desk]:
    desk = Desk(tmp_path / "generations", index=town.store)
    yield desk
    desk.close()


def notes_of(desk: Desk) -> dict[str, str]:
    return {span.name: span.note for span in desk.trace.spans}


def indexed(crm: Rolodex, town: Town) -> Tenant:
    tenant = tenant_with(crm)
    town.sync(tenant)
    return tenant


def test_a_crm_without_search_is_looked_up_in_its_index(town: Town, desk: Desk) -> None:
    """The caller is recognised though his CRM finds nobody by number, and the trace says where from."""
    crm = Rolodex()
    crm.put("ada", NUMBER, name="Ada Webb")
    assert desk.ask(indexed(crm, town)) == Hit(body=b"Ada Webb")
    assert notes_of(desk)["index"] == "1 of 1 have the number, as of 2026-03-01 12:00:00 UTC"


def test_the_contact_is_shown_as_the_crm_has_him_now(town: Town, desk: Desk) -> None:
    """A CRM that reads contacts by id is asked for him, side by side with his activities."""
    crm = ReadableRolodex()
    crm.put("ada", NUMBER, name="Ada Webb")
    tenant = indexed(crm, town)
    crm.put("ada", NUMBER, name="Ada Lovelace")
    assert desk.ask(tenant) == Hit(body=b"Ada Lovelace")
    assert [note.body for note in desk.cards[-1].activities] == ["about ada"]
    assert notes_of(desk)["contact by id"] == "as it is now"


def test_an_id_that_is_not_the_contacts_is_not_asked_for(town: Town, desk: Desk) -> None:
    """Where people type other ids than the CRM's own, nobody is taken for gone who is not found by his own."""

    class Typed(ReadableRolodex):
        knows_contact_ids = False

        def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
            return None

    crm = Typed()
    crm.put("ada", NUMBER, name="Ada Webb")
    assert desk.ask(indexed(crm, town)) == Hit(body=b"Ada Webb")


def test_a_crm_that_is_down_hides_no_contact(town: Town, desk: Desk) -> None:
    """During an outage the contact is answered as the index has him, and the trace says so."""
    crm = ReadableRolodex()
    crm.put("ada", NUMBER, name="Ada Webb")
    tenant = indexed(crm, town)
    crm.down = CRMUnavailableError("it is down")
    town.later(days=3)
    assert desk.ask(tenant) == Hit(body=b"Ada Webb", is_partial=True)
    left_out = "; ".join(desk.trace.left_out)
    assert "the contact as the CRM has it now (CRMUnavailableError): it is from the index" in left_out
    assert "notes failed" in left_out


@pytest.mark.parametrize("numbers", [[], [UNKNOWN]])
def test_who_has_the_number_no_more_is_not_shown(town: Town, desk: Desk, numbers: list[str]) -> None:
    """A contact that is gone, or whose number has changed since, is nobody's caller; the next one who has it is."""
    crm = ReadableRolodex()
    crm.put("ada", NUMBER)
    crm.put("bob", NUMBER, name="Bob")
    tenant = indexed(crm, town)
    crm.put("ada", *numbers)
    assert desk.ask(tenant) == Hit(body=b"Bob")
    del crm.contacts["bob"]
    assert isinstance(desk.ask(tenant, numeric_id="7"), Miss)


def test_a_miss_of_a_young_index_is_a_miss(town: Town, desk: Desk) -> None:
    """Nobody has the number: that is answered and kept, and says that the index says so."""
    crm = Rolodex()
    crm.put("ada", NUMBER)
    tenant = indexed(crm, town)
    missed = desk.ask(tenant, UNKNOWN)
    assert isinstance(missed, Miss)
    assert "its index (0 of 1 have the number, as of" in missed.reason


@pytest.mark.parametrize("state", ["never begun", "interrupted", "too old"])
def test_an_index_that_cannot_tell_is_no_miss(town: Town, desk: Desk, state: str) -> None:
    """Who may be unknown only to the index is answered 503 and never kept as unknown; who is in it is found."""
    crm = Rolodex()
    crm.put("ada", NUMBER)
    if state == "interrupted":
        for i in range(600):
            crm.put(f"z{i:03}", f"+467017{i:05}")
        crm.fails_after, crm.error = 550, CRMUnavailableError("it is down")
    tenant = tenant_with(crm)
    if state != "never begun":
        town.sync(tenant)
        town.later(hours=1)
    failed = desk.ask(tenant, UNKNOWN)
    assert failed == Failed(reason="IndexNotReadyError", retry_after=INDEX_PAUSE)
    assert "m8crm index status" in failed.words
    assert ("not built" if state != "too old" else "too old to believe") in notes_of(desk)["index"]
    assert isinstance(desk.ask(tenant), Failed if state == "never begun" else Hit)
    crm.fails_after = None
    town.later(hours=25)
    town.sync(tenant, is_forced=True)
    town.sync(tenant, is_forced=True)
    assert isinstance(desk.ask(tenant, UNKNOWN), Miss)


def searchable(zoo: Zoo) -> Tenant:
    tenant = tenant_with(zoo)
    return Tenant(
        id="acme",
        name="Acme",
        region="SE",
        timezone=tenant.timezone,
        revision="r1",
        secrets={},
        sources=(Source(name="zoo", adapter=zoo, index=IndexConfig()),),
        lookup=LookupConfig(),
    )


class Given:
    """An index that says what the test wants."""

    def __init__(self, answer: Indexed) -> None:
        self.answer = answer

    def find(self, _tenant: Tenant, _source: Source, _number: PhoneNumber) -> Indexed:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "asked", "outcome"),
    [
        (Indexed(contacts=(ADA,), is_final=True), 0, Hit),
        (Indexed(is_final=True), 0, Miss),
        (Indexed(is_final=False), 1, Hit),
    ],
    ids=["found", "missed", "too old"],
)
def test_a_crm_that_can_search_is_asked_only_when_its_index_cannot_tell(
    tmp_path: Path, answer: Indexed, asked: int, outcome: type
) -> None:
    """An index that was switched on saves the search, and never hides a contact."""
    desk, zoo = Desk(tmp_path / "generations", index=Given(answer)), Zoo()
    assert isinstance(desk.ask(searchable(zoo)), outcome)
    assert len(zoo.asked) == asked
    desk.close()


def test_a_database_that_is_down_is_no_miss(town: Town, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the index cannot be read the answer is 503."""
    crm = Rolodex()
    crm.put("ada", NUMBER)
    tenant = indexed(crm, town)

    def down(**_kwargs: object) -> None:
        raise StorageError("it is down")

    monkeypatch.setattr(town.inbox.database, "read", down)
    assert isinstance(desk.ask(tenant), Failed)
    assert notes_of(desk)["index"] == "the index cannot be read"


def test_only_what_lacks_the_search_lacks_it() -> None:
    """An adapter that overrides find_contacts is searched."""
    assert not Rolodex().is_searchable
    assert Zoo().is_searchable
