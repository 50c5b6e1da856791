"""Parked calls are delivered as soon as a lookup finds their contact."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from middleware.delivery.parked import LOOK_EVERY, ParkedCalls
from tests.delivery.test_worker import Ledger, Post
from tests.lookup.zoo import ADA, NUMBER

BOB = "+46701740699"


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    post = Post(database_url)
    yield post
    post.inbox.close()


@pytest.fixture
def parked(post: Post, monkeypatch: pytest.MonkeyPatch) -> ParkedCalls:
    """Return what works at once instead of on a thread; ``clock.now`` is the test's."""
    parked = ParkedCalls(post.inbox, clock=lambda: clock.now)
    clock.now = 0.0
    monkeypatch.setattr(parked._pool, "submit", lambda call, *args, **named: call(*args, **named))
    return parked


clock = SimpleNamespace(now=0.0)


def test_call_is_delivered_when_its_contact_appears(post: Post, parked: ParkedCalls) -> None:
    """A lookup that finds the number has its parked calls delivered; one of another number does not."""
    crm = Ledger(contacts=list)
    post.connect(crm)
    event_id = post.send()
    post.later()
    parked.appeared("acme", BOB)
    parked.appeared("other", NUMBER)
    assert post.later() == 0
    crm.contacts = lambda: [ADA]
    parked.appeared("acme", NUMBER)
    assert post.later() == 1
    assert post.event(event_id).state == "delivered"


def test_what_a_process_knows_is_looked_up_now_and_then(post: Post, parked: ParkedCalls) -> None:
    """A process asks the database for parked calls twice a minute at most, whatever is looked up."""
    post.connect(Ledger(contacts=list))
    parked.appeared("acme", NUMBER)
    event_id = post.send()
    post.later()
    assert post.event(event_id).state == "parked"
    clock.now = LOOK_EVERY - 1
    parked.appeared("acme", NUMBER)
    assert post.later() == 0
    clock.now = LOOK_EVERY + 1
    parked.appeared("acme", NUMBER)
    assert post.later() == 1
