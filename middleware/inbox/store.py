"""``Inbox``: accept an event durably, and show what became of it."""

from __future__ import annotations

import hmac
import json
import secrets
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Row, and_, bindparam, func, or_, select, update

from middleware.errors import StorageError
from middleware.inbox.committer import Committer
from middleware.inbox.database import open_database
from middleware.inbox.tables import UNLOGGED, attempt, call, delivery, event, lane, logged_call
from middleware.metrics.counts import NOT_COUNTED, Counts
from middleware.metrics.names import EVENTS

Status = Literal["accepted", "duplicate", "quarantined"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """What the sender is told; ``id`` finds the event again."""

    id: str
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to write a call into a CRM, in plain words."""

    at: datetime
    channel: str
    outcome: str
    words: str
    took_ms: int
    error: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvent:
    """An event as it came and what became of it; ``state`` is that of its least finished delivery."""

    id: str
    tenant_id: str
    sender: str
    received_at: datetime
    state: str
    reason: str | None
    raw: bytes
    due_at: datetime | None = None
    external_id: str | None = None
    url: str | None = None
    call_id: str | None = None
    attempts: tuple[Attempt, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a sender sent, as it was stored."""

    event_id: str
    sender: str
    raw: bytes
    content_type: str
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredCall:
    """A call with all that was sent about it, in the order it came; ``url`` is its page in a CRM."""

    id: str
    key: str
    bodies: tuple[Body, ...]
    url: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """How the inbox stands: events by state, and for how long the oldest due one has been waiting (seconds)."""

    states: dict[str, int]
    oldest_due: float
    paused: int


OWN_STATES = ("queued", "quarantined", "replaced", "purged")  # of an event that is part of no call
_UNDELIVERED = ("waiting", "parked", "dead", "ignored")  # of deliveries: all states but one
_UNFINISHED_FIRST = (
    "queued",
    "waiting",
    "dead",
    "parked",
    "delivered",
    "quarantined",
    "ignored",
    "noted",
    "replaced",
    "purged",
)
_BODIES = (
    select(event.c.id, event.c.sender, event.c.raw, event.c.content_type, event.c.received_at)
    .where(event.c.call_seq == bindparam("the_call"))
    .order_by(event.c.seq)
)


class Inbox:
    """The durable store of events; one per process, shared by its threads."""

    def __init__(
        self, database_url: str, *, key: bytes, now: Callable[[], datetime], counts: Counts = NOT_COUNTED
    ) -> None:
        self.database = open_database(database_url)
        self._committer = Committer(self.database)
        self.now = now
        self._key = key
        self._counts = counts

    def accept(
        self,
        tenant_id: str,
        sender: str,
        *,
        key: str,
        raw: bytes,
        content_type: str,
        errors: dict[str, Any] | None = None,
    ) -> Accepted:
        """Store the event once, on disk when this returns; raises ``StorageError`` and stores nothing otherwise.

        The same key with another content is another event: an update of the same call.
        """
        answer: SimpleQueue[Accepted | StorageError] = SimpleQueue()
        self.begin(tenant_id, sender, answer.put, key=key, raw=raw, content_type=content_type, errors=errors)
        accepted = answer.get()
        if isinstance(accepted, StorageError):
            raise accepted
        return accepted

    def begin(
        self,
        tenant_id: str,
        sender: str,
        done: Callable[[Accepted | StorageError], None],
        *,
        key: str,
        raw: bytes,
        content_type: str,
        errors: dict[str, Any] | None = None,
    ) -> None:
        """Have ``done`` called, on another thread, with what :meth:`accept` returns or raises."""
        event_id = secrets.token_hex(12)
        key_hash = self._hash(tenant_id, sender, key.encode(errors="replace"))
        row: dict[str, Any] = {
            "id": event_id,
            "tenant": tenant_id,
            "sender": sender,
            "key": key_hash,
            "digest": self._hash(tenant_id, sender, key_hash.encode() + raw),
            "content_type": content_type[:100],
            "raw": raw,
            "received_at": self.now().timestamp(),
            "state": "queued" if errors is None else "quarantined",
            "reason": None if errors is None else json.dumps(errors, default=str),
        }

        def stored(result: str | StorageError) -> None:
            if isinstance(result, StorageError):
                self._counts.add(EVENTS, tenant_id, sender, "refused")
                return done(result)
            status: Status = "duplicate" if result != event_id else "accepted" if errors is None else "quarantined"
            self._counts.add(EVENTS, tenant_id, sender, status)
            return done(Accepted(id=result, status=status))

        self._committer.store(row, stored)

    def find_event(self, event_id: str) -> StoredEvent | None:
        """Return the event with all attempts to write its call."""
        with self.database.read() as connection:
            row = connection.execute(STORED_EVENTS.where(event.c.id == event_id)).first()
            if row is None:
                return None
            deliveries = connection.execute(select(delivery).where(delivery.c.call_seq == row.call_seq)).all()
            tries = connection.execute(
                select(attempt, delivery.c.channel)
                .join(delivery, attempt.c.delivery_id == delivery.c.id)
                .where(delivery.c.call_seq == row.call_seq)
                .order_by(attempt.c.id)
            ).all()
        return stored_event(row, deliveries, tuple(map(_attempt, tries)))

    def list_events(
        self,
        tenant_id: str | None = None,
        state: str | None = None,
        sender: str | None = None,
        limit: int = 50,
    ) -> list[StoredEvent]:
        """Return the latest events that match, newest first, without their attempts."""
        with self.database.read() as connection:
            rows = connection.execute(
                STORED_EVENTS.where(_matches(tenant_id, state, sender)).order_by(event.c.seq.desc()).limit(limit)
            ).all()
            seqs = {row.call_seq for row in rows}
            deliveries = connection.execute(select(delivery).where(delivery.c.call_seq.in_(seqs))).all()
        return [stored_event(row, [d for d in deliveries if d.call_seq == row.call_seq]) for row in rows]

    def list_logged(self, tenant_id: str, number: str, limit: int = 10) -> list[StoredCall]:
        """Return the latest calls of ``number`` that were written into the customer's CRM, newest first."""
        wanted = and_(logged_call.c.tenant == tenant_id, logged_call.c.number == self.hash_number(tenant_id, number))
        with self.database.read() as connection:
            rows = connection.execute(
                select(call.c.seq, call.c.id, call.c.key, logged_call.c.url)
                .join(call, logged_call.c.call_seq == call.c.seq)
                .where(wanted)
                .order_by(logged_call.c.started_at.desc())
                .limit(limit)
            ).all()
            return [
                StoredCall(id=row.id, key=row.key, url=row.url, bodies=bodies_of(connection, row.seq)) for row in rows
            ]

    def hash_number(self, tenant_id: str, number: str) -> str:
        """Return what the tables hold in place of a phone number."""
        return self._hash(tenant_id, "number", number.encode(errors="replace"))

    def retry_events(
        self,
        ids: Sequence[str] = (),
        *,
        tenant_id: str | None = None,
        state: str | None = None,
        since: datetime | None = None,
    ) -> int:
        """Deliver again at once what is dead, parked, waiting or quarantined among the matching events.

        ``since`` is when they were received, at the earliest.  Ends the pause of the customers concerned, and returns
        how many events will be tried.
        """
        wanted = _matches(tenant_id, state, None)
        if ids:
            wanted = and_(wanted, event.c.id.in_(ids))
        if since:
            wanted = and_(wanted, event.c.received_at >= since.timestamp())
        calls = select(event.c.call_seq).where(wanted, event.c.call_seq.is_not(None))
        opened = and_(delivery.c.call_seq.in_(calls), delivery.c.state != "delivered")
        ignored = select(call.c.seq).where(call.c.seq.in_(calls), call.c.state == "ignored")
        again = or_(event.c.state == "quarantined", event.c.call_seq.in_(ignored))
        with self.database.read() as connection:
            tenant_ids = connection.execute(select(event.c.tenant).where(wanted).distinct()).scalars().all()
        with self.database.write(*tenant_ids) as connection:
            tried = or_(again, event.c.call_seq.in_(select(delivery.c.call_seq).where(opened)))
            count = connection.execute(select(func.count()).select_from(event).where(wanted, tried)).scalar_one()
            # what is wanted may be told by the deliveries' state: they are changed last
            connection.execute(update(event).where(wanted, again).values(state="queued", reason=None))
            free = {"paused_revision": None, "due_at": 0.0, "failures": 0}
            connection.execute(update(lane).where(lane.c.tenant.in_(tenant_ids)).values(free))
            due = {"state": "waiting", "due_at": self.now().timestamp(), "first_attempt_at": None, "crashes": 0}
            connection.execute(update(delivery).where(opened).values(due))
        return int(count)

    def summary(self) -> Summary:
        """Return how the inbox stands."""
        now = self.now().timestamp()
        own = select(event.c.state, func.count()).where(event.c.state.in_(OWN_STATES)).group_by(event.c.state)
        undelivered = select(delivery.c.state, func.count()).where(delivery.c.state.in_(_UNDELIVERED))
        unlogged = select(call.c.state, func.count()).where(UNLOGGED).group_by(call.c.state)
        states: Counter[str] = Counter()
        with self.database.read() as connection:
            # SQLite counts all rows ten times as quickly as those with a state, and nearly all are delivered
            states["delivered"] = connection.execute(select(func.count()).select_from(delivery)).scalar_one()
            for state, count in connection.execute(undelivered.group_by(delivery.c.state)):
                states[state] += count
                states["delivered"] -= count
            for query in (own, unlogged):
                for state, count in connection.execute(query):
                    states[state] += count
            queued = connection.execute(select(func.min(event.c.received_at)).where(event.c.state == "queued")).scalar()
            waiting = connection.execute(
                select(func.min(delivery.c.due_at)).where(delivery.c.state == "waiting")
            ).scalar()
            paused = connection.execute(
                select(func.count()).select_from(lane).where(lane.c.paused_revision.is_not(None))
            ).scalar_one()
        oldest = min(filter(None, (queued, waiting)), default=now)
        return Summary(states=dict(+states), oldest_due=max(0.0, now - oldest), paused=paused)

    def check(self) -> None:
        """Raise ``StorageError`` unless something can be written now."""
        nobodys = {"tenant": "", "channel": ""}  # a full disk shows when something is really written
        changes = {"due_at": self.now().timestamp()}
        row = self.database.insert(lane).values(nobodys | changes)
        with self.database.write() as connection:
            connection.execute(row.on_conflict_do_update(index_elements=list(nobodys), set_=changes))

    def close(self) -> None:
        """Close the database."""
        self.database.close()

    def hash_mark(self, tenant_id: str, mark: str) -> str:
        """Return what the tables hold in place of what events have in common."""
        return self._hash(tenant_id, "mark", mark.encode(errors="replace"))

    def _hash(self, tenant_id: str, sender: str, content: bytes) -> str:
        return hmac.digest(self._key, f"{tenant_id}\0{sender}\0".encode() + content, "sha256").hex()


def _matches(tenant_id: str | None, state: str | None, sender: str | None) -> ColumnElement[bool]:
    wanted: list[ColumnElement[bool]] = [event.c.seq > 0]
    if tenant_id:
        wanted.append(event.c.tenant == tenant_id)
    if sender:
        wanted.append(event.c.sender == sender)
    if state in OWN_STATES:
        wanted.append(event.c.state == state)
    elif state:
        delivered = select(delivery.c.call_seq).where(delivery.c.state == state)
        unlogged = select(call.c.seq).where(call.c.state == state)
        wanted.append(or_(event.c.call_seq.in_(delivered), event.c.call_seq.in_(unlogged)))
        wanted.append(event.c.state == "planned")
    return and_(*wanted)


def bodies_of(connection: Connection, call_seq: int) -> tuple[Body, ...]:
    """Return all that was sent about a call, in the order it came."""
    return tuple(map(body_of, connection.execute(_BODIES, {"the_call": call_seq})))


def body_of(row: Any) -> Body:
    """Return what an event's row holds."""
    return Body(
        event_id=row.id,
        sender=row.sender,
        raw=row.raw,
        content_type=row.content_type,
        received_at=datetime.fromtimestamp(row.received_at, UTC),
    )


STORED_EVENTS = select(
    event, call.c.id.label("call_id"), call.c.state.label("call_state"), call.c.reason.label("call_reason")
).outerjoin(call, event.c.call_seq == call.c.seq)


def stored_event(row: Row[Any], deliveries: Sequence[Row[Any]], attempts: tuple[Attempt, ...] = ()) -> StoredEvent:
    """Return what became of an event of :data:`STORED_EVENTS`, whose call has the ``deliveries``."""
    states = [d.state for d in deliveries] or [row.call_state] if row.state == "planned" else [row.state]
    waiting = [d.due_at for d in deliveries if d.state in ("waiting", "parked")]
    return StoredEvent(
        id=row.id,
        tenant_id=row.tenant,
        sender=row.sender,
        received_at=datetime.fromtimestamp(row.received_at, UTC),
        state=min(states, key=_UNFINISHED_FIRST.index, default="delivered"),
        reason=row.reason or (row.call_reason if row.state == "planned" else None),
        raw=row.raw,
        due_at=datetime.fromtimestamp(min(waiting), UTC) if waiting else None,
        external_id=next((d.external_id for d in deliveries if d.external_id), None),
        url=next((d.url for d in deliveries if d.url), None),
        call_id=row.call_id,
        attempts=attempts,
    )


def _attempt(row: Row[Any]) -> Attempt:
    at = datetime.fromtimestamp(row.at, UTC)
    return Attempt(
        at=at, channel=row.channel, outcome=row.outcome, words=row.words, took_ms=row.took_ms, error=row.error
    )
