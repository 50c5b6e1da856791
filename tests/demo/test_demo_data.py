"""The demo's two customers: everything they promise to show can be found."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import phonenumbers
import pytest

from middleware.crm.base import ACTIVITY_METHODS, Context
from middleware.crm.context import build_context
from middleware.demo.data import build_demo, load_secrets
from middleware.demo.people import BRITONS, SWEDES
from middleware.lookup.clean import clean_activity
from middleware.lookup.verify import verified_contacts
from middleware.model.activity import ACTIVITY_TYPES, Activity, Note
from middleware.model.call import CallRecord, Direction
from middleware.model.contact import Contact
from middleware.model.deadline import Deadline
from middleware.model.phone import iter_stored_numbers, parse_number
from middleware.tenants.config import load_tenant
from middleware.tenants.secrets import verify
from middleware.tenants.tenant import Tenant

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CUSTOMERS = ("nordlys", "harbour")


class Customer:
    """A customer of the demo, asked as the middleware asks."""

    def __init__(self, folder: Path, customer_id: str) -> None:
        self.tenant: Tenant = load_tenant(folder / "customers" / f"{customer_id}.toml")
        self.adapter = self.tenant.sources[0].adapter

    @property
    def ctx(self) -> Context:
        deadline = Deadline.after(timedelta(seconds=30))
        return build_context(self.adapter, region=self.tenant.region, deadline=deadline)

    def find(self, text: str) -> list[Contact]:
        number = parse_number(text, self.tenant.region)
        return verified_contacts(self.adapter.find_contacts(number, self.ctx), number, self.tenant.region)

    def activities(self, contact: Contact) -> list[Activity]:
        methods = [name for name in ACTIVITY_METHODS if self.adapter.can(name)]
        return [activity for name in methods for activity in getattr(self.adapter, name)(contact, self.ctx)]


@pytest.fixture
def customers(tmp_path: Path) -> Iterator[dict[str, Customer]]:
    build_demo(tmp_path, now=NOW)
    made = {customer_id: Customer(tmp_path, customer_id) for customer_id in CUSTOMERS}
    yield made
    for customer in made.values():
        customer.adapter.close()


def test_known_numbers_are_known_and_the_unknown_is_not(tmp_path: Path, customers: dict[str, Customer]) -> None:
    """What the demo tells people to try works."""
    for told in build_demo(tmp_path, now=NOW):
        for number in told.known_numbers:
            assert customers[told.id].find(number), number
        assert not customers[told.id].find(told.unknown_number)


@pytest.mark.parametrize(
    ("customer_id", "contact_id", "number"),
    [
        (customer_id, str(row[0]), number)
        for customer_id, region, people in (("nordlys", "SE", SWEDES), ("harbour", "GB", BRITONS))
        for row in people
        for text in row[5]
        for number in iter_stored_numbers(text, region)
    ],
)
def test_everybody_is_found(demo_folder: Path, customer_id: str, contact_id: str, number: str) -> None:
    """However untidily a number stands in the CRM, its owner is found by it."""
    customer = Customer(demo_folder, customer_id)
    found = [contact.id for contact in customer.find(number)]
    customer.adapter.close()
    assert contact_id in found


def test_all_numbers_are_fiction() -> None:
    """Nobody's phone rings because of the demo: only ranges that are reserved for fiction are used."""
    reserved = ("+4670174060", "+4670174061", "+468465004", "+463139006", "+447700900", "+44207946", "+441614960")
    for region, people in (("SE", SWEDES), ("GB", BRITONS)):
        for row in people:
            for text in row[5]:
                for number in iter_stored_numbers(text, region):
                    assert number.startswith(reserved), number
                    assert phonenumbers.is_possible_number(phonenumbers.parse(number))


def test_the_crms_queries_run(customers: dict[str, Customer]) -> None:
    """``m8crm check --live`` has nothing to say about the demo."""
    for customer in customers.values():
        findings = list(customer.adapter.check(customer.ctx))
        assert len(findings) > 6
        assert [finding.message for finding in findings if not finding.ok] == []


def test_all_kinds_of_activities_are_shown(customers: dict[str, Customer]) -> None:
    """Each customer's first contact has all six kinds, dated within the last months and the next."""
    for customer, number in ((customers["nordlys"], "+46701740605"), (customers["harbour"], "+447700900101")):
        activities = customer.activities(customer.find(number)[0])
        assert {type(activity) for activity in activities} == set(ACTIVITY_TYPES)
        assert all(abs(activity.timestamp - NOW) < timedelta(days=180) for activity in activities)
        assert all(clean_activity(activity) for activity in activities)


def test_the_contacts_differ_as_real_ones_do(customers: dict[str, Customer]) -> None:
    """More notes than are shown, markdown, HTML, nothing at all, a shared number, a company, an id for a number."""
    nordlys = customers["nordlys"]
    maria = nordlys.activities(nordlys.find("+46701740605")[0])
    assert sum(isinstance(activity, Note) for activity in maria) > 10
    assert any(activity.markdown for activity in maria)
    assert any("<p>" in activity.body for activity in nordlys.activities(nordlys.find("+46701740606")[0]))
    assert nordlys.activities(nordlys.find("+46701740616")[0]) == []
    assert {contact.display_name for contact in nordlys.find("+46313900612")} == {"Johan Öberg", "Lisa Öberg"}
    assert "Fjällbris Konsult AB" in {contact.display_name for contact in nordlys.find("+46846500412")}
    room = nordlys.adapter.find_contact_by_id("konf-4", nordlys.ctx)
    assert room is not None


@pytest.mark.parametrize(("customer_id", "number"), [("nordlys", "+46701740606"), ("harbour", "+447700900102")])
def test_a_logged_call_shows_in_the_next_lookup(customers: dict[str, Customer], customer_id: str, number: str) -> None:
    """A call that is written is among the contact's calls, once, with its direction and time."""
    customer = customers[customer_id]
    contact = customer.find(number)[0]
    own = next(iter(customer.tenant.own_numbers))
    call = CallRecord(
        id="c1",
        key="key-1",
        direction=Direction.INBOUND,
        contact_number=parse_number(number, customer.tenant.region),
        own_number=parse_number(own, customer.tenant.region),
        started_at=NOW,
        duration=timedelta(seconds=83),
        subject="Call",
        body="Asked for a quote.",
    )
    logged = customer.adapter.log_call(call, contact, customer.ctx)
    assert customer.adapter.log_call(call, contact, customer.ctx) == logged
    shown = [shown for shown in customer.adapter.find_calls(contact, customer.ctx) if shown.body == call.body]
    assert [(s.from_number, s.to_number, s.timestamp, s.duration) for s in shown] == [(number, own, NOW, call.duration)]


def test_the_secrets_open_the_door(tmp_path: Path, customers: dict[str, Customer]) -> None:
    """What the demo tells is the customer's secret, kept from other people's eyes."""
    for told in build_demo(tmp_path, now=NOW):
        assert verify(customers[told.id].tenant, "insights", told.secrets["insights"].encode())
    for file in tmp_path.rglob("*"):
        if file.is_file() and file.parent.name != "crm":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    harbour = (tmp_path / "customers" / "harbour.toml").read_text(encoding="utf-8")
    assert load_secrets(tmp_path)["harbour"]["insights"] not in harbour


def test_a_second_start_keeps_what_is_there(tmp_path: Path, customers: dict[str, Customer]) -> None:
    """Secrets, edited files and the CRMs stay; only what is missing is made."""
    first = build_demo(tmp_path, now=NOW)
    edited = tmp_path / "customers" / "nordlys.toml"
    edited.write_text(edited.read_text(encoding="utf-8") + "\n# mine\n", encoding="utf-8")
    before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
    assert build_demo(tmp_path, now=NOW + timedelta(days=9)) == first
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_folder_that_is_no_demo_has_no_secrets(tmp_path: Path) -> None:
    """Asking an empty folder for its plain secrets finds none."""
    assert load_secrets(tmp_path) == {}
