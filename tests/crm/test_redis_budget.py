"""A budget that machines share, in a real Redis; and what is left of it without one."""

from __future__ import annotations

import multiprocessing
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
import redis

from middleware.crm.account import Account, Accounts
from middleware.crm.budget import Budget, Lane
from middleware.crm.redis_budget import RedisBudget
from middleware.errors import BudgetError
from middleware.model.deadline import Deadline
from middleware.shared_store import SharedStore

TEN = Budget(10, timedelta(minutes=10))
KEY = "m8crm:budget:acme"


@pytest.fixture
def store(redis_server: str, patient: None) -> Iterator[SharedStore]:
    store = SharedStore(redis_server, key=b"key of the tests")
    yield store
    store.close()


@pytest.fixture
def admin(redis_server: str) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(redis_server) as client:
        yield client


def used_up(budget: RedisBudget, lane: Lane, what: Budget = TEN) -> int:
    """Take as often as ``lane`` is let."""
    count = 0
    while budget.take(what, lane) == 0:
        count += 1
    return count


def machine(store: SharedStore, folder: Path) -> Account:
    """Return the account as one of several machines has it: a ledger of its own, and the Redis."""
    return Accounts(folder, share=partial(RedisBudget, store)).get("acme", "crm", TEN)


def asks(account: Account, most: int = 100) -> int:
    """Ask until the budget is used up."""
    for count in range(most):
        try:
            with account.guard(Lane.LOOKUP, Deadline.after(timedelta(seconds=5))):
                pass
        except BudgetError:
            return count
    return most


def test_lanes_leave_a_reserve_on_all_machines(store: SharedStore) -> None:
    """What one machine's backlog uses up is missing for the others' backlogs, and never for a ringing phone."""
    one, other = RedisBudget(store, "acme"), RedisBudget(store, "acme")
    assert [used_up(one, Lane.SYNC), used_up(other, Lane.CALLS), used_up(one, Lane.LOOKUP)] == [5, 3, 2]


def test_a_place_is_free_when_its_request_leaves_the_window(store: SharedStore) -> None:
    """Whoever is refused is told to the millisecond how long, and has a place then."""
    budget, span = RedisBudget(store, "acme"), Budget(1, timedelta(seconds=0.2))
    assert budget.take(span, Lane.LOOKUP) == 0
    wait = budget.take(span, Lane.LOOKUP)
    assert wait is not None
    assert 0 < wait <= 0.2
    threading.Event().wait(wait)
    assert budget.take(span, Lane.LOOKUP) == 0


def test_a_window_that_nobody_uses_is_dropped(store: SharedStore, admin: redis.Redis) -> None:
    """Redis holds no more than a window of an account, for no longer than it lasts."""
    budget = RedisBudget(store, "acme")
    for _ in range(3):
        used_up(budget, Lane.LOOKUP)
    assert admin.llen(KEY) == 10
    assert 0 < admin.pttl(KEY) <= 600_000


def test_a_smaller_budget_holds_at_once(store: SharedStore) -> None:
    """After a reload what was sent before counts under the new figure."""
    budget = RedisBudget(store, "acme")
    used_up(budget, Lane.LOOKUP)
    assert used_up(budget, Lane.LOOKUP, Budget(5, timedelta(minutes=10))) == 0
    assert used_up(budget, Lane.LOOKUP, Budget(12, timedelta(minutes=10))) == 2


@pytest.mark.parametrize("rubbish", ["text", "future", "words"])
def test_rubbish_in_redis_stops_nobody(store: SharedStore, admin: redis.Redis, rubbish: str) -> None:
    """A key of another kind, of another time or with words in it costs the memory of a window."""
    if rubbish == "text":
        admin.set(KEY, "x")
    else:
        admin.lpush(KEY, *(["x" if rubbish == "words" else "9" * 16] * 10))
    assert used_up(RedisBudget(store, "acme"), Lane.LOOKUP) >= 1
    assert not store.is_down


def _take_all(url: str, begin: threading.Barrier, results: multiprocessing.Queue[int]) -> None:
    store = SharedStore(url, key=b"key of the tests")
    budget, what = RedisBudget(store, "acme"), Budget(200, timedelta(minutes=10))
    begin.wait(30)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(used_up(budget, Lane.LOOKUP, what))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    store.close()
    results.put(sum(counts))


def test_processes_share_exactly_the_budget(redis_server: str) -> None:
    """Four processes with three threads each send what the budget has, not one more and not one less."""
    spawn = multiprocessing.get_context("spawn")
    begin, results = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=_take_all, args=(redis_server, begin, results)) for _ in range(4)]
    for process in processes:
        process.start()
    counts = [results.get(timeout=50) for _ in processes]
    for process in processes:
        process.join(30)
    assert sum(counts) == 200


def test_machines_share_the_budget(store: SharedStore, tmp_path: Path) -> None:
    """Two machines send together what one may."""
    one, other = machine(store, tmp_path / "1"), machine(store, tmp_path / "2")
    assert asks(one) == 10
    assert asks(other) == 0


def test_without_redis_the_machine_goes_by_what_it_has_sent(
    store: SharedStore, admin: redis.Redis, tmp_path: Path
) -> None:
    """When Redis fails in the middle of a window, what this machine has sent counts on."""
    account = machine(store, tmp_path)
    assert asks(account, most=7) == 7
    admin.config_set("maxmemory", "1")
    try:
        assert asks(account) == 3
        assert store.is_down
    finally:
        admin.config_set("maxmemory", "0")


@contextmanager
def silent() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"redis://127.0.0.1:{listener.getsockname()[1]}"


@contextmanager
def refusing() -> Iterator[str]:
    with silent() as url:
        pass
    yield url


@pytest.mark.parametrize("redis_that_is", [silent, refusing])
def test_a_redis_that_fails_costs_next_to_nothing(redis_that_is: object, tmp_path: Path) -> None:
    """With a silent or a dead Redis each machine keeps its own budget; one request in a second looks for it."""
    with redis_that_is() as url:  # type: ignore[operator]
        tries: list[None] = []
        store = SharedStore(url, clock=lambda: 100.0, key=b"key of the tests")

        class Counting(RedisBudget):
            def take(self, budget: Budget, lane: Lane) -> float | None:
                if not store.is_down:
                    tries.append(None)
                return super().take(budget, lane)

        accounts = Accounts(tmp_path, share=partial(Counting, store))
        assert asks(accounts.get("acme", "crm", TEN)) == 10
        assert len(tries) == 1
        store.close()
