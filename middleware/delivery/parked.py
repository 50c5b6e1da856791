"""Calls that wait for a contact: a lookup that finds the number ends the wait, an hour before the next look would."""

from __future__ import annotations

import time
from threading import Lock

import structlog
from sqlalchemy import and_, select, update

from middleware.crm.threads import DaemonPool
from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.inbox.tables import delivery, event, mark
from middleware.model.deadline import Clock

LOOK_EVERY = 30.0  # seconds that a process goes by what it knows: a lookup must not ask the database

log = structlog.get_logger("m8crm.delivery")


class ParkedCalls:
    """Knows, by keyed hashes, for which numbers calls are parked; one per process."""

    def __init__(self, inbox: Inbox, *, clock: Clock = time.monotonic) -> None:
        self._inbox = inbox
        self._clock = clock
        self._pool = DaemonPool("parked")
        self._lock = Lock()
        self._whats: frozenset[tuple[str, str]] = frozenset()
        self._looked_at = float("-inf")

    def appeared(self, tenant_id: str, number: str) -> None:
        """Have the parked calls of ``number`` delivered, since a CRM has its contact; costs the caller microseconds."""
        now = self._clock()
        with self._lock:
            is_due = now - self._looked_at >= LOOK_EVERY
            if is_due:
                self._looked_at = now
        if not is_due and not self._whats:  # nearly always
            return
        what = (tenant_id, self._inbox.hash_mark(tenant_id, f"contact {number}"))
        if is_due or what in self._whats:
            self._pool.submit(self._deliver, what, is_due=is_due)

    def _deliver(self, what: tuple[str, str], *, is_due: bool) -> None:
        try:
            if is_due:
                self._whats = self._look()
            if what in self._whats:
                self._make_due(*what)
        except StorageError as error:  # the hourly look comes all the same
            log.warning("parked_not_looked_for", error=str(error))

    def _look(self) -> frozenset[tuple[str, str]]:
        whats = (
            select(mark.c.tenant, mark.c.what)
            .join(event, mark.c.event_seq == event.c.seq)
            .join(delivery, delivery.c.call_seq == event.c.call_seq)
            .where(delivery.c.state == "parked")
        )
        with self._inbox.database.read() as connection:
            return frozenset((row.tenant, row.what) for row in connection.execute(whats))

    def _make_due(self, tenant_id: str, what: str) -> None:
        events = select(mark.c.event_seq).where(mark.c.tenant == tenant_id, mark.c.what == what)
        calls = select(event.c.call_seq).where(event.c.seq.in_(events))
        parked = and_(delivery.c.call_seq.in_(calls), delivery.c.state == "parked")
        with self._inbox.database.write() as connection:
            connection.execute(update(delivery).where(parked).values(due_at=self._inbox.now().timestamp()))
