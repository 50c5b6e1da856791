"""Several sources of one customer: who wins, who waits, and who is left alone."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from middleware.errors import CRMAuthError, CRMUnavailableError, in_words
from middleware.lookup.card import Busy, Failed, Hit, Miss, TimedOut
from middleware.lookup.service import Limits
from middleware.lookup.verify import written_forms
from middleware.model.contact import Contact, ContactNumber
from middleware.model.phone import parse_number
from middleware.tenants.tenant import LookupConfig
from tests.lookup.zoo import ADA, NUMBER, Desk, Hanging, Zoo, note, tenant_of

BOB = replace(ADA, id="2", display_name="Bob", company="Bob & Co")
QUICK = LookupConfig(budget=timedelta(seconds=0.5))  # its priority window is over after 0.3 s


def _down() -> list[Contact]:
    raise CRMUnavailableError("down")


def test_first_source_in_order_wins(desk: Desk) -> None:
    """With several CRMs the contact of the first in the customer's file is shown; a miss there asks the next."""
    bob = Zoo(contacts=lambda: [BOB])
    assert desk.ask(tenant_of(Zoo(), bob)) == Hit(body=b"Ada Webb")
    assert desk.ask(tenant_of(Zoo(contacts=list), bob, id="b")) == Hit(body=b"Bob")


def test_slower_first_source_wins_inside_its_window(desk: Desk) -> None:
    """A quick second CRM does not overtake the first one as long as there is time."""
    slow = Hanging(ADA)
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(desk.ask, tenant_of(Zoo(contacts=slow), Zoo(contacts=lambda: [BOB])))
        assert slow.entered.acquire(timeout=5)
        assert not answer.done()
        slow.release.set()
        assert answer.result() == Hit(body=b"Ada Webb")


def test_after_the_window_the_best_that_is_there_is_shown(desk: Desk) -> None:
    """A first CRM that hangs does not cost the second one's contact; those who ask later do not wait for it anew."""
    hanging = Hanging()
    tenant = tenant_of(Zoo(contacts=hanging), Zoo(contacts=lambda: [BOB]), lookup=QUICK)
    assert desk.ask(tenant, patience=0.5) == Hit(body=b"Bob", is_partial=True)
    assert desk.trace.left_out == ["zoo0: the contact is late"]
    assert desk.ask(tenant, patience=60) == Hit(body=b"Bob", is_partial=True)  # its own window would last for a minute
    hanging.release.set()


def test_late_first_source_is_what_is_kept(desk: Desk) -> None:
    """What the first CRM brings too late is the next caller's answer."""
    hanging = Hanging(ADA)
    tenant = tenant_of(Zoo(contacts=hanging), Zoo(contacts=lambda: [BOB]), lookup=QUICK)
    assert desk.ask(tenant, patience=0.5) == Hit(body=b"Bob", is_partial=True)
    hanging.release.set()
    while desk.service._inquiries:  # lands in the background
        desk.ask(tenant)
    assert desk.ask(tenant) == Hit(body=b"Ada Webb")


def test_contact_beats_a_failure_and_is_asked_for_again_soon(desk: Desk) -> None:
    """When the first CRM is down the second one's contact is shown, and not kept as if it were the whole truth."""
    first = Zoo(contacts=_down)
    tenant = tenant_of(first, Zoo(contacts=lambda: [BOB]))
    assert desk.ask(tenant) == Hit(body=b"Bob", is_partial=True)
    assert desk.trace.left_out == [f"zoo0: {in_words('CRMUnavailableError')}"]
    first.contacts, desk.now = lambda: [ADA], desk.now + 61
    assert desk.ask(tenant) == Hit(body=b"Ada Webb")


def test_failure_outranks_a_miss(desk: Desk) -> None:
    """A miss in one CRM proves nothing when another could not be asked."""

    def refuse() -> list[Contact]:
        raise CRMAuthError("no")

    assert isinstance(desk.ask(tenant_of(Zoo(contacts=list), Zoo(contacts=refuse))), Failed)
    assert isinstance(desk.ask(tenant_of(Zoo(contacts=list), Zoo(contacts=list), id="b")), Miss)


def test_hung_source_does_not_starve_a_healthy_one(desk: Desk) -> None:
    """Each source has slots of its own: when those of one are all taken the other still answers every caller."""
    hanging = Hanging()
    healthy = Zoo(contacts=lambda: [replace(BOB, numbers=(ContactNumber(number=f"+4670174060{i}"),)) for i in range(9)])
    lookup = replace(QUICK, budget=timedelta(seconds=0.02), slots=2)
    tenant = tenant_of(Zoo(contacts=hanging), healthy, lookup=lookup)
    for last in range(9):
        assert isinstance(desk.ask(tenant, f"+4670174060{last}", patience=0.4), Hit)
    assert desk.trace.left_out == ["zoo0: all slots are taken"]
    hanging.release.set()


def test_late_searches_are_bounded(desk: Desk) -> None:
    """As many searches as there are slots go on in the background; then the slots fill, and callers are told."""
    hanging = Hanging()
    crm = Zoo(contacts=hanging)
    tenant = tenant_of(crm, lookup=LookupConfig(slots=2))
    results = [desk.ask(tenant, f"+467017406{i:02}", patience=0.05) for i in range(6)]
    assert results == [TimedOut()] * 4 + [Busy()] * 2
    assert isinstance(desk.ask(tenant_of(Zoo(), id="other")), Hit)  # another customer does not notice
    hanging.release.set()


def test_process_makes_no_more_answers_than_it_can(tmp_path: Path) -> None:
    """So many searches of all customers are waited for and no more; late ones, and those of others, do not count."""
    desk = Desk(tmp_path / "generations", limits=Limits(searches=2))
    hanging = Hanging()
    with ThreadPoolExecutor() as pool:
        answers = [pool.submit(desk.ask, tenant_of(Zoo(contacts=hanging), id=name)) for name in ("one", "two")]
        assert all(hanging.entered.acquire(timeout=5) for _ in answers)
        assert desk.ask(tenant_of(Zoo(), id="three")) == Busy()
        hanging.release.set()
        assert [answer.result() for answer in answers] == [Hit(body=b"Ada Webb")] * 2
    late = Hanging()
    for name in ("four", "five", "six"):
        assert desk.ask(tenant_of(Zoo(contacts=late), id=name), patience=0.02) == TimedOut()
    assert isinstance(desk.ask(tenant_of(Zoo(), id="three")), Hit)
    late.release.set()
    desk.close()


@pytest.mark.parametrize("first", [[], [ADA]])
def test_merged_card_has_what_all_sources_know(desk: Desk, first: list[Contact]) -> None:
    """With ``merge`` the first one's facts come first, the other's fill the gaps, activities are joined."""
    one = Zoo(contacts=lambda: first, notes=lambda: [note(day, "one") for day in range(1, 9)])
    two = Zoo(contacts=lambda: [BOB], notes=lambda: [note(day, "two") for day in range(1, 9)])
    assert isinstance(desk.ask(tenant_of(one, two, lookup=LookupConfig(merge=True))), Hit)
    card = desk.cards[-1]
    assert (card.contact.display_name, card.contact.company) == ("Ada Webb" if first else "Bob", "Bob & Co")
    assert len(card.contact.numbers) == 1
    assert len(card.activities) == (10 if first else 8)  # ten of a type, of all sources together


def test_merged_card_does_not_wait_for_a_hung_source(desk: Desk) -> None:
    """After the window the card is made of what is there."""
    hanging = Hanging()
    lookup = replace(QUICK, merge=True)
    tenant = tenant_of(Zoo(contacts=lambda: [BOB]), Zoo(contacts=hanging), lookup=lookup)
    assert desk.ask(tenant, patience=0.5) == Hit(body=b"Bob", is_partial=True)
    hanging.release.set()


def test_forms_of_a_number_are_tried_until_one_is_found(desk: Desk) -> None:
    """The adapter's forms are searched for in its order, and none after the first contact that has the number."""

    class Picky(Zoo):
        number_forms = ("e164", "double_zero", "national_digits", "suffix")

    asked: list[str] = []
    crm = Picky()

    def find(number: object, ctx: object) -> list[Contact]:
        asked.append(ctx.written)  # type: ignore[attr-defined]
        stranger = replace(ADA, numbers=(ContactNumber(number="0701740600"),))
        return [ADA] if len(asked) == 3 else [stranger]

    crm.find_contacts = find  # type: ignore[method-assign]
    assert isinstance(desk.ask(tenant_of(crm)), Hit)
    assert asked == [NUMBER, "0046701740605", "0701740605"]
    assert [span.note for span in desk.trace.spans if span.source] == [
        "e164: 0 of 1 have the number",
        "double_zero: 0 of 1 have the number",
        "national_digits: 1 of 1 have the number",
    ]


def test_two_late_crms_make_no_card_of_two_people(desk: Desk) -> None:
    """Without ``merge`` the card at the deadline is one CRM's, however many are late with a part."""
    hanging = Hanging()
    one = Zoo(notes=hanging, tasks=list)  # type: ignore[arg-type]  # never brings any
    two = Zoo(contacts=lambda: [BOB], notes=hanging, tasks=list)  # type: ignore[arg-type]
    assert desk.ask(tenant_of(one, two), patience=0.8) == Hit(body=b"Ada Webb", is_partial=True)
    assert desk.cards[-1].contact.company is None
    hanging.release.set()


def test_partial_card_is_made_once_for_all_who_wait(desk: Desk) -> None:
    """At the deadline thirty callers have their answer from one card: making it holds everybody else up."""
    hanging = Hanging()
    tenant = tenant_of(Zoo(notes=lambda: [note(1)], tasks=hanging))  # type: ignore[arg-type]  # never brings any
    with ThreadPoolExecutor(30) as pool:
        answers = [pool.submit(desk.ask, tenant, patience=1.0) for _ in range(30)]
        assert {answer.result() for answer in answers} == {Hit(body=b"Ada Webb", is_partial=True)}
    assert len(desk.cards) == 1
    hanging.release.set()


def test_adapter_that_never_returns_costs_a_thread_and_no_number(desk: Desk) -> None:
    """After its hard deadline a call that hangs holds neither number nor slot; so many may hang, and no more."""
    hanging = Hanging()
    crm = Zoo(contacts=hanging)
    tenant = tenant_of(crm, lookup=LookupConfig(slots=1))
    for number in ("+46701740601", "+46701740602"):  # one is awaited, one late
        desk.ask(tenant, number, patience=0.02)
    assert desk.ask(tenant, patience=0.02) == Busy()
    desk.now += 12
    crm.contacts = lambda: [ADA]
    assert desk.ask(tenant) == Hit(body=b"Ada Webb")
    assert list(desk.service._inquiries) == []
    crm.contacts = hanging
    desk.ask(tenant, "+46701740603", patience=0.02)
    desk.now += 12
    assert desk.ask(tenant, "+46701740604", patience=0.02) == Busy()
    hanging.release.set()


def test_activities_that_never_come_hold_their_slot_no_longer_than_the_search(desk: Desk) -> None:
    """A hung part of a card ends with the hard deadline as well: the card is kept without it."""
    hanging = Hanging()
    tenant = tenant_of(Zoo(notes=hanging), lookup=LookupConfig(slots=1))  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("middleware.lookup.search.HARD_DEADLINE", timedelta(seconds=0.05))
        assert desk.ask(tenant) == Hit(body=b"Ada Webb", is_partial=True)
    assert desk.trace.left_out == ["zoo0: notes late"]
    assert desk.ask(tenant, "+46701740699", patience=5) == Miss(reason="Nobody in the CRM has this number.")
    hanging.release.set()


def test_machine_without_threads_is_a_failure_and_no_trap(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search that cannot begin is told at once, and the next one for the number is a new one."""

    def refuse(_thread: object) -> None:
        raise RuntimeError("can't start new thread")

    tenant = tenant_of(Zoo(), Zoo(), lookup=LookupConfig(slots=1))
    with monkeypatch.context() as patch:
        patch.setattr("threading.Thread.start", refuse)
        assert desk.ask(tenant) == Failed(reason="RuntimeError")
    assert desk.ask(tenant) == Hit(body=b"Ada Webb")


def test_form_that_is_spelt_like_an_earlier_one_keeps_its_place() -> None:
    """Where two forms are the same digits the adapter's order holds, and the CRM is not asked twice."""

    class Norse(Zoo):
        number_forms = ("national_digits", "e164", "suffix")

    assert written_forms(Norse(), parse_number("+4721234567", "NO")) == ["national_digits", "e164"]
