"""What is old goes, what waits stays, and what is forgotten is nowhere any more."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import make_url, update

from middleware.delivery.calls import speaks_of
from middleware.inbox.retention import Retention
from middleware.inbox.tables import delivery, event, metadata
from middleware.model.phone import parse_number
from tests.delivery.test_worker import ANOTHER, Ledger, Post
from tests.lookup.zoo import NUMBER, Zoo, tenant_of

BOB = "+46701740699"


@pytest.fixture
def post(database_url: str) -> Iterator[Post]:
    post = Post(database_url)
    yield post
    post.inbox.close()


def kept(post: Post) -> bytes:
    """Return every byte that is on the disk, or all that a server has."""
    if post.inbox.database.dialect == "sqlite":
        folder = Path(make_url(post.database_url).database or "").parent
        return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))
    with post.inbox.database.read() as connection:
        rows = [tuple(row) for table in metadata.sorted_tables for row in connection.execute(table.select())]
    return repr(rows).encode()


def test_payload_goes_a_week_after_the_call_was_written(post: Post) -> None:
    """What was delivered stays a week; after that the payload is nowhere on the disk, and a repeat is still known."""
    post.connect(Ledger())
    event_id = post.send(body="The secret of the pyramids")
    post.later()
    post.moment += timedelta(days=6, hours=23)
    assert Retention(post.inbox).purge().call_ids == ()
    assert b"pyramids" in kept(post)
    post.moment += timedelta(hours=2)
    assert len(Retention(post.inbox).purge().call_ids) == 1
    assert b"pyramids" not in kept(post)
    assert post.event(event_id).state == "purged"
    assert post.send(body="The secret of the pyramids") == event_id
    post.moment += timedelta(days=30)
    assert Retention(post.inbox).purge().events == 1
    assert post.inbox.find_event(event_id) is None


def test_what_waits_is_never_too_old(post: Post) -> None:
    """A call that is not in the CRM yet is kept however old it is."""
    post.connect(Ledger(contacts=list))
    event_id = post.send()
    post.later()
    post.moment += timedelta(days=29)
    assert Retention(post.inbox).purge().call_ids == ()
    assert post.event(event_id).state == "parked"


def test_dead_letter_stays_a_month_and_is_told(post: Post, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be written is kept for thirty days, and its end is an error in the log."""
    crm = Ledger(contacts=list)
    post.connect(crm)
    post.send()
    post.later()
    post.later(days=31)
    post.moment += timedelta(days=1)
    told: list[str] = []
    monkeypatch.setattr("middleware.inbox.retention.log.error", lambda event, **_: told.append(event))
    Retention(post.inbox).purge()
    assert told == ["undelivered_removed"]


def test_forgotten_number_is_nowhere_on_the_disk(post: Post) -> None:
    """What is known of a number is removed for good, in the log of the database, too; others' calls stay."""
    post.connect(Ledger())
    post.send(body=f"Call from: {NUMBER}")
    mentioned = post.send(fromNumber=BOB, startTime=ANOTHER, body="His wife has 070-174 06 05")
    other = post.send(fromNumber=BOB, startTime=ANOTHER + 99_000_000, body="Nothing")
    post.later()
    post.inbox.accept("acme", "calllog", key="q", raw=f'{{"from": "{NUMBER}"}}'.encode(), content_type="", errors={})
    assert NUMBER.encode() in kept(post)
    removed = Retention(post.inbox).forget("acme", speaks_of(parse_number(NUMBER, "SE"), post.tenants["acme"]))
    assert (removed.events, len(removed.call_ids)) == (3, 2)
    for trace in (NUMBER, "6701740605", "174 06 05", "1740605"):
        assert trace.encode() not in kept(post)
    assert post.inbox.find_event(mentioned) is None
    assert post.event(other).state == "parked"


def test_other_customers_and_longer_numbers_are_not_forgotten(post: Post) -> None:
    """A number that only begins alike, and another customer's calls of the same number, stay."""
    post.connect(Ledger())
    post.connect(Ledger(), "other")
    longer, others = post.send(fromNumber=BOB, body=f"Order {NUMBER}7"), post.send("other")
    post.later()
    Retention(post.inbox).forget("acme", speaks_of(parse_number(NUMBER, "SE"), post.tenants["acme"]))
    assert post.event(longer).state != "purged"
    assert post.event(others).state == "delivered"


@pytest.mark.parametrize("text", ["+46 70 174 06 05", "0701740605", "0046701740605", "070-174 06 05", "%2B46701740605"])
def test_number_is_found_however_it_is_written(post: Post, text: str) -> None:
    """A number in a text is the number, with whatever people put between its digits."""
    post.send(fromNumber=BOB, body=f"x {text}.")
    speaks = speaks_of(parse_number(NUMBER, "SE"), tenant_of(Zoo()))
    assert len(Retention(post.inbox).find("acme", speaks)) == 1


def test_an_unread_event_of_a_call_that_waits_stays_with_it(post: Post) -> None:
    """An event that was set aside when its call was known already does not go before the call."""
    post.connect(Ledger(contacts=list))
    post.send()
    event_id = post.send(body="More of it")
    post.later()
    with post.inbox.database.write() as connection:
        connection.execute(update(event).where(event.c.id == event_id).values(state="quarantined"))
        connection.execute(update(delivery).values(state="waiting"))
    post.moment += timedelta(days=31)
    assert Retention(post.inbox).purge().events == 0
    assert (post.event(event_id).state, post.event(event_id).raw) == ("purged", b"")
