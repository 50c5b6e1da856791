"""From the inbox into the CRM: once, in order, whatever the CRM does."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from middleware.crm.base import Context
from middleware.delivery import schedule
from middleware.delivery.schedule import Patience
from middleware.delivery.worker import Worker
from middleware.errors import (
    ConfigError,
    CRMAuthError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    RateLimitedError,
)
from middleware.inbox.planning import AT_ONCE
from middleware.inbox.queue import Queue
from middleware.inbox.store import Inbox, StoredEvent
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact
from middleware.receivers.calllog import parse_calllog
from middleware.settings import load_settings
from middleware.tenants.registry import Tenants
from middleware.tenants.tenant import CallsConfig, Tenant
from tests.conftest import call_log
from tests.lookup.zoo import ADA, Zoo, tenant_of

ANOTHER = call_log()["startTime"] + 60_000  # the start of another call of the same two


@dataclass
class Ledger(Zoo):
    """A CRM that keeps calls; ``fail`` decides how a write ends, ``can_find`` whether it may be asked."""

    calls: dict[str, CallRecord] = field(default_factory=dict)
    writes: int = 0
    updates: int = 0
    fail: Callable[[], None] = lambda: None
    fail_late: Callable[[], None] = lambda: None
    can_find: bool = True
    can_update: bool = True

    def can(self, method: str) -> bool:
        able = {"log_call": True, "update_call": self.can_update, "find_logged_call": self.can_find}
        able["find_contact_by_id"] = self.by_id is not None
        return able.get(method, False)

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        self.fail()
        self.writes += 1
        self.calls[call.key] = call
        self.fail_late()
        return LoggedCall(external_id=call.key)

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        return LoggedCall(external_id=call.key) if call.key in self.calls else None

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        self.updates += 1
        self.calls[logged.external_id] = call


@dataclass
class Post:
    """A post office: an inbox, a worker, tenants, and a clock that the test moves."""

    database_url: str
    tenants: dict[str, Tenant] = field(default_factory=dict)
    moment: datetime = datetime(2026, 3, 1, 13, 0, tzinfo=UTC)
    told: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inbox = Inbox(self.database_url, key=b"k" * 32, now=lambda: self.moment)
        self.worker = self.new_worker()

    def get(self, tenant_id: str) -> Tenant | None:
        return self.tenants.get(tenant_id)

    def new_worker(self, **kwargs: Any) -> Worker:
        told = lambda tenant_id, number: self.told.append((tenant_id, number))  # noqa: E731
        kwargs = {"clock": self.passed, **kwargs}
        return Worker(self.inbox, cast("Tenants", self), on_delivered=told, random=lambda: 1.0, **kwargs)

    def passed(self) -> float:
        """Return a steady clock: whenever the test moves ``moment``, time passes."""
        return self.moment.timestamp()

    def connect(self, crm: Ledger, tenant_id: str = "acme", **calls: Any) -> None:
        config = CallsConfig(log_to=("zoo0",), **calls)
        self.tenants[tenant_id] = replace(tenant_of(crm, id=tenant_id), calls=config)

    def send(self, tenant_id: str = "acme", **changes: Any) -> str:
        raw = json.dumps(call_log(**changes)).encode()
        key = parse_calllog(json.loads(raw)).key
        return self.inbox.accept(tenant_id, "calllog", key=key, raw=raw, content_type="").id

    def later(self, **span: float) -> int:
        self.moment += timedelta(**span)
        return self.worker.run_once()

    def event(self, event_id: str) -> StoredEvent:
        event = self.inbox.find_event(event_id)
        assert event is not None
        return event


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    post = Post(database_url)
    yield post
    post.inbox.close()


def raising(*errors: BaseException) -> Callable[[], None]:
    """Return a function that raises each error once and then nothing."""
    left = list(errors)

    def fail() -> None:
        if left:
            raise left.pop(0)

    return fail


def test_call_is_written_once_with_its_facts(post: Post) -> None:
    """A delivered call is in the CRM with key, text and numbers, and lookups are told."""
    crm = Ledger()
    post.connect(crm)
    event_id = post.send(body="Call to user: ada@x.example (+46 8)\nCall type: Outbound\nWants a refund.")
    assert (post.later(), post.later()) == (1, 0)
    (call,) = crm.calls.values()
    assert call.subject == "Inbound call with ada@x.example, 2 h 26 min 03 s"
    assert "Started: 2026-03-01 13:00:00 (Europe/Stockholm)" in call.body
    assert call.body.endswith("Wants a refund.")
    assert post.event(event_id).state == "delivered"
    assert post.told == [("acme", "+46701740605")]


@pytest.mark.parametrize(
    "error", [CRMUnavailableError("down"), CRMTimeoutError("slow"), CRMResponseError("html"), ValueError()]
)
def test_failing_crm_is_tried_again(post: Post, error: Exception) -> None:
    """A call that could not be written is written later, once."""
    crm = Ledger(fail=raising(error))
    post.connect(crm)
    event_id = post.send()
    assert post.later() == 1
    assert post.event(event_id).state == "waiting"
    assert post.later(seconds=1) == 0
    assert post.later(minutes=1) == 1
    assert (post.event(event_id).state, crm.writes) == ("delivered", 1)
    assert [attempt.outcome for attempt in post.event(event_id).attempts] == ["retry", "delivered"]


@pytest.mark.parametrize("error", [CRMTimeoutError("slow"), CRMUnavailableError("reset"), CRMResponseError("cut")])
def test_unknown_outcome_is_asked_before_writing_again(post: Post, error: Exception) -> None:
    """A write that happened although its answer was lost is not repeated."""
    crm = Ledger(fail_late=raising(error))
    post.connect(crm)
    event_id = post.send()
    post.later()
    post.later(minutes=5)
    assert (post.event(event_id).state, crm.writes) == ("delivered", 1)


def test_where_nobody_can_know_it_is_said(post: Post) -> None:
    """A CRM that cannot be asked may have the call twice, and the attempt says so."""
    crm = Ledger(fail_late=raising(CRMTimeoutError("slow")), can_find=False)
    post.connect(crm)
    event_id = post.send()
    post.later()
    post.later(minutes=5)
    assert crm.writes == 2
    assert "may be a duplicate" in post.event(event_id).attempts[-1].words


def test_rejected_call_is_dead_at_once_with_the_vendors_text(post: Post) -> None:
    """What a CRM refuses is not repeated; a person sees why, mends it and retries."""
    crm = Ledger(fail=raising(CRMRejectedError("400", vendor_text="owner is required")))
    post.connect(crm)
    event_id = post.send()
    post.later()
    assert post.event(event_id).state == "dead"
    assert "owner is required" in post.event(event_id).attempts[0].words
    assert post.later(days=1) == 0
    assert post.inbox.retry_events([event_id]) == 1
    post.later()
    assert post.event(event_id).state == "delivered"


def test_refused_credentials_pause_until_the_file_changes(post: Post) -> None:
    """After 401 nothing is tried until a person has changed the configuration, and no attempt is used up."""
    crm = Ledger(fail=raising(CRMAuthError("401")))
    post.connect(crm)
    event_id = post.send()
    post.later()
    assert post.inbox.summary().paused == 1
    assert post.later(days=2) == 0
    post.tenants["acme"] = replace(post.tenants["acme"], revision="r2")
    assert post.later(minutes=1) == 1
    assert post.event(event_id).state == "delivered"
    assert post.inbox.summary().paused == 0


def test_rate_limit_is_obeyed_for_the_whole_lane(post: Post) -> None:
    """Retry-After holds every call of the customer back, and uses up no attempt."""
    crm = Ledger(fail=raising(RateLimitedError("429", retry_after=timedelta(minutes=10))))
    post.connect(crm)
    post.send()
    post.later()
    post.send(startTime=ANOTHER)
    assert post.later(minutes=9) == 0
    assert post.later(minutes=2) == 2
    assert crm.writes == 2


def test_a_crm_that_was_down_for_long_is_asked_again_within_a_minute(post: Post) -> None:
    """However long an outage was, a call that comes after it waits for a minute at most."""
    crm = Ledger(fail=raising(*[CRMUnavailableError("down")] * 12))
    post.connect(crm)
    ids = [post.send(startTime=i * 60_000) for i in range(30)]
    while crm.writes == 0:
        post.later(minutes=1)
    new = post.send(startTime=ANOTHER)
    assert post.later() > 0
    assert post.event(new).state == "delivered"
    assert {post.event(event_id).state for event_id in ids} == {"delivered", "waiting"}


def test_calls_of_now_and_of_a_backlog_take_turns(post: Post) -> None:
    """Behind a long outage the oldest and the newest call are written in turn."""
    crm = Ledger()
    post.connect(crm)
    ids = [post.send(startTime=i * 60_000) for i in range(5)]
    post.later()
    started = [call.started_at.timestamp() for call in crm.calls.values()]
    assert [moment / 60 for moment in started] == [0, 4, 1, 3, 2]
    assert {post.event(event_id).state for event_id in ids} == {"delivered"}


def test_customers_take_turns_with_their_new_events(post: Post) -> None:
    """Ten thousand events of one customer keep no other's waiting: of each some become calls in turn."""
    for tenant_id in ("busy", "quiet"):
        post.connect(Ledger(), tenant_id)
    many = [post.send("busy", startTime=i * 60_000) for i in range(AT_ONCE + 1)]
    one = post.send("quiet")
    assert post.worker._plan()
    assert [post.event(many[-1]).state, post.event(one).state] == ["queued", "waiting"]
    assert post.worker._plan()
    assert not post.worker._plan()


def test_lease_that_an_attempt_may_outlast_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease that ends while a call is being written would have it written twice: the program does not start."""
    monkeypatch.setenv("M8CRM_ATTEMPT", "20")
    with pytest.raises(ConfigError, match="M8CRM_LEASE: must be 50 or more, as M8CRM_ATTEMPT is 20"):
        load_settings()
    monkeypatch.setenv("M8CRM_LEASE", "50")
    assert load_settings().lease == 50


def test_one_calls_fault_does_not_hold_up_the_next(post: Post) -> None:
    """An event that fails alone steps aside; later calls pass."""
    crm = Ledger(fail=raising(ValueError()))
    post.connect(crm)
    first, second = post.send(), post.send(startTime=ANOTHER)
    post.later()
    assert (post.event(first).state, post.event(second).state) == ("waiting", "delivered")


def test_updates_come_after_their_call(post: Post) -> None:
    """A later version of a call completes the record, and one that comes before the write is part of it."""
    crm = Ledger(fail=raising(ValueError()))
    post.connect(crm)
    post.send(body="")
    assert post.later() == 1
    post.send(body="A summary.")
    assert post.later(minutes=5) == 1
    assert [call.summary for call in crm.calls.values()] == ["A summary."]
    post.send(body="A longer summary.")
    assert post.later() == 1
    assert (crm.writes, crm.updates) == (1, 1)
    assert [call.summary for call in crm.calls.values()] == ["A longer summary."]


def test_what_the_crm_has_is_not_written_again(post: Post) -> None:
    """A part that tells nothing new costs the CRM no request."""
    crm = Ledger()
    post.connect(crm)
    post.send()
    post.later()
    event_id = post.send(somethingNew=1)
    assert post.later() == 1
    assert (post.event(event_id).state, crm.writes, crm.updates) == ("delivered", 1, 0)


def test_part_that_comes_during_the_write_completes_the_record(post: Post) -> None:
    """What comes while the CRM is being written to is not lost: the record is completed afterwards."""
    crm = Ledger()

    def interrupt() -> None:
        if not crm.writes:
            post.send(body="A summary.")
            post.worker._plan()

    crm.fail = interrupt
    post.connect(crm)
    event_id = post.send(body="")
    assert post.later() == 2
    assert post.event(event_id).state == "delivered"
    assert [call.summary for call in crm.calls.values()] == ["A summary."]
    assert (crm.writes, crm.updates) == (1, 1)


@pytest.mark.parametrize("can_update", [True, False])
def test_log_waits_for_expected_parts_where_it_cannot_be_completed(post: Post, can_update: bool) -> None:
    """With ``expect`` a CRM that can only create gets the call when all parts are there, or after ``wait``."""
    crm = Ledger(can_update=can_update)
    post.connect(crm, expect=("cdr",), wait=timedelta(minutes=3))
    post.send()
    assert post.later() == can_update
    assert post.later(minutes=4) == 1 - can_update
    assert crm.writes == 1


def test_unknown_contact_is_parked_until_he_appears(post: Post) -> None:
    """A call of an unknown number waits for its contact."""
    crm = Ledger(contacts=list)
    post.connect(crm)
    event_id = post.send()
    post.later()
    assert post.event(event_id).state == "parked"
    assert post.later(minutes=30) == 0
    crm.contacts = lambda: [ADA]
    post.later(minutes=31)
    assert post.event(event_id).state == "delivered"


def test_unknown_contact_is_ignored_where_the_customer_wants_it(post: Post) -> None:
    """``unknown = "ignore"`` keeps calls of unknown numbers out."""
    post.connect(Ledger(contacts=list), unknown="ignore")
    event_id = post.send()
    post.later()
    assert post.event(event_id).state == "ignored"


@pytest.mark.parametrize(
    ("number", "words"),
    [
        ("anonymous", "The other side's number is withheld or unknown."),
        ("302", "The other side is an extension."),
        ("+46101234567", "The other side is one of the customer's own numbers."),
        ("+4670", "The other side's number is none that can be dialled."),
    ],
)
def test_calls_without_an_outside_number_are_ignored(post: Post, number: str, words: str) -> None:
    """Withheld, internal, impossible and own numbers are no contact: the CRM is not asked, and a person reads why."""
    crm = Ledger()
    post.connect(crm)
    event_id = post.send(fromNumber=number, toNumber=number)
    assert post.later() == 0
    assert (post.event(event_id).state, post.event(event_id).reason) == ("ignored", words)
    assert crm.asked == []


def test_worker_that_died_in_flight_leaves_no_double(post: Post) -> None:
    """An attempt whose worker was killed after the write is asked for, and not repeated."""
    crm = Ledger()
    post.connect(crm)
    event_id = post.send()
    post.worker._plan()
    queue = Queue(post.inbox)
    (lane,) = queue.claim_lanes(1)
    claimed = queue.claim_next(lane)
    assert claimed is not None
    crm.calls[f"m8-{claimed.call.key[:32]}"] = cast("CallRecord", None)  # written; then the worker was killed
    assert post.later(seconds=29) == 0
    assert post.later(seconds=2) == 1
    assert (post.event(event_id).state, crm.writes) == ("delivered", 0)


def test_poison_is_set_aside_after_three_crashes(post: Post) -> None:
    """An event that kills its workers does not do so for ever, and the lane goes on."""
    crm = Ledger()
    post.connect(crm)
    event_id = post.send()
    post.worker._plan()
    for _ in range(3):
        queue = Queue(post.inbox)
        (lane,) = queue.claim_lanes(1)
        assert queue.claim_next(lane) is not None
        post.moment += timedelta(minutes=1)
    other = post.send(startTime=ANOTHER)
    post.later()
    assert (post.event(event_id).state, post.event(other).state) == ("dead", "delivered")


def test_two_workers_never_hold_the_same_lane(post: Post) -> None:
    """A leased lane is nobody else's until the lease has ended or is given back."""
    post.connect(Ledger())
    post.send()
    post.worker._plan()
    first, second = Queue(post.inbox), Queue(post.inbox)
    (lane,) = first.claim_lanes(9)
    assert second.claim_lanes(9) == []
    first.release_all()
    assert second.claim_lanes(9) == [lane]
    assert first.claim_next(lane) is None


def test_hung_crm_holds_up_nobody_else(post: Post) -> None:
    """While one customer's CRM hangs, another's calls are delivered; the hung call is tried again later."""
    release = threading.Event()
    hung, well = Ledger(fail=lambda: cast("None", release.wait(30))), Ledger()
    post.connect(hung, "hung")
    post.connect(well, "well")
    stuck, fine = post.send("hung"), post.send("well")
    worker = post.new_worker(patience=Patience(attempt=timedelta(seconds=0.3)))
    assert worker.run_once() == 2
    release.set()
    assert (post.event(stuck).state, post.event(fine).state) == ("waiting", "delivered")
    assert post.event(stuck).attempts[0].error == "CRMTimeoutError"


def test_event_that_cannot_be_composed_holds_up_nobody(post: Post) -> None:
    """A moment that no calendar of the customer's zone has is set aside, and other calls are delivered."""
    post.connect(Ledger())
    odd, fine = post.send(startTime=253_402_300_799_999), post.send()
    post.later()
    assert (post.event(odd).state, post.event(fine).state) == ("quarantined", "delivered")


def test_customer_whose_file_is_gone_keeps_his_calls(post: Post) -> None:
    """Events of a customer without configuration wait for it."""
    event_id = post.send()
    assert post.later() == 0
    post.connect(Ledger())
    post.later()
    assert post.event(event_id).state == "delivered"


def test_worker_on_threads_delivers_and_stops(post: Post) -> None:
    """Started, it delivers by itself; stopped, it gives its leases back."""
    delivered = threading.Event()
    crm = Ledger(fail_late=delivered.set)
    post.connect(crm)
    post.worker.start()
    post.send()
    assert delivered.wait(20)
    post.worker.stop(5)
    assert crm.writes == 1


@given(failures=st.integers(1, 50), luck=st.floats(0, 1))
def test_waits_lie_between_five_seconds_and_ten_hours(failures: int, luck: float) -> None:
    """Full jitter, bounded on both sides, whatever the failures."""
    wait = schedule.backoff(failures, lambda: luck)
    assert schedule.SHORTEST <= wait <= schedule.LONGEST


def test_a_call_is_given_up_only_after_three_days(post: Post) -> None:
    """A CRM that stays down is tried for at least three days; then a person is needed."""
    crm = Ledger(fail=lambda: (_ for _ in ()).throw(CRMUnavailableError("down")))
    post.connect(crm)
    event_id, begun = post.send(), post.moment
    while post.event(event_id).state in ("queued", "waiting"):
        post.later(minutes=30)
    assert post.event(event_id).state == "dead"
    assert timedelta(days=3) < post.moment - begun < timedelta(days=5)


def test_clamped_retry_after() -> None:
    """However odd the wait a CRM asks for, it is a second at least and an hour at most."""
    asked: Iterable[timedelta | None] = (None, timedelta(0), timedelta(days=40))
    assert [schedule.clamp_retry_after(wait).total_seconds() for wait in asked] == [5, 1, 3600]


@pytest.mark.parametrize("caller", ["anonymous", ""])
def test_withheld_number_is_logged_for_the_contact_that_a_sender_names(post: Post, caller: str) -> None:
    """Who withholds his number is known when a sender tells the CRM's id of him; without it nobody is."""
    crm = Ledger(by_id={ADA.id: ADA})
    post.connect(crm)
    states = []
    for crm_id in (ADA.id, None):
        cdr = {"id": f"cdr-{crm_id}", "dir": 2, "cliNum": caller, "ddiNum": "+46101234567", "dur": 60, "ans": 1}
        cdr |= {"start": "2026-03-01T12:00:00Z", "directoryMatches": [{"fields": {"crmId": crm_id}}]}
        raw = json.dumps({"cdr": cdr}).encode()
        event_id = post.inbox.accept("acme", "cdr", key=str(crm_id), raw=raw, content_type="application/json").id
        post.later()
        states.append(post.event(event_id).state)
    assert states == ["delivered", "ignored"]


def test_what_databases_cannot_hold_does_not_hold_up_a_call(post: Post) -> None:
    """A CRM may answer with an id that no database keeps as it is: the call is delivered."""

    class Odd(Ledger):
        def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
            return LoggedCall(external_id="7\0\ud800", url="https://crm.example/\0")

    post.connect(Odd())
    event_id = post.send()
    assert post.later() == 1
    event = post.event(event_id)
    assert (event.state, event.external_id, event.url) == ("delivered", "7\ufffd?", "https://crm.example/\ufffd")


@pytest.mark.parametrize(("days", "is_told"), [(7, False), (8, True)])
def test_a_call_of_long_ago_is_logged_and_remarked_on(post: Post, days: int, is_told: bool) -> None:
    """A call that is told of more than a week late is written all the same, and its event says so."""
    crm = Ledger()
    post.connect(crm)
    began = post.moment - timedelta(days=days)
    event_id = post.send(startTime=int(began.timestamp() * 1000))
    post.worker.run_once()
    event = post.event(event_id)
    assert (event.state, crm.writes) == ("delivered", 1)
    assert bool(event.reason) is is_told
    assert not is_told or "8 days before" in str(event.reason)
