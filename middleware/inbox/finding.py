"""``Finder``: the events that somebody looks for, a page at a time, as quick with a million of them as with ten.

A page looks at no more than ``ROWS`` events, reads no more than ``BODIES``, and takes ``PATIENCE`` for that; where it
was not all, the next page goes on from there.  What is rare (a number, a call, the dead letters) is found by an index,
wherever it stands.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from sqlalchemy import Column, ColumnElement, Connection, Row, Select, and_, bindparam, exists, func, or_, select

from middleware.inbox.store import (
    OWN_STATES,
    STORED_EVENTS,
    Body,
    Inbox,
    StoredCall,
    StoredEvent,
    bodies_of,
    body_of,
    stored_event,
)
from middleware.inbox.tables import UNLOGGED, call, delivery, event, mark
from middleware.model.deadline import Clock

PAGE = 50
ROWS = 10_000  # that one page looks at
STEP = 5_000  # of these at a time
BODIES = 2_000  # that one page reads
PATIENCE = 0.15  # seconds that one page looks, with a look at the clock after each stretch
BREATH = 0.0001  # seconds after each body that is read: lookups of the same process go first
RARE = 1_000  # what there is less of is found by an index of its own
FEW = 60  # of what an index has found, at a time: it lies scattered
TOGETHER = 100  # keyed hashes that are looked for
UNPLANNED = 500  # of a customer, the latest, that are read for a number: nothing has marked them yet
SKEW = timedelta(hours=1)  # by which clocks may have been put back; else a later event has a higher number
_BY_CALL = ("waiting", "parked", "dead", "ignored", "noted")  # states of deliveries, or calls, that indexes find
Speaks = Callable[[Body], bool]
_turn = Lock()  # one search at a time in a process: lookups share its interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What events must be like; what is ``None`` does not matter.

    ``hashes`` are the number's, as ``(customer, keyed hash)``; ``speaks`` tells of events that are part of no call
    whether they have it.  ``says`` must be true of the body.
    """

    tenant_id: str | None = None
    state: str | None = None
    sender: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    call_id: str | None = None
    hashes: tuple[tuple[str, str], ...] | None = None
    speaks: Speaks | None = None
    says: Speaks | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A page of events, newest first, without their attempts; ``before`` asks for the next, ``None`` if that is all.

    ``looked_at`` events were looked at, of which ``read`` bodies were read, back to ``back_to``.
    """

    events: tuple[StoredEvent, ...]
    before: int | None
    looked_at: int = 0
    read: int = 0
    back_to: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """How far a call is on the way into one CRM: ``channel``; attaching recordings is a channel of its own.

    ``is_doubtful``: nobody can know whether the CRM has the call twice.
    """

    channel: str
    state: str
    attempts: int
    due_at: datetime
    is_in_flight: bool
    is_doubtful: bool
    external_id: str | None
    url: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that is known of an event: its body, the call that it became, with all that was sent about that."""

    event: StoredEvent
    body: Body
    call: StoredCall | None
    written: tuple[Written, ...]


# made once: putting so many conditions together takes longer than the search.  SQLite uses the index for each of these,
# and for none of a list of pairs; in the order of the column itself it would go through all marks
_MARKED = (
    select(mark.c.event_seq)
    .where(
        or_(
            *(
                and_(mark.c.tenant == bindparam(f"tenant_{i}"), mark.c.what == bindparam(f"what_{i}"))
                for i in range(TOGETHER)
            )
        )
    )
    .order_by((mark.c.event_seq + 0).desc())
    .limit(bindparam("most"))
)


class Finder:
    """Finds events in an inbox."""

    def __init__(self, inbox: Inbox, *, clock: Clock = time.monotonic) -> None:
        self._inbox = inbox
        self._database = inbox.database
        self._clock = clock

    def find(self, wanted: Wanted, *, before: int | None = None, limit: int = PAGE) -> Found:
        """Return the latest events that match, of those that came before the one numbered ``before``."""
        with _turn, self._database.read() as connection:
            search = _Search(connection, wanted, limit, self._clock)
            search.run(before)
            return search.found()

    def story(self, event_id: str) -> Story | None:
        """Return what became of the event, as of one moment but for the attempts; ``None`` if there is none."""
        known = self._inbox.find_event(event_id)
        if known is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(STORED_EVENTS.where(event.c.id == event_id)).first()
            if row is None:
                return None
            theirs = select(delivery).where(delivery.c.call_seq == row.call_seq).order_by(delivery.c.channel)
            deliveries = connection.execute(theirs).all()
            key = connection.execute(select(call.c.key).where(call.c.seq == row.call_seq)).scalar()
            bodies = bodies_of(connection, row.call_seq) if row.call_seq is not None else ()
        stored = StoredCall(id=row.call_id, key=key, bodies=bodies) if key and bodies else None
        shown = replace(stored_event(row, deliveries), attempts=known.attempts)
        return Story(event=shown, body=body_of(row), call=stored, written=tuple(map(_written, deliveries)))


def _written(row: Row[Any]) -> Written:
    return Written(
        channel=row.channel,
        state=row.state,
        attempts=row.attempts,
        due_at=datetime.fromtimestamp(row.due_at, UTC),
        is_in_flight=row.in_flight,
        is_doubtful=row.maybe_duplicate,
        external_id=row.external_id,
        url=row.url,
    )


class _Search:
    """One page's search."""

    def __init__(self, connection: Connection, wanted: Wanted, limit: int, clock: Clock) -> None:
        self._connection = connection
        self._wanted = wanted
        self._limit = limit
        self._clock = clock
        self._until = clock() + PATIENCE
        self._rows: list[Row[Any]] = []
        self._looked_at = self._read = 0
        self._below: int | None = None  # where the next page begins
        self._is_cut = False

    def run(self, before: int | None) -> None:
        """Look at one stretch of events after the other until there are enough, no more, or it takes too long."""
        first, last = self._bounds()
        below = last + 1 if before is None else min(before, last + 1)
        known = self._few()
        step = FEW if known is not None or self._wanted.says else STEP
        while len(self._rows) <= self._limit and not self._is_cut:
            seqs = self._stretch(known, first, below, step)
            if not seqs:
                return
            self._looked_at += len(seqs)
            self._take(seqs, is_listed=known is not None)
            below = self._below = seqs[-1]
            self._is_cut = self._looked_at >= ROWS or self._read >= BODIES or self._clock() >= self._until
        if len(self._rows) <= self._limit and not self._stretch(known, first, below, 1):
            self._below = None

    def found(self) -> Found:
        """Return the page."""
        rows = self._rows[: self._limit]
        is_full = len(self._rows) > self._limit
        before = rows[-1].seq if is_full and rows else self._below if self._is_cut else None
        calls = {row.call_seq for row in rows}
        deliveries = self._connection.execute(select(delivery).where(delivery.c.call_seq.in_(calls))).all()
        events = [stored_event(row, [d for d in deliveries if d.call_seq == row.call_seq]) for row in rows]
        back_to = self._received_at(before) if before is not None and not is_full else None
        return Found(events=tuple(events), before=before, looked_at=self._looked_at, read=self._read, back_to=back_to)

    # which events come into question -------------------------------------------------------------------
    def _bounds(self) -> tuple[int, int]:
        """Return the numbers between which the events of the wanted time are: found by halving, without an index."""
        last = self._connection.execute(select(func.max(event.c.seq))).scalar() or 0
        since, until = self._wanted.since, self._wanted.until
        first = self._number_at(since - SKEW, last) if since else 0
        return first, self._number_at(until + SKEW, last) if until else last

    def _number_at(self, moment: datetime, last: int) -> int:
        """Return the number of the last event that had come by then."""
        low, high = 0, last
        while low < high:
            middle = (low + high + 1) // 2
            came = self._received_at(middle)
            low, high = (middle, high) if came is None or came <= moment else (low, middle - 1)
        return low

    def _received_at(self, seq: int) -> datetime | None:
        nearest = select(event.c.received_at).where(event.c.seq <= seq).order_by(event.c.seq.desc()).limit(1)
        at = self._connection.execute(nearest).scalar()
        return None if at is None else datetime.fromtimestamp(at, UTC)

    def _few(self) -> list[int] | None:
        """Return the only events that come into question, newest first; ``None`` where those are many."""
        wanted = self._wanted
        seqs: set[int] | None = None
        if wanted.call_id is not None:
            seqs = self._of_calls(select(call.c.seq).where(call.c.id == wanted.call_id))
        elif wanted.hashes is not None:
            seqs = self._with_number(wanted.hashes)
        elif wanted.state in _BY_CALL:
            unlogged = self._rare(call.c.seq, call.c.state, call.c.tenant).where(UNLOGGED)
            seqs = self._of_calls(self._rare(delivery.c.call_seq, delivery.c.state, delivery.c.tenant), unlogged)
        elif wanted.state in OWN_STATES:
            own = set(self._numbers(self._rare(event.c.seq, event.c.state, event.c.tenant)))
            seqs = own if len(own) <= RARE else None
        return None if seqs is None else sorted(seqs, reverse=True)

    def _rare(self, number: Column[Any], state: Column[Any], tenant: Column[Any]) -> Select[Any]:
        found = select(number).where(state == self._wanted.state).limit(RARE + 1)
        return found if self._wanted.tenant_id is None else found.where(tenant == self._wanted.tenant_id)

    def _numbers(self, query: Select[Any]) -> Sequence[int]:
        return self._connection.execute(query).scalars().all()

    def _of_calls(self, *queries: Select[Any]) -> set[int] | None:
        calls = [seq for query in queries for seq in self._numbers(query)]
        if len(calls) > RARE:
            return None
        return set(self._numbers(select(event.c.seq).where(event.c.call_seq.in_(calls))))

    def _with_number(self, hashes: Sequence[tuple[str, str]]) -> set[int]:
        """Return the events of the calls that have the number as their contact's, the latest first."""
        parts = [hashes[start : start + TOGETHER] for start in range(0, len(hashes), TOGETHER)]
        marked = [seq for part in parts for seq in self._marked(part)]
        seqs = set(sorted(marked, reverse=True)[:RARE])
        calls = select(event.c.call_seq).where(event.c.seq.in_(seqs), event.c.call_seq.is_not(None))
        seqs |= set(self._numbers(select(event.c.seq).where(event.c.call_seq.in_(set(self._numbers(calls))))))
        return seqs | self._unplanned()

    def _marked(self, hashes: Sequence[tuple[str, str]]) -> Sequence[int]:
        asked: dict[str, Any] = {"most": RARE}
        for i in range(TOGETHER):  # where they are fewer, the last one again
            asked[f"tenant_{i}"], asked[f"what_{i}"] = hashes[min(i, len(hashes) - 1)]
        return self._connection.execute(_MARKED, asked).scalars().all()

    def _unplanned(self) -> set[int]:
        wanted = self._wanted
        if wanted.speaks is None or wanted.tenant_id is None:
            return set()
        found = set()
        for state in ("queued", "quarantined"):
            mine = and_(event.c.tenant == wanted.tenant_id, event.c.state == state)
            latest = select(event).where(mine).order_by(event.c.seq.desc()).limit(UNPLANNED)
            rows = self._connection.execute(latest).all()
            self._read += len(rows)
            found |= {row.seq for row in rows if wanted.speaks(body_of(row))}
        return found

    def _stretch(self, known: list[int] | None, first: int, below: int, step: int) -> Sequence[int]:
        if known is not None:
            return [seq for seq in known if first <= seq < below][:step]
        near = select(event.c.seq).where(event.c.seq >= first, event.c.seq < below)
        if self._wanted.tenant_id is not None:
            near = near.where(event.c.tenant == self._wanted.tenant_id)
        return self._numbers(near.order_by(event.c.seq.desc()).limit(step))

    # which of them are wanted -------------------------------------------------------------------------
    def _take(self, seqs: Sequence[int], *, is_listed: bool) -> None:
        among = event.c.seq.in_(seqs) if is_listed else event.c.seq.between(seqs[-1], seqs[0])
        order = (
            event.c.seq + 0 if is_listed else event.c.seq
        )  # by its own order SQLite would go through all between them
        matching = STORED_EVENTS.where(among, *self._conditions()).order_by(order.desc())
        says = self._wanted.says
        if says is None:
            matching = matching.limit(self._limit + 1 - len(self._rows))
        for row in self._connection.execute(matching):
            if says is None or says(body_of(row)):
                self._rows.append(row)
            if says is not None:
                self._read += 1
                time.sleep(BREATH)

    def _conditions(self) -> list[ColumnElement[bool]]:
        wanted = self._wanted
        found: list[ColumnElement[bool]] = []
        if wanted.tenant_id is not None:
            found.append(event.c.tenant == wanted.tenant_id)
        if wanted.sender is not None:
            found.append(event.c.sender == wanted.sender)
        if wanted.since is not None:
            found.append(event.c.received_at >= wanted.since.timestamp())
        if wanted.until is not None:
            found.append(event.c.received_at < wanted.until.timestamp())
        state = _unindexed(event.c.state)
        if wanted.state in OWN_STATES:
            found.append(state == wanted.state)
        elif wanted.state is not None:
            its = _unindexed(delivery.c.state)
            has = exists().where(delivery.c.call_seq == event.c.call_seq, its == wanted.state)
            found.append(and_(state == "planned", or_(has, call.c.state == wanted.state)))
        return found


def _unindexed(column: Column[str]) -> ColumnElement[str]:
    """Return the column so that SQLite does not look through all rows with a value: others say better where to look."""
    return func.coalesce(column, "")
