"""A worker's lane goes to another one: while it stands still, when its call is forgotten, when it has died."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from middleware.errors import CRMTimeoutError, CRMUnavailableError
from middleware.inbox.queue import Queue
from middleware.inbox.retention import Retention
from middleware.inbox.tables import attempt, delivery, logged_call
from tests.delivery.test_worker import ANOTHER, Ledger, Post

LEASE = timedelta(seconds=31)


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    post = Post(database_url)
    yield post
    post.inbox.close()


def meanwhile(work: Callable[[], object], error: Exception | None = None) -> Callable[[], None]:
    """Return what a CRM does at its first call: it lets ``work`` happen, and raises ``error``."""
    left = [work]

    def fail() -> None:
        if left:
            left.pop()()
            if error:
                raise error

    return fail


@pytest.mark.parametrize("error", [CRMUnavailableError("503"), CRMTimeoutError("late"), None])
def test_worker_that_stood_still_changes_nothing_of_what_another_has_done(post: Post, error: Exception | None) -> None:
    """Whatever a worker says that wakes up after its lease has ended, the call stays as another one has written it."""
    crm = Ledger(can_find=False)
    post.connect(crm)
    event_id = post.send()
    other = post.new_worker()
    made = []

    def stand_still() -> None:
        post.moment += LEASE
        made.append(other.run_once())

    crm.fail = meanwhile(stand_still, error)
    assert [post.worker.run_once(), *made] == [1, 1]
    event = post.event(event_id)
    assert (event.state, event.due_at, len(event.attempts)) == ("delivered", None, 2)
    assert post.later(hours=1) == 0


def test_call_that_is_forgotten_while_it_is_written_leaves_nothing(post: Post) -> None:
    """What a worker learns of a call that was forgotten meanwhile is not kept, and its lane goes on."""
    crm = Ledger()
    post.connect(crm)
    event_id = post.send()
    crm.fail = meanwhile(lambda: Retention(post.inbox).forget("acme", lambda _body: True))
    assert post.worker.run_once() == 1
    assert post.inbox.find_event(event_id) is None
    with post.inbox.database.read() as connection:
        left = [
            connection.execute(select(func.count()).select_from(table)).scalar()
            for table in (attempt, delivery, logged_call)
        ]
    assert left == [0, 0, 0]
    later = post.send(startTime=ANOTHER)
    post.worker.run_once()
    assert post.event(later).state == "delivered"


def test_lane_of_a_worker_that_died_between_two_calls_does_not_wait_for_its_lease(post: Post) -> None:
    """A lane with nothing in flight is taken over after five seconds, and not before; its old worker keeps off."""
    crm = Ledger()
    post.connect(crm)
    event_id = post.send()
    while post.worker._plan():
        pass
    dead = Queue(post.inbox)
    (lane,) = dead.claim_lanes(1)
    assert post.later(seconds=4) == 0
    assert post.later(seconds=2) == 1
    assert dead.claim_next(lane) is None
    assert post.event(event_id).state == "delivered"


def test_lane_of_a_worker_that_died_while_it_wrote_waits_for_its_lease(post: Post) -> None:
    """Who may be writing is waited for, however many other calls wait in the lane; other lanes go on."""
    post.connect(Ledger())
    post.connect(Ledger(), "other")
    events = [post.send(), post.send(startTime=ANOTHER), post.send("other")]
    while post.worker._plan():
        pass
    dead = Queue(post.inbox)
    for lane in dead.claim_lanes(2):
        if lane.tenant_id == "acme":
            assert dead.claim_next(lane) is not None
    assert post.later(seconds=6) == 1
    assert [post.event(event_id).state for event_id in events] == ["waiting", "waiting", "delivered"]
    assert post.later(seconds=25) == 2


def test_worker_that_is_stopped_keeps_the_lane_of_what_it_is_still_writing(post: Post) -> None:
    """A CRM that outlasts the grace of a stop is not written to by the next worker at the same moment."""
    is_writing, may_end = threading.Event(), threading.Event()

    def hang() -> None:
        is_writing.set()
        may_end.wait(30)

    hung, well = Ledger(fail=hang), Ledger()
    post.connect(hung)
    post.send()
    post.worker.start()
    assert is_writing.wait(20)
    post.worker.stop(0)
    post.connect(well, "well")
    fine = post.send("well")
    nexts = post.new_worker()
    assert nexts.run_once() == 1
    assert (post.event(fine).state, hung.writes) == ("delivered", 0)
    may_end.set()
