"""What protects a CRM: its pause, its breaker and its budget, shared by all who use the account."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from middleware.crm.account import MAX_PAUSE, MIN_PAUSE, PATIENCE, PAUSE, Account, Accounts
from middleware.crm.breaker import FAILURES
from middleware.crm.breaker import PAUSE as BREAKER_PAUSE
from middleware.crm.budget import Budget, Lane, Ledger
from middleware.crm.context import build_context
from middleware.crm.session import CRMSession
from middleware.errors import (
    BreakerOpenError,
    BudgetError,
    CRMAuthError,
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    NotAskedError,
    RateLimitedError,
    UnsupportedError,
)
from middleware.model.deadline import Deadline
from middleware.testing.faults import FaultServer
from tests.lookup.zoo import Zoo

TEN = Budget(10, timedelta(seconds=10))
LONG = Deadline.after(timedelta(hours=1))


@dataclass
class Bank:
    """Accounts whose clocks only the test moves; to sleep moves them, too."""

    folder: Path
    now: float = 1_772_366_400.0
    slept: list[float] = field(default_factory=list)

    def account(self, budget: Budget | None = TEN, name: str = "acme") -> Account:
        """Return the account as another process would open it: only its file is shared."""
        account = Accounts(self.folder, clock=lambda: self.now).get("acme", name, budget)
        ledger = Ledger(account.ledger._path, now=lambda: self.now)
        return replace(account, ledger=ledger, sleep=self.sleep)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def bank(tmp_path: Path) -> Bank:
    return Bank(tmp_path / "accounts")


@pytest.fixture
def crm() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def ask(account: Account, error: BaseException | None = None, lane: Lane = Lane.LOOKUP) -> None:
    with account.guard(lane, LONG):
        if error:
            raise error


def asks(account: Account, lane: Lane) -> int:
    """Ask until the budget is used up."""
    for count in range(1000):
        try:
            ask(account, lane=lane)
        except BudgetError:
            return count
    raise AssertionError("no end")


# the budget
def test_lookups_come_before_call_logs_before_synchronisation(bank: Bank) -> None:
    """Each lane stops while there is some left for those above it, and a ringing phone can have all the rest."""
    account = bank.account()
    assert [asks(account, lane) for lane in (Lane.SYNC, Lane.CALLS, Lane.LOOKUP)] == [5, 3, 2]


def test_a_place_that_is_free_in_a_moment_is_waited_for(bank: Bank) -> None:
    """A caller waits half a second for his turn, within the time he has, and nothing is sent too early."""
    account = bank.account()
    asks(account, Lane.LOOKUP)
    bank.now += 10 - PATIENCE
    began = bank.now
    ask(account)
    assert bank.now - began == pytest.approx(PATIENCE)


def test_a_place_that_is_far_away_is_not_waited_for(bank: Bank) -> None:
    """Who would wait too long is told at once when there is a place again, and has not slept."""
    account = bank.account()
    asks(account, Lane.LOOKUP)
    bank.slept.clear()
    bank.now += 3
    with pytest.raises(BudgetError) as caught:
        ask(account)
    assert caught.value.retry_after is not None
    assert caught.value.retry_after.total_seconds() == pytest.approx(7)
    assert bank.slept == []


def test_nobody_waits_longer_than_half_of_his_time(bank: Bank) -> None:
    """A caller in a hurry does not spend his time in the queue for the budget."""
    account = bank.account()
    asks(account, Lane.LOOKUP)
    bank.slept.clear()
    bank.now += 10 - 0.2
    clock = lambda: bank.now  # noqa: E731
    with pytest.raises(BudgetError), account.guard(Lane.LOOKUP, Deadline.after(timedelta(seconds=0.3), clock)):
        pass
    with account.guard(Lane.LOOKUP, Deadline.after(timedelta(seconds=0.5), clock)):
        pass
    assert bank.slept == pytest.approx([0.2])


def test_threads_share_the_budget(tmp_path: Path) -> None:
    """Twenty threads at once send as many requests as the budget has."""
    account = Accounts(tmp_path / "accounts").get("acme", "zoo", Budget(30, timedelta(hours=1)))
    start = threading.Barrier(20)

    def run(_: int) -> int:
        start.wait(30)
        return asks(account, Lane.LOOKUP)

    with ThreadPoolExecutor(20) as pool:
        assert sum(pool.map(run, range(20))) == 30


def test_without_a_budget_nothing_is_counted(bank: Bank) -> None:
    """An adapter that declares none is not slowed, and no file is made."""
    account = bank.account(budget=None)
    for _ in range(100):
        ask(account)
    assert list(bank.folder.iterdir()) == []


# the pause
@pytest.mark.parametrize(
    ("asked", "kept"),
    [
        (None, PAUSE),
        (timedelta(), MIN_PAUSE),
        (timedelta(seconds=30), timedelta(seconds=30)),
        (timedelta(days=1), MAX_PAUSE),
    ],
)
def test_a_pause_holds_for_all_processes(bank: Bank, asked: timedelta | None, kept: timedelta) -> None:
    """After a 429 nobody on the machine asks until the time is over that the CRM wants, within reason."""
    with pytest.raises(RateLimitedError) as caught:
        ask(bank.account(), RateLimitedError("slow down", retry_after=asked))
    assert caught.value.retry_after == kept
    other = bank.account()
    with pytest.raises(NotAskedError) as refused:
        ask(other)
    assert refused.value.retry_after == kept
    bank.now += kept.total_seconds()
    ask(other)


def test_a_pause_uses_up_no_budget(bank: Bank) -> None:
    """Who is refused by the pause has taken no place."""
    account = bank.account()
    account.pause(timedelta(seconds=1))
    for _ in range(50):
        with pytest.raises(NotAskedError):
            ask(account)
    bank.now += 1
    assert asks(account, Lane.LOOKUP) == 10


def test_a_guard_within_a_guard_makes_no_pause_of_its_own(bank: Bank) -> None:
    """A request that was not sent says nothing of the CRM, wherever the adapter puts its guards."""
    account = bank.account()
    asks(account, Lane.LOOKUP)
    with pytest.raises(BudgetError), bank.account(budget=None).guard(Lane.LOOKUP, LONG):
        ask(account)
    assert account.ledger.paused() == 0


def test_accounts_do_not_share(bank: Bank) -> None:
    """One account's pause and budget are no other's, even with strange names."""
    first, second = bank.account(name="../x"), bank.account(name="x/../y")
    asks(first, Lane.LOOKUP)
    first.pause(None)
    assert asks(second, Lane.LOOKUP) == 10
    assert {path.parent for path in bank.folder.rglob("*")} == {bank.folder}


# the breaker
@pytest.mark.parametrize("error", [CRMTimeoutError("slow"), CRMUnavailableError("down")])
def test_a_failing_crm_is_left_alone(bank: Bank, error: CRMError) -> None:
    """Time-outs and outages in a row open the breaker; nothing is sent then and no budget is used up."""
    account = bank.account()
    for _ in range(FAILURES):
        with pytest.raises(type(error)):
            ask(account, error)
    for _ in range(50):
        with pytest.raises(BreakerOpenError):
            ask(account)
    bank.now += BREAKER_PAUSE
    assert asks(account, Lane.LOOKUP) == 10 - FAILURES


@pytest.mark.parametrize(
    "error",
    [
        CRMRejectedError("no"),
        CRMAuthError("who?"),
        CRMResponseError("html"),
        UnsupportedError("what?"),
        RateLimitedError("slow down", retry_after=timedelta(seconds=1)),
        ValueError("a bug"),
        SystemExit(),
    ],
)
def test_only_outages_open_the_breaker(bank: Bank, error: BaseException) -> None:
    """A CRM that answers is well, whatever it says; a fault of the adapter says nothing about it."""
    account = bank.account(budget=None)
    for _ in range(2 * FAILURES):
        with pytest.raises(type(error)):
            ask(account, error)
        bank.now += 1
    ask(account)


def test_a_trial_without_budget_is_left_to_another(bank: Bank) -> None:
    """A trial call that the budget refuses is not taken for one that failed."""
    account = bank.account()
    for _ in range(FAILURES):
        with pytest.raises(CRMUnavailableError):
            ask(account, CRMUnavailableError("down"))
    bank.now += BREAKER_PAUSE
    while account.ledger.take(TEN, Lane.LOOKUP) == 0:
        pass
    with pytest.raises(BudgetError):
        ask(account)
    ask(replace(account, budget=None))  # is the trial, and at once


def test_a_reload_keeps_what_is_known(tmp_path: Path) -> None:
    """A changed customer's file brings a new budget and the old breaker and pause."""
    accounts = Accounts(tmp_path / "accounts")
    before = accounts.get("acme", "zoo", None)
    for _ in range(FAILURES):
        with pytest.raises(CRMUnavailableError):
            ask(before, CRMUnavailableError("down"))
    with pytest.raises(BreakerOpenError):
        ask(accounts.get("acme", "zoo", TEN))
    ask(accounts.get("acme", "other", TEN))


# through the session
def test_a_session_obeys_its_account(bank: Bank, crm: FaultServer) -> None:
    """The CRM's 429 is a pause for every session of the account, and the CRM gets no request meanwhile."""
    adapter, account = _Server(crm.url), bank.account()
    first = build_context(adapter, region="SE", deadline=LONG, account=account)
    second = build_context(adapter, region="SE", deadline=LONG, account=account, lane=Lane.CALLS)
    with pytest.raises(RateLimitedError):
        first.http.get("status/429?retry-after=7")
    for http in (first.http, second.http):
        with pytest.raises(NotAskedError) as caught:
            http.get("ok")
        assert caught.value.retry_after == timedelta(seconds=7)
    bank.now += 7
    second.http.get("ok")
    assert len(crm.requests) == 2


def test_a_session_counts_every_request_once(bank: Bank, crm: FaultServer) -> None:
    """A GET that is sent again on a new connection is one request of the budget; a lane has its own end."""
    session = build_context(_Server(crm.url), region="SE", deadline=LONG, account=bank.account(), lane=Lane.SYNC).http
    session.get("close-when-idle")
    for _ in range(4):
        session.get("ok")
    with pytest.raises(BudgetError):
        session.get("ok")


def test_a_session_of_a_dead_crm_stops_asking(bank: Bank) -> None:
    """Refused connections open the breaker like any other outage."""
    with FaultServer() as gone:
        pass
    session: CRMSession = build_context(_Server(gone.url), region="SE", deadline=LONG, account=bank.account()).http
    for _ in range(FAILURES):
        with pytest.raises(CRMUnavailableError):
            session.get("ok")
    with pytest.raises(BreakerOpenError):
        session.get("ok")


def test_a_request_that_is_not_sent_says_nothing(bank: Bank, crm: FaultServer) -> None:
    """What the session refuses itself, a bad URL or a deadline that has passed, costs neither budget nor trust."""
    account = bank.account()
    late = build_context(_Server(crm.url), region="SE", deadline=Deadline.after(timedelta()), account=account).http
    for _ in range(2 * FAILURES):
        with pytest.raises(CRMTimeoutError):
            late.get("ok")
        with pytest.raises(CRMRejectedError):
            late.get("https://evil.example/")
    assert asks(account, Lane.LOOKUP) == 10


class _Server(Zoo):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    @property
    def base_url(self) -> str:
        return self._url
