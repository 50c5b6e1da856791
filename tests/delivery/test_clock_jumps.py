"""The machine's clock is put forward or back by an hour: nothing is lost, stalls, or storms."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from middleware.errors import CRMUnavailableError
from middleware.inbox.queue import Queue
from tests.delivery.test_worker import ANOTHER, Ledger, Post

HOUR = timedelta(hours=1)


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    post = Post(database_url)
    post.worker = post.new_worker(clock=lambda: 0.0)  # no time passes between the jumps
    yield post
    post.inbox.close()


def plan(post: Post) -> None:
    """Make calls of what was sent, and deliver none."""
    while post.worker._plan():
        pass


def down() -> None:
    raise CRMUnavailableError("503")


def test_call_that_is_due_is_delivered_after_the_clock_was_put_back(post: Post) -> None:
    """A call that was planned before the jump does not wait for the moment to come again."""
    crm = Ledger()
    post.connect(crm)
    post.send()
    plan(post)
    post.moment -= HOUR - timedelta(seconds=2)
    assert post.later() == 1
    assert len(crm.calls) == 1


def test_lease_of_who_died_before_the_clock_was_put_back_ends(post: Post) -> None:
    """A lane whose worker was killed, and whose lease lies an hour ahead now, is taken over at once, and only then."""
    crm = Ledger()
    post.connect(crm)
    post.send()
    plan(post)
    dead = Queue(post.inbox)
    assert len(dead.claim_lanes(9)) == 1
    assert post.later() == 0
    post.moment -= HOUR
    assert post.later() == 1
    assert len(crm.calls) == 1


def test_pause_of_a_crm_ends_although_the_clock_was_put_back(post: Post) -> None:
    """When a CRM was left alone as the clock jumped, the calls that come afterwards are delivered all the same."""
    crm = Ledger(fail=down)
    post.connect(crm)
    post.send()
    assert post.later() == 1
    crm.fail = lambda: None
    post.moment -= HOUR
    post.send(startTime=ANOTHER)
    assert post.later() == 0  # it is spared for as long as before
    assert post.later(minutes=1) == 2
    assert len(crm.calls) == 2


def test_clock_that_is_put_forward_makes_no_storm(post: Post) -> None:
    """All that waits is due at once then, and a CRM that is still down is asked once and left alone again."""
    crm = Ledger(fail=down)
    post.connect(crm)
    for i in range(20):
        post.send(startTime=ANOTHER + i * 60_000)
    post.later()
    asked = [post.later(seconds=HOUR.total_seconds() * (place == 0)) for place in range(5)]
    assert asked == [1, 0, 0, 0, 0]
    crm.fail = lambda: None
    while post.later(minutes=1):
        pass
    assert post.later(hours=1) + len(crm.calls) >= 20
    assert len(crm.calls) == crm.writes == 20


@pytest.mark.parametrize("hours", [1, -1])
def test_jump_while_a_call_is_written_has_nobody_else_write_it(post: Post, hours: int) -> None:
    """One of two workers is writing when the clock jumps: the other one waits as long as a lease lasts."""
    passed, made = [0.0], []
    crm = Ledger(can_find=False)
    post.connect(crm)
    event_id = post.send()
    other = post.new_worker(clock=lambda: passed[0])

    def jump() -> None:
        crm.fail = lambda: None
        post.moment += hours * HOUR
        made.append(other.run_once())
        passed[0] += 29
        post.moment += timedelta(seconds=29)
        made.append(other.run_once())

    crm.fail = jump
    assert post.worker.run_once() == 1
    assert made == [0, 0]
    assert (crm.writes, post.event(event_id).state) == (1, "delivered")


def test_call_of_a_worker_that_died_before_the_clock_was_put_forward_is_delivered(post: Post) -> None:
    """Who died while it wrote is waited for as long as a lease lasts by a clock that nobody puts forward."""
    passed = [0.0]
    crm = Ledger()
    post.connect(crm)
    event_id = post.send()
    plan(post)
    dead = Queue(post.inbox)
    (lane,) = dead.claim_lanes(1)
    assert dead.claim_next(lane) is not None
    other = post.new_worker(clock=lambda: passed[0])
    post.moment += HOUR
    assert other.run_once() == 0
    passed[0] += 31
    post.moment += timedelta(seconds=31)
    assert other.run_once() == 1
    assert post.event(event_id).state == "delivered"
