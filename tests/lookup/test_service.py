"""The way a number takes, with adapters that behave and misbehave."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from multiprocessing import get_context
from pathlib import Path

import pytest

from middleware.errors import CRMAuthError, RateLimitedError
from middleware.lookup.alarms import Alarm
from middleware.lookup.card import Failed, Hit, Miss, Result, TimedOut
from middleware.lookup.inquiry import Question
from middleware.lookup.service import LookupService
from middleware.lookup.trace import Trace
from middleware.model.activity import Note, Task
from middleware.model.call import LookupQuery, User
from middleware.model.contact import Contact, ContactNumber
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from middleware.tenants.tenant import LookupConfig
from tests.lookup.collected import count_collected
from tests.lookup.zoo import ADA, NOW, NUMBER, Desk, Hanging, Zoo, note, tenant_of


def test_known_number_is_a_hit(desk: Desk) -> None:
    """A contact with the number is answered with its activities, newest first, ten of a type."""
    crm = Zoo(notes=lambda: [note(day) for day in range(12, 0, -1)], tasks=lambda: [Task(timestamp=NOW)])
    assert desk.ask(tenant_of(crm)) == Hit(body=b"Ada Webb")
    ages = [(NOW - activity.timestamp).days for activity in desk.cards[0].activities]
    assert ages == [0, *range(1, 11)]


def test_contact_without_the_number_is_a_miss(desk: Desk) -> None:
    """What an adapter found too broadly is not shown: the core verifies every contact."""
    stranger = Contact(id="2", display_name="Bob", numbers=(ContactNumber(number="070-174 06 06"),))
    assert isinstance(desk.ask(tenant_of(Zoo(contacts=lambda: [stranger]))), Miss)


@pytest.mark.parametrize("number", ["", "Anonymous", "302", "+4612", "agent-7", "+46101234567", "9" * 400, "\x00"])
def test_numbers_no_crm_knows_never_reach_it(desk: Desk, number: str) -> None:
    """Withheld, internal, impossible, own numbers and ids are a miss without any CRM call."""
    crm = Zoo()
    assert isinstance(desk.ask(tenant_of(crm), number), Miss)
    assert crm.asked == []


def test_own_number_turns_to_the_called_one(desk: Desk) -> None:
    """When the caller is the customer himself, the contact is the called number."""
    crm = Zoo()
    assert isinstance(desk.ask(tenant_of(crm), "+46101234567", to=NUMBER), Hit)
    assert [number.e164 for number in crm.asked] == [NUMBER]


def test_user_id_as_caller_turns_to_the_called_one(desk: Desk) -> None:
    """When the caller is a user's id, the contact is the called number."""
    assert isinstance(desk.ask(tenant_of(Zoo()), "u-1", to=NUMBER, user=User(id="u-1")), Hit)


def test_id_in_place_of_a_number_is_looked_up_by_id(desk: Desk) -> None:
    """An id goes to an adapter that can search by id, and never to the search by number."""
    crm = Zoo(by_id={"cust-9": ADA})
    assert isinstance(desk.ask(tenant_of(crm), "cust-9"), Hit)
    assert isinstance(desk.ask(tenant_of(crm), "cust-8"), Miss)
    assert isinstance(desk.ask(tenant_of(crm), "", numeric_id="cust-9"), Hit)
    assert crm.asked == []


def test_new_configuration_drops_old_answers(desk: Desk) -> None:
    """An answer of an earlier revision of the customer's file is not shown."""
    crm = Zoo()
    desk.ask(tenant_of(crm))
    desk.ask(replace(tenant_of(crm), revision="r2"))
    assert len(crm.asked) == 2


def test_customers_do_not_see_each_others_answers(desk: Desk) -> None:
    """The same number at two customers is two questions."""
    bob = replace(ADA, display_name="Bob")
    assert desk.ask(tenant_of(Zoo(), id="a")) == Hit(body=b"Ada Webb")
    assert desk.ask(tenant_of(Zoo(contacts=lambda: [bob]), id="b")) == Hit(body=b"Bob")


def _raise(error: BaseException) -> list[Contact]:
    raise error


@pytest.mark.parametrize(
    "error", [CRMAuthError("no"), ValueError("bug"), SystemExit(), KeyboardInterrupt(), RecursionError(), MemoryError()]
)
def test_failure_is_a_failure_and_is_not_kept(desk: Desk, error: BaseException) -> None:
    """Whatever an adapter raises, the caller gets a failure, and the next one is tried anew."""
    crm = Zoo(contacts=lambda: _raise(error))
    tenant = tenant_of(crm)
    assert desk.ask(tenant) == Failed(reason=type(error).__name__)
    crm.contacts = lambda: [ADA]
    assert isinstance(desk.ask(tenant), Hit)


def test_rate_limit_hands_its_wait_on(desk: Desk) -> None:
    """The time that a CRM asks for reaches the caller."""
    error = RateLimitedError("slow down", retry_after=timedelta(seconds=7))
    result = desk.ask(tenant_of(Zoo(contacts=lambda: _raise(error))))
    assert result == Failed(reason="RateLimitedError", retry_after=timedelta(seconds=7))


@pytest.mark.parametrize("garbage", [None, 1, "x", [None], [object()], [{"id": "1"}]])
def test_garbage_from_an_adapter_is_a_failure(desk: Desk, garbage: object) -> None:
    """An adapter that returns no contacts at all does not break the lookup."""
    assert isinstance(desk.ask(tenant_of(Zoo(contacts=lambda: garbage))), Failed)  # type: ignore[arg-type,return-value]


def test_endless_contacts_end(desk: Desk) -> None:
    """An adapter that never stops yielding is cut off."""

    def forever() -> Iterator[Contact]:
        while True:
            yield ADA

    assert isinstance(desk.ask(tenant_of(Zoo(contacts=forever))), Hit)


def test_hanging_crm_times_out_and_fills_the_cache_later(desk: Desk) -> None:
    """The caller waits no longer than his deadline; the late answer serves the next one."""
    hanging = Hanging()
    crm = Zoo(contacts=hanging)
    tenant = tenant_of(crm)
    assert desk.ask(tenant, patience=0.02) == TimedOut()
    hanging.release.set()
    assert isinstance(desk.ask(tenant), Hit)
    assert len(crm.asked) == 1


def test_late_activities_are_left_out(desk: Desk) -> None:
    """At the deadline the contact is answered with the activities that have come."""
    release = threading.Event()

    def late() -> list[Note]:
        release.wait(30)
        return [note(1)]

    tenant = tenant_of(Zoo(notes=late, tasks=lambda: [Task(timestamp=NOW)]))
    assert desk.ask(tenant, patience=0.6) == Hit(body=b"Ada Webb", is_partial=True)
    assert [type(activity) for activity in desk.cards[0].activities] == [Task]
    release.set()
    assert desk.ask(tenant) == Hit(body=b"Ada Webb")
    assert [type(activity) for activity in desk.cards[-1].activities] == [Task, Note]


def test_failing_activities_are_left_out(desk: Desk) -> None:
    """One type of activity that fails does not cost the card; it is asked for again soon."""
    crm = Zoo(notes=lambda: _raise(ValueError()), tasks=lambda: [Task(timestamp=NOW)])  # type: ignore[arg-type,return-value]
    assert desk.ask(tenant_of(crm)) == Hit(body=b"Ada Webb", is_partial=True)
    desk.now += 61
    desk.ask(tenant_of(crm))
    assert len(crm.asked) == 2


def test_thirty_phones_ring_once(desk: Desk) -> None:
    """Thirty identical lookups at once are one question to the CRM and thirty right answers."""
    hanging = Hanging()
    crm = Zoo(contacts=hanging)
    tenant = tenant_of(crm)
    with ThreadPoolExecutor(30) as phones:
        answers = [phones.submit(desk.ask, tenant) for _ in range(30)]
        assert hanging.entered.acquire(timeout=10)
        hanging.release.set()
        assert {answer.result() for answer in answers} == {Hit(body=b"Ada Webb")}
    assert len(crm.asked) == 1


@pytest.mark.parametrize(("policy", "name"), [("latest", "New"), ("first", "Old"), ("all", "New")])
def test_shared_number_follows_the_policy(desk: Desk, policy: str, name: str) -> None:
    """Of several contacts with the number the most recently updated is shown, or the first, or all by name."""
    old = replace(ADA, id="1", display_name="Old", updated_at=NOW - timedelta(days=9))
    new = replace(ADA, id="2", display_name="New", updated_at=NOW)
    lookup = LookupConfig(several=policy)  # type: ignore[arg-type]
    assert desk.ask(tenant_of(Zoo(contacts=lambda: [old, new]), lookup=lookup)) == Hit(body=name.encode())
    others = [field.comment for field in desk.cards[0].contact.fields]
    assert others == (["Old"] if policy == "all" else [])


@pytest.mark.parametrize("ends_well", [True, False])
def test_lookup_leaves_nothing_to_the_collector(tmp_path: Path, ends_well: bool) -> None:
    """What a lookup made is freed when it ends: a collector that looks for cycles would hold up all that come after."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(count_collected, tmp_path, ends_well).result() == (0, 1)


def test_an_answer_is_given_before_its_trace_is_kept(desk: Desk) -> None:
    """Who waits for the answer does not wait for what is kept of it; who only calls finds it kept."""
    order: list[str] = []
    ended = threading.Event()

    def keep(_trace: Trace, _customer: str, number: str, result: Result, _took: float) -> None:
        order.append(f"kept {number} {type(result).__name__}")
        if len(order) == 2:
            ended.set()

    service = LookupService(dump=lambda _card, _: b"{}", generations=desk.generations, keep_trace=keep)
    deadline, trace = Deadline.after(timedelta(seconds=5)), Trace()
    query = LookupQuery(number=parse_number(NUMBER, "SE"))
    question = service.ready(tenant_of(Zoo()), query, trace)
    assert isinstance(question, Question)
    service.ask(question, deadline, trace, lambda result: order.append(type(result).__name__))
    assert ended.wait(5)
    service.lookup(tenant_of(Zoo(), id="other"), query, deadline, Trace())
    assert order == ["Hit", f"kept {NUMBER} Hit", f"kept {NUMBER} Hit"]


def test_a_trace_that_cannot_be_kept_costs_no_answer(desk: Desk) -> None:
    """Whatever goes wrong when a lookup is written down, its answer is given, and once."""

    def keep(*_args: object) -> None:
        raise RuntimeError("the machine has no thread left")

    service = LookupService(dump=lambda _card, _: b"{}", generations=desk.generations, keep_trace=keep)
    query, deadline = LookupQuery(number=parse_number(NUMBER, "SE")), Deadline.after(timedelta(seconds=5))
    hanging = Hanging()
    tenant = tenant_of(Zoo(), Zoo(contacts=hanging), lookup=LookupConfig(slots=8))
    assert isinstance(service.lookup(tenant, query, deadline, Trace()), Hit)
    question = service.ready(tenant, query, Trace())
    assert isinstance(question, Question)  # the second CRM is still asked
    answers: list[Result] = []
    service.ask(question, deadline, Trace(), answers.append)
    hanging.release.set()
    assert [type(answer) for answer in answers] == [Hit]


def test_who_comes_when_his_time_is_over_is_told_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A deadline that passes while an alarm is set for it, and so rings for nobody, is noticed."""
    hanging, moments = Hanging(), iter([0.0])
    query, answers = LookupQuery(number=parse_number(NUMBER, "SE")), list[Result]()
    question = desk.service.ready(tenant_of(Zoo(contacts=hanging)), query, Trace())
    assert isinstance(question, Question)
    monkeypatch.setattr(desk.service._tools.alarms, "set", lambda _moment, ring: ring() or Alarm(None))
    deadline = Deadline(1.0, clock=lambda: next(moments, 2.0))
    desk.service.ask(question, deadline, Trace(), answers.append)
    hanging.release.set()
    assert answers == [TimedOut()]
