"""Several processes work on one database: nothing twice, nothing lost, nobody in each other's way."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from itertools import count
from queue import SimpleQueue
from threading import Event
from types import SimpleNamespace
from typing import Any, cast

import pytest
from sqlalchemy import Row

from middleware.errors import StorageError
from middleware.inbox import postgresql
from middleware.inbox.database import open_database
from middleware.inbox.planning import Planner
from middleware.inbox.postgresql import PostgreSQL
from middleware.inbox.queue import Claimed, Lane, Queue
from middleware.inbox.retention import Retention
from middleware.inbox.store import Accepted, Inbox
from tests.conftest import NOW, SERVER_CLOCK, call_log
from tests.delivery.test_worker import Ledger, Post

PROCESSES = 4
START = call_log()["startTime"]
LANE = Lane(tenant_id="acme", channel="zoo0", failures=0, paused_revision=None)


@pytest.fixture
def inboxes(database_url: str) -> Iterator[list[Inbox]]:
    """Return the inboxes of some processes, on one database."""
    inboxes = [Inbox(database_url, key=b"k" * 32, now=lambda: NOW) for _ in range(PROCESSES)]
    yield inboxes
    for inbox in inboxes:
        inbox.close()


@pytest.fixture
def posts(database_url: str) -> Iterator[list[Post]]:
    """Return two processes that deliver, whose clock goes on with every look at it."""
    posts = [Post(database_url) for _ in range(2)]
    ticks = count()
    for post in posts:
        post.inbox.now = lambda: NOW + timedelta(hours=1, milliseconds=next(ticks))
    yield posts
    for post in posts:
        post.inbox.close()


def test_copies_sent_to_all_machines_are_one_event_each(inboxes: list[Inbox]) -> None:
    """Every copy is acknowledged, whatever order it comes in at whichever machine, and each event is there once."""
    copies = [(inbox, key) for inbox in inboxes for key in range(60) for _ in range(5)]
    random.shuffle(copies)

    def accept(copy: tuple[Inbox, int]) -> str:
        inbox, key = copy
        return inbox.accept("acme", "calllog", key=str(key), raw=b"{}", content_type="").status

    with ThreadPoolExecutor(40) as senders:
        answers = list(senders.map(accept, copies))
    assert answers.count("accepted") == 60
    assert answers.count("duplicate") == len(copies) - 60
    assert len(inboxes[0].list_events(limit=1000)) == 60


def test_the_same_events_in_another_order_do_not_block_each_other(inboxes: list[Inbox]) -> None:
    """Two machines store the same events at once, each in its own order: both acknowledge all of them."""
    answers: SimpleQueue[Accepted | StorageError] = SimpleQueue()
    keys = [str(key) for key in range(500)]
    for key, other in zip(keys, keys[::-1], strict=True):
        for inbox, text in ((inboxes[0], key), (inboxes[1], other)):
            inbox.begin("acme", "calllog", answers.put, key=text, raw=b"{}", content_type="")
    found = [answers.get() for _ in range(2 * len(keys))]
    assert [answer for answer in found if isinstance(answer, StorageError)] == []


def test_a_lane_has_one_worker(posts: list[Post]) -> None:
    """Workers that look at the same moment share the lanes out among them."""
    for tenant_id in map(str, range(20)):
        posts[0].connect(Ledger(fail=lambda: None, contacts=list), tenant_id)
        posts[0].send(tenant_id)
    posts[0].worker._plan()
    queues = [Queue(post.inbox) for post in posts * 4]
    with ThreadPoolExecutor(len(queues)) as workers:
        found = [lane.tenant_id for lanes in workers.map(lambda queue: queue.claim_lanes(5), queues) for lane in lanes]
    assert len(found) == len(set(found))
    assert len(found) >= 5


def test_what_comes_while_a_call_is_written_is_written_too(posts: list[Post]) -> None:
    """Events of the same calls come while two workers plan and deliver them: the CRM ends with all that was said."""
    crm = Ledger()
    for post in posts:
        post.connect(crm)
    is_over = Event()

    def send(number: int) -> None:
        for version in range(4):
            body = f"Call type: Outbound\nversion {version}"
            while not is_over.is_set():
                with suppress(StorageError):  # of a crowded machine: a sender sends again
                    posts[number % 2].send(startTime=START + number * 60_000, body=body)
                    break

    def deliver(post: Post) -> None:
        while not is_over.is_set():
            post.worker.run_once()
            post.new_worker().run_once()

    with ThreadPoolExecutor(12) as pool:
        workers = [pool.submit(deliver, post) for post in posts]
        try:
            for sender in [pool.submit(send, number) for number in range(10)]:
                sender.result()
        finally:
            is_over.set()
        for worker in workers:
            worker.result()
    while posts[0].worker.run_once():
        pass
    assert len(crm.calls) == 10
    assert [call.body[-9:] for call in crm.calls.values()] == ["version 3"] * 10
    assert {event.state for event in posts[0].inbox.list_events()} == {"delivered"}


def test_writers_of_one_customer_take_turns(database_url: str) -> None:
    """A transaction that names a customer begins when the one before has ended, in whatever process."""
    one, other = open_database(database_url), open_database(database_url)
    is_in = Event()

    def follow() -> None:
        with other.write("acme"):
            is_in.set()

    with ThreadPoolExecutor(1) as pool:
        with one.write("beta", "acme"):
            following = pool.submit(follow)
            assert not is_in.wait(0.2)
        following.result(20)
    one.close()
    other.close()


STEPS: dict[str, Callable[[Post], object]] = {
    "plan": lambda post: post.worker._plan(),
    "claim": lambda post: Queue(post.inbox).claim_next(LANE),
    "finish": lambda post: Queue(post.inbox).finish(LANE, cast("Claimed", SimpleNamespace(call_seq=1)), {}, {}, None),
    "forget": lambda post: Retention(post.inbox).forget("acme", lambda _body: True),
    "purge": lambda post: Retention(post.inbox).purge(),
    "retry": lambda post: post.inbox.retry_events(tenant_id="acme"),
}


@pytest.mark.parametrize("step", STEPS)
def test_who_changes_calls_waits_for_his_turn(step: str, own_postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that reads a customer's calls and changes them waits for whoever does the same: here until it is too long."""
    post = Post(own_postgres)
    post.connect(Ledger())
    post.send()
    post.later()
    post.send(startTime=START + 60_000)
    post.moment += timedelta(days=8)
    monkeypatch.setattr(postgresql, "WAIT", 0.05)
    hasty = Post(own_postgres, tenants=post.tenants, moment=post.moment)
    with post.inbox.database.write("acme"), pytest.raises(StorageError, match="LockNotAvailable"):
        STEPS[step](hasty)
    for opened in (post, hasty):
        opened.inbox.close()


def test_writers_of_several_customers_do_not_wait_for_each_other(own_postgres: str) -> None:
    """On a server one customer's transaction holds up nobody else's."""
    database = open_database(own_postgres)
    with database.write("acme"), database.write("beta"), database.write():
        pass
    database.close()


def test_whose_clock_is_ahead_takes_nothing_that_another_holds(
    own_postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leases go by the server's clock: a machine an hour ahead waits for the others' as one whose clock is right."""
    monkeypatch.setattr(PostgreSQL, "lease_clock", SERVER_CLOCK)
    right, ahead = (Post(own_postgres, moment=NOW + timedelta(hours=hours)) for hours in (1, 2))
    for post in (right, ahead):
        post.connect(Ledger())
    right.send()
    while right.worker._plan():
        pass
    first, second = Queue(right.inbox), Queue(ahead.inbox)
    (place,) = first.claim_lanes(1)
    assert second.claim_lanes(1) == []
    assert first.claim_next(place) is not None
    assert second.claim_next(place) is None
    for post in (right, ahead):
        post.inbox.close()


def test_workers_that_plan_the_same_customers_part(posts: list[Post]) -> None:
    """Who finds an event planned by another worker leaves him the others, and goes on with the next customer."""
    one, other = posts
    for tenant_id in ("acme", "beta"):
        for post in posts:
            post.connect(Ledger(), tenant_id)
        for number in range(10):
            one.send(tenant_id, startTime=START + number * 60_000)
    planner = one.worker._planner
    tried: list[str] = []

    def queued(tenant_id: str) -> list[Row[Any]]:
        rows = Planner(one.inbox).queued(tenant_id)
        if tenant_id == "acme":  # another one reads the same, and is quicker
            assert other.worker._plan_some(other.tenants["acme"]) == 10
        return rows

    def plan(row: Row[Any], *args: Any) -> str | None:
        tried.append(row.tenant)
        return Planner(one.inbox).plan(row, *args)

    planner.queued, planner.plan = queued, plan  # type: ignore[method-assign, assignment]
    assert one.worker._plan()
    assert tried == ["acme", *["beta"] * 10]
    assert {event.state for event in one.inbox.list_events(limit=30)} == {"waiting"}
