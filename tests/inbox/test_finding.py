"""What is found, a page at a time, on both engines; and how far one page looks."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from middleware.inbox import finding
from middleware.inbox.finding import Finder, Wanted
from middleware.inbox.replays import Replays
from middleware.inbox.store import Inbox
from middleware.inbox.tables import call, delivery, event, mark

BEGIN = datetime(2026, 3, 1, 12, tzinfo=UTC)
NUMBER = "+46701740605"


@pytest.fixture
def clock() -> Iterator[datetime]:
    return (BEGIN + timedelta(hours=hours) for hours in count())


@pytest.fixture
def inbox(database_url: str, clock: Iterator[datetime]) -> Iterator[Inbox]:
    """Return an inbox in which an hour goes by from event to event."""
    inbox = Inbox(database_url, key=b"k", now=lambda: next(clock))
    yield inbox
    inbox.close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a page look at six events, two at a time, and four be many."""
    for name, value in (("ROWS", 6), ("STEP", 2), ("FEW", 2), ("RARE", 3), ("BODIES", 8)):
        monkeypatch.setattr(finding, name, value)


def accept(inbox: Inbox, key: object, tenant: str = "acme", state: str = "planned", said: bytes = b"") -> str:
    """Store an event, of a call that was delivered unless ``state`` is that of one without."""
    errors = {"x": ["y"]} if state == "quarantined" else None
    raw = b'{"key": "%s"}' % (said or str(key).encode())
    accepted = inbox.accept(tenant, "calllog", key=str(key), raw=raw, content_type="", errors=errors)
    if state not in ("queued", "quarantined"):
        _plan(inbox, accepted.id, tenant, "delivered" if state == "planned" else state)
    return accepted.id


def _plan(inbox: Inbox, event_id: str, tenant: str, state: str) -> None:
    mine = event.c.id == event_id
    call_state = state if state == "noted" else "logged"
    values: dict[str, Any] = {"id": event_id, "tenant": tenant, "key": event_id, "version": 1, "state": call_state}
    with inbox.database.write(tenant) as connection:
        (call_seq,) = connection.execute(call.insert().values(values).returning(call.c.seq)).one()
        connection.execute(event.update().where(mine).values(state="planned", call_seq=call_seq))
        (seq,) = connection.execute(event.select().with_only_columns(event.c.seq).where(mine)).one()
        what = inbox.hash_mark(tenant, f"contact {NUMBER}")
        if state == "dead":
            connection.execute(mark.insert().values(tenant=tenant, what=what, begin=0.0, end=0.0, event_seq=seq))
        if call_state == "logged":
            row = {"call_seq": call_seq, "tenant": tenant, "channel": "crm", "state": state, "due_at": 0.0}
            connection.execute(delivery.insert().values(row))


def pages(inbox: Inbox, wanted: Wanted, limit: int = 50) -> list[list[str]]:
    """Return the ids on all pages."""
    found: list[list[str]] = []
    before: int | None = None
    while True:
        page = Finder(inbox).find(wanted, before=before, limit=limit)
        found.append([stored.id for stored in page.events])
        before = page.before
        if before is None:
            return found


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 50])
def test_pages_have_everything_once(inbox: Inbox, limit: int) -> None:
    """Whatever fits on a page and however far one looks, all pages together have every event once, newest first."""
    ids = [accept(inbox, key) for key in range(7)][::-1]
    found = pages(inbox, Wanted(), limit)
    assert [one for page in found for one in page] == ids
    assert all(len(page) <= limit for page in found)
    assert [one for page in pages(inbox, Wanted(state="delivered"), limit) for one in page] == ids


@pytest.mark.usefixtures("small")
def test_a_page_ends_after_so_many_and_says_where(inbox: Inbox) -> None:
    """A search that finds nothing looks at a bounded number of events, tells how far it got, and goes on from there."""
    wanted_id = accept(inbox, "first", said=b"needle")
    for key in range(9):
        accept(inbox, key)
    wanted = Wanted(says=lambda body: b"needle" in body.raw)
    first = Finder(inbox).find(wanted)
    assert (first.events, first.looked_at, first.read) == ((), 6, 6)
    assert first.back_to == BEGIN + timedelta(hours=4)
    second = Finder(inbox).find(wanted, before=first.before)
    assert [stored.id for stored in second.events] == [wanted_id]
    assert second.before is None


@pytest.mark.usefixtures("small")
def test_a_page_takes_no_longer_than_it_may(inbox: Inbox) -> None:
    """However slow the machine is, a page ends when its time is up, has looked at something, and has the next go on."""
    for key in range(5):
        accept(inbox, key)
    clock = count(step=finding.PATIENCE)
    finder = Finder(inbox, clock=lambda: next(clock))
    found = [finder.find(Wanted(says=lambda _: False))]
    while found[-1].before is not None:
        found.append(finder.find(Wanted(says=lambda _: False), before=found[-1].before))
    assert [page.looked_at for page in found] == [2, 2, 1]
    assert found[0].back_to is not None


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "wanted",
    [
        {"state": "dead"},
        {"state": "dead", "tenant_id": "acme"},
        {"state": "quarantined"},
        {"state": "ignored"},
        {"state": "noted", "tenant_id": "acme"},
    ],
)
def test_what_is_rare_is_found_however_old_it_is(inbox: Inbox, wanted: dict[str, str]) -> None:
    """What few events are, as dead letters, is on the first page behind more events than a page looks at."""
    old = accept(inbox, "old", state=wanted["state"])
    for key in range(10):
        accept(inbox, key)
    assert [stored.id for stored in Finder(inbox).find(Wanted(**wanted)).events] == [old]  # type: ignore[arg-type]


@pytest.mark.usefixtures("small")
def test_what_is_not_rare_is_found_too(inbox: Inbox) -> None:
    """More dead letters than an index is asked for are all found, over several pages."""
    ids = []
    for key in range(12):
        if key % 2:
            ids.append(accept(inbox, key, state="dead"))
        else:
            accept(inbox, key)
    found = pages(inbox, Wanted(state="dead"))
    assert len(found) > 1
    assert [one for page in found for one in page] == ids[::-1]


def test_a_number_is_found_by_its_hashes(inbox: Inbox) -> None:
    """A number is found as each customer's own, and in bodies that are part of no call when the customer is named."""
    mine = accept(inbox, "mine", state="dead")
    theirs = accept(inbox, "theirs", "globex", state="dead")
    new = accept(inbox, "new", state="queued", said=NUMBER.encode())
    accept(inbox, "other", state="queued")
    hashes = {name: (name, inbox.hash_mark(name, f"contact {NUMBER}")) for name in ("acme", "globex")}

    def found(*customers: str, **more: Any) -> list[str]:
        wanted = Wanted(hashes=tuple(hashes[name] for name in customers), **more)
        return [stored.id for stored in Finder(inbox).find(wanted).events]

    assert found("acme", "globex") == [theirs, mine]
    assert found("globex") == [theirs]
    speaks = {"speaks": lambda body: NUMBER.encode() in body.raw}
    assert found("acme", tenant_id="acme", **speaks) == [new, mine]
    assert found("globex", tenant_id="acme") == [], "one customer's hash finds nothing of another's"


def test_a_time_is_found_by_halving(inbox: Inbox) -> None:
    """Only what came between two moments is found, the first one included."""
    ids = [accept(inbox, key) for key in range(10)]
    since, until = BEGIN + timedelta(hours=4), BEGIN + timedelta(hours=7)
    stored = [found for one in ids if (found := inbox.find_event(one))]
    expected = [one.id for one in stored if since <= one.received_at < until]
    assert 0 < len(expected) < 10
    assert pages(inbox, Wanted(since=since, until=until)) == [expected[::-1]]


def test_a_replay_counts_what_becomes_of_it(inbox: Inbox) -> None:
    """An event is counted once however often it is added, by the state of its call, and others are not."""
    dead, other = accept(inbox, "dead", state="dead"), accept(inbox, "other", state="dead")
    set_aside = accept(inbox, "wrong", state="quarantined")
    replays = Replays(inbox)
    replay_id = replays.begin("ada", "acme")
    assert replays.add(replay_id, []) == 0
    assert replays.add(replay_id, [dead, set_aside]) == 2
    replays.add(replay_id, [dead])
    progress = replays.progress(replay_id)
    assert progress
    assert (progress.events, progress.states) == (2, {"waiting": 1, "queued": 1})
    assert progress.is_under_way
    assert (stored := inbox.find_event(other))
    assert stored.state == "dead"
    assert replays.progress("x") is None


def test_only_a_quarantined_event_is_replaced(inbox: Inbox) -> None:
    """An event that has become a call stays part of it, whoever says that another one stands in its place."""
    planned, set_aside = accept(inbox, "a"), accept(inbox, "b", state="quarantined")
    for event_id in (planned, set_aside):
        Replays(inbox).replace(event_id, "x")
    assert [stored.state for stored in Finder(inbox).find(Wanted()).events] == ["replaced", "delivered"]
