"""What is in a CRM is in its index: what is new, changed and gone, for each customer alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from middleware.errors import CRMUnavailableError
from middleware.index.card import dump_contact, load_contact
from middleware.model.contact import Contact, ContactNumber, Email, Field
from tests.index.rolodex import Rolodex, RolodexSettings, Town, tenant_with
from tests.lookup.zoo import NOW

ADA, BOB, EVE = "+46701740605", "+46701740606", "+46701740607"


@pytest.fixture
def crm() -> Rolodex:
    crm = Rolodex()
    crm.put("ada", "070-174 06 05", "08-465 004 12")
    crm.put("bob", "+46 70 174 06 06")
    return crm


def test_a_number_is_found_however_the_crm_writes_it(town: Town, crm: Rolodex) -> None:
    """A contact is found by each of its numbers, as the lookup has them."""
    tenant = tenant_with(crm)
    town.sync(tenant)
    assert town.who(tenant, ADA) == ["ada"]
    assert town.who(tenant, "+46846500412") == ["ada"]
    assert town.who(tenant, EVE) == []
    assert town.is_final(tenant)


def test_several_share_a_number(town: Town, crm: Rolodex) -> None:
    """Everybody who has a number is found by it."""
    crm.put("cid", ADA)
    tenant = tenant_with(crm)
    town.sync(tenant)
    assert town.who(tenant, ADA) == ["ada", "cid"]


def test_changes_are_followed(town: Town, crm: Rolodex) -> None:
    """Who is new, has another number or none any more is known after the next pass, which reads only the changes."""
    tenant = tenant_with(crm)
    town.sync(tenant)
    town.later(minutes=10)
    crm.put("eve", EVE, at=town.now)
    crm.put("ada", "+46701740608", at=town.now)
    crm.put("bob", at=town.now)  # deleted
    assert town.sync(tenant)
    assert crm.asked[-1][0] == NOW - timedelta(minutes=5)
    numbers = (ADA, "+46846500412", "+46701740608", EVE, BOB)
    assert [town.who(tenant, number) for number in numbers] == [[], [], ["ada"], ["eve"], []]
    assert town.state(tenant).contacts == 2


def test_nothing_is_done_before_it_is_due(town: Town, crm: Rolodex) -> None:
    """Between two passes the CRM is not asked."""
    tenant = tenant_with(crm)
    town.sync(tenant)
    town.sync(tenant)  # the changes during the full pass
    asked = len(crm.asked)
    town.later(minutes=4)
    assert not town.sync(tenant)
    town.later(minutes=1)
    assert town.sync(tenant)
    assert len(crm.asked) == asked + 1


def test_a_full_pass_removes_who_is_gone_without_a_word(town: Town, crm: Rolodex) -> None:
    """A contact that a CRM deletes and does not tell of is gone after the next full pass, and not before."""
    tenant = tenant_with(crm)
    town.sync(tenant)
    del crm.contacts["bob"]
    town.later(hours=1)
    town.sync(tenant)
    assert town.who(tenant, BOB) == ["bob"]
    town.later(hours=24)
    town.sync(tenant)
    assert town.who(tenant, BOB) == []
    assert town.who(tenant, ADA) == ["ada"]
    assert town.state(tenant).contacts == 1


def test_a_crm_that_lists_next_to_nobody_removes_nobody(town: Town) -> None:
    """An answer that lacks most contacts is taken for a fault of the CRM, and told."""
    crm = Rolodex()
    for i in range(300):
        crm.put(f"{i:03}", f"+467017{i:05}")
    tenant = tenant_with(crm)
    town.sync(tenant)
    crm.contacts = {contact_id: crm.contacts[contact_id] for contact_id in list(crm.contacts)[:100]}
    town.later(hours=25)
    town.sync(tenant)
    assert (town.state(tenant).contacts, town.state(tenant).error) == (300, "CRMShrunkError")
    assert town.who(tenant, "+46701700299") == ["299"]


def test_customers_do_not_see_each_other(town: Town, crm: Rolodex) -> None:
    """One customer's contacts are in no other's index, whatever is done to it."""
    acme, other = tenant_with(crm), tenant_with(Rolodex(), id="other")
    town.sync(acme)
    town.sync(other)
    assert town.who(other, ADA) == []
    assert town.is_final(other)
    town.store.drop("other", "rolodex")
    assert town.store.forget("other", ADA) == 0
    assert town.who(acme, ADA) == ["ada"]
    assert not town.is_final(other)


def test_an_index_that_is_too_old_says_of_nobody_that_he_is_unknown(town: Town, crm: Rolodex) -> None:
    """After ``trusted_for`` without a pass a contact is still found, but a miss is not believed."""
    tenant = tenant_with(crm)
    town.sync(tenant)
    town.later(minutes=15)
    assert town.is_final(tenant)
    town.later(minutes=1)
    assert not town.is_final(tenant)
    assert town.who(tenant, ADA) == ["ada"]


def test_other_settings_begin_anew(town: Town, crm: Rolodex) -> None:
    """What was read with other settings is not shown, and is removed when the index is built anew."""
    tenant = tenant_with(crm)
    town.sync(tenant)
    town.sync(tenant)
    assert not town.sync(tenant)  # it is not due
    crm.settings = RolodexSettings(book="customers")
    assert town.who(tenant, ADA) == []
    assert not town.is_final(tenant)
    del crm.contacts["bob"]
    town.sync(tenant)
    assert (town.who(tenant, ADA), town.who(tenant, BOB)) == (["ada"], [])
    assert town.is_final(tenant)


def test_a_failure_is_noted_and_keeps_what_is_there(town: Town, crm: Rolodex) -> None:
    """A CRM that fails is asked again later and later; its contacts are found meanwhile."""
    tenant = tenant_with(crm)
    town.sync(tenant)
    crm.fails_after, crm.error = 0, CRMUnavailableError("it is down")
    town.later(hours=25)
    due = []
    for _ in range(3):
        town.sync(tenant, is_forced=True)
        due.append((town.state(tenant).due_at - town.now).total_seconds())
    assert due == [30.0, 60.0, 120.0]
    assert (town.state(tenant).failures, town.state(tenant).error) == (3, "CRMUnavailableError")
    assert town.who(tenant, ADA) == ["ada"]
    crm.fails_after = None
    town.sync(tenant, is_forced=True)
    assert (town.state(tenant).failures, town.state(tenant).error) == (0, None)


def test_forgetting_a_number_removes_the_contact(town: Town, crm: Rolodex) -> None:
    """``forget`` and ``export`` reach the index: what it has of a number is told, and is gone when it is forgotten."""
    tenant = tenant_with(crm)
    town.sync(tenant)
    assert [(crm_name, contact.display_name) for crm_name, contact in town.store.list_contacts("acme", ADA)] == [
        ("rolodex", "Contact ada")
    ]
    assert town.store.forget("acme", ADA) == 1
    assert town.store.list_contacts("acme", ADA) == []
    assert town.who(tenant, "+46846500412") == []
    assert town.state(tenant).contacts == 1


def test_contacts_without_a_number_are_not_kept(town: Town, crm: Rolodex) -> None:
    """Nobody's data are kept who cannot be found by them."""
    crm.put("nil")
    crm.put("ext", "12")
    tenant = tenant_with(crm)
    town.sync(tenant)
    assert town.state(tenant).contacts == 2


def test_a_card_is_kept_as_it_is() -> None:
    """All that a card shows comes back from the index; what is too much for one loses what is not needed."""
    contact = Contact(
        id="7\ud800",
        display_name="Ada \0 Webb",
        numbers=(ContactNumber(number="070", comment="Work"), ContactNumber(number="08")),
        emails=(Email(address="ada@example.com"),),
        fields=(Field(title="Plan", comment="Gold"),),
        company="Acme",
        url="https://crm.example/7",
        updated_at=NOW,
    )
    assert load_contact(dump_contact(contact)) == contact
    large = replace(contact, fields=(Field(title="Story", comment="x" * 100_000),))
    assert load_contact(dump_contact(large)).numbers == tuple(ContactNumber(number=n.number) for n in contact.numbers)
