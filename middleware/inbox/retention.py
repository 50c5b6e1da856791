"""What is kept for how long, and what is known of a number: found, or removed for good.

A call and what was sent about it go ``AFTER_SUCCESS`` after its last event, one that was never written
``AFTER_FAILURE``, told in the log; a keyed hash that recognises a repeat stays for ``HASHES``.  What still waits is
never removed because of its age.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select, update

from middleware.inbox.store import Body, Inbox, StoredEvent, body_of
from middleware.inbox.tables import attempt, call, delivery, event, logged_call, mark

AFTER_SUCCESS = timedelta(days=7)
AFTER_FAILURE = timedelta(days=30)
HASHES = timedelta(days=30)
BATCH = 200  # calls or events in one transaction: senders wait for it

log = structlog.get_logger("m8crm.inbox")
Speaks = Callable[[Body], bool]  # of the number that is asked for


@dataclass(frozen=True, slots=True, kw_only=True)
class Removed:
    """How many events are gone; ``call_ids`` are those of their calls, for what is kept elsewhere under them."""

    events: int
    call_ids: tuple[str, ...] = ()


class Retention:
    """Removes what is old, and what somebody has a right to see gone."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._database = inbox.database

    def purge(self) -> Removed:
        """Remove what has been kept long enough; when this returns nothing of it is left on the disk."""
        now = self._inbox.now()
        written, failed = (
            self._calls(now - AFTER_SUCCESS, "dead", is_in=False),
            self._calls(now - AFTER_FAILURE, "dead"),
        )
        ids = [*self._in_batches(written), *(lost := self._in_batches(failed))]
        free = event.c.call_seq.is_(None)  # an event of a call that is still kept stays with it
        unplanned = event.c.state.in_(("quarantined", "replaced"))
        set_aside = and_(unplanned, event.c.received_at < (now - AFTER_FAILURE).timestamp())
        with self._database.write(is_long=True) as connection:
            unread = connection.execute(update(event).where(set_aside).values(raw=b"", reason=None, state="purged"))
            old = and_(event.c.state == "purged", event.c.received_at < (now - HASHES).timestamp(), free)
            gone = connection.execute(delete(event).where(old)).rowcount
        if lost or unread.rowcount:
            log.error("undelivered_removed", calls=len(lost), quarantined=unread.rowcount)
        if ids or unread.rowcount or gone:
            self._database.compact()
        return Removed(events=gone, call_ids=tuple(ids))

    def find(self, tenant_id: str, speaks: Speaks) -> list[StoredEvent]:
        """Return every event of the customer that speaks of the number, and the others of the same calls."""
        found = (self._inbox.find_event(event_id) for event_id in self._ids(tenant_id, speaks))
        return [stored for stored in found if stored]

    def forget(
        self, tenant_id: str, speaks: Speaks, first: Callable[[Sequence[str]], object] = lambda _call_ids: None
    ) -> Removed:
        """Remove what :meth:`find` returns, also what waits; when this returns nothing of it is left on the disk.

        ``first`` is told the ids of the calls, and removes what is kept elsewhere under them: what is interrupted is
        found once more while the calls are there.
        """
        ids = self._ids(tenant_id, speaks)
        first(self._call_ids(ids))
        call_ids: list[str] = []
        for start in range(0, len(ids), BATCH):
            wanted = event.c.id.in_(ids[start : start + BATCH])
            with self._database.write(tenant_id, is_long=True) as connection:
                calls = set(connection.execute(select(event.c.call_seq).where(wanted)).scalars()) - {None}
                call_ids += _remove(connection, calls)
                connection.execute(delete(event).where(wanted))
        self._database.compact()
        return Removed(events=len(ids), call_ids=tuple(call_ids))

    def _call_ids(self, ids: Sequence[str]) -> list[str]:
        found: set[str] = set()
        for start in range(0, len(ids), BATCH):
            theirs = select(call.c.id).join(event, event.c.call_seq == call.c.seq)
            with self._database.read() as connection:
                found.update(connection.execute(theirs.where(event.c.id.in_(ids[start : start + BATCH]))).scalars())
        return sorted(found)

    def _ids(self, tenant_id: str, speaks: Speaks) -> list[str]:
        """Return the ids of the events, found by reading all of the customer's: a number may stand anywhere."""
        events, calls, after = set(), set(), 0
        while rows := self._rows(event.c.tenant == tenant_id, after):
            for row in rows:
                if speaks(body_of(row)):
                    events.add(row.id)
                    calls.add(row.call_seq)
            after = rows[-1].seq
        with self._database.read() as connection:
            others = connection.execute(select(event.c.id).where(event.c.call_seq.in_(calls - {None}))).scalars()
            return sorted(events | set(others))

    def _rows(self, wanted: ColumnElement[bool], after: int) -> Sequence[Any]:
        query = select(event).where(wanted, event.c.seq > after).order_by(event.c.seq).limit(BATCH)
        with self._database.read() as connection:
            return connection.execute(query).all()

    def _calls(self, before: Any, state: str, *, is_in: bool = True) -> ColumnElement[bool]:
        """Return calls of which nothing waits, with or without a delivery in ``state``, silent since ``before``."""
        mine = delivery.c.call_seq == call.c.seq
        its_state = func.coalesce(delivery.c.state, "")  # else SQLite looks through all rows with the state, each time
        waits = exists().where(mine, its_state.in_(("waiting", "parked")))
        has = exists().where(mine, its_state == state)
        spoke = exists().where(event.c.call_seq == call.c.seq, event.c.received_at >= before.timestamp())
        return and_(~waits, has if is_in else ~has, ~spoke)

    def _in_batches(self, wanted: ColumnElement[bool]) -> list[str]:
        with self._database.read(is_long=True) as connection:
            tenant_ids = connection.execute(select(call.c.tenant).where(wanted).distinct()).scalars().all()
        return [call_id for tenant_id in tenant_ids for call_id in self._of_tenant(tenant_id, wanted)]

    def _of_tenant(self, tenant_id: str, wanted: ColumnElement[bool]) -> list[str]:
        removed: list[str] = []
        emptied = {"raw": b"", "state": "purged", "call_seq": None}
        mine = select(call.c.seq).where(call.c.tenant == tenant_id, wanted).limit(BATCH)
        while True:
            with self._database.write(tenant_id, is_long=True) as connection:
                calls = connection.execute(mine).scalars().all()
                removed += _remove(connection, calls, emptied)
            if len(calls) < BATCH:
                return removed


def _remove(connection: Connection, calls: Iterable[int], emptied: dict[str, Any] | None = None) -> list[str]:
    """Remove the calls and all that is known of them, and return their ids; events go, too, unless ``emptied``."""
    calls = list(calls)
    ids = list(connection.execute(select(call.c.id).where(call.c.seq.in_(calls))).scalars())
    theirs = event.c.call_seq.in_(calls)
    deliveries = select(delivery.c.id).where(delivery.c.call_seq.in_(calls))
    connection.execute(delete(attempt).where(attempt.c.delivery_id.in_(deliveries)))
    connection.execute(delete(mark).where(mark.c.event_seq.in_(select(event.c.seq).where(theirs))))
    connection.execute(update(event).where(theirs).values(emptied) if emptied else delete(event).where(theirs))
    for table in (delivery, logged_call):
        connection.execute(delete(table).where(table.c.call_seq.in_(calls)))
    connection.execute(delete(call).where(call.c.seq.in_(calls)))
    return ids
