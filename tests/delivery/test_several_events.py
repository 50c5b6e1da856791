"""Events that meet: one call in the tables and one record in the CRM, in whatever order they come."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from middleware.model.contact import ContactNumber
from tests.conftest import call_log
from tests.delivery.test_worker import Ledger, Post
from tests.lookup.zoo import ADA

START = call_log()["startTime"]
AGENT = "+46846500499"


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    post = Post(database_url)
    yield post
    post.inbox.close()


def legs() -> list[dict[str, Any]]:
    """Return the call logs of three calls: one of one leg, one that was transferred, one that two people logged."""
    moved = {"startTime": START + 100_000, "duration": 60_000, "body": f"referred to: {AGENT}"}
    taken = {"startTime": START + 160_500, "toNumber": AGENT, "body": "referred by: +46846500400", "duration": 9_000}
    twice = {"fromNumber": "+46701740699", "startTime": START + 4_000}
    return [{"duration": 30_000}, moved, taken, twice, {**twice, "startTime": START + 6_000, "duration": 1_000}]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("is_late", [True, False])
def test_any_order_gives_the_same_records(post: Post, seed: int, is_late: bool) -> None:
    """Shuffled, repeated and, or not, delivered in between: three calls are three records, complete."""
    bob = replace(ADA, id="2", numbers=(ContactNumber(number="+46701740699"),))
    crm = Ledger(contacts=lambda: [ADA, bob])
    post.connect(crm)
    events = random.Random(seed).choices(legs(), k=3) + random.Random(seed).sample(legs(), 5)
    for event in events:
        post.send(**event)
        if is_late:
            post.later(seconds=1)
    post.later(seconds=1)
    assert len(crm.calls) == 3
    journeys = sorted(
        (call.referred_to, call.duration.total_seconds()) for call in crm.calls.values() if call.referred_to
    )
    assert journeys == [(AGENT, 69.5)]
    assert {event.state for event in post.inbox.list_events()} == {"delivered"}


def test_event_that_shows_two_calls_to_be_one_joins_them(post: Post) -> None:
    """Two calls that a later event shows to be one are one from then on, and the CRM's double is told."""
    crm = Ledger()
    post.connect(crm)
    first, second = post.send(), post.send(startTime=START + 8_000)
    post.later()
    assert len(crm.calls) == 2
    third = post.send(startTime=START + 4_000, duration=1_000)
    post.later()
    told = [post.event(event_id) for event_id in (first, second, third)]
    assert {event.state for event in told} == {"delivered"}
    assert len({event.external_id for event in told}) == 1
    assert any("once more" in attempt.words for attempt in told[0].attempts)


def test_calls_that_are_joined_before_they_are_written_are_written_once(post: Post) -> None:
    """What meets in time is one record."""
    crm = Ledger()
    post.connect(crm)
    for shift in (0, 8_000, 4_000):
        post.send(startTime=START + shift)
        post.worker._plan()
    assert post.later() == 1
    assert crm.writes == 1


def test_call_is_not_joined_while_it_is_being_written(post: Post) -> None:
    """An event that would join two calls waits until no worker writes one of them."""
    crm = Ledger()
    post.connect(crm)
    post.send()
    post.send(startTime=START + 8_000)

    def interrupt() -> None:
        if not crm.writes:
            post.send(startTime=START + 4_000, duration=1_000)
            post.worker._plan()

    crm.fail = interrupt
    post.later()
    assert crm.writes == 2
    assert "queued" in {event.state for event in post.inbox.list_events()}
    post.later()
    assert {event.state for event in post.inbox.list_events()} == {"delivered"}


def test_many_workers_make_one_call(post: Post) -> None:
    """Workers that plan the parts of one call at the same moment make one call of them, written once."""
    crm = Ledger()
    post.connect(crm)
    for second in range(5):
        post.send(startTime=START + second * 1_000)
    workers = [post.new_worker() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda worker: worker.run_once(), workers))
    post.later()
    assert crm.writes == 1
