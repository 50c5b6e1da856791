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
