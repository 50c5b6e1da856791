"""``Planner``: makes calls of events, and deliveries of calls; each event in one transaction, once."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, or_, select, update

from middleware.inbox.calls import LATE, LONGEST, Heard, is_same_call
from middleware.inbox.store import Body, Inbox, bodies_of, body_of
from middleware.inbox.tables import attempt, call, delivery, event, lane, logged_call, mark

Hear = Callable[[Body], Heard | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is done about a call: the channels to write it to, each not before a moment (Unix seconds), or why none."""

    channels: dict[str, float] = field(default_factory=dict)
    state: str = "logged"
    reason: str | None = None


class Planner:
    """What a worker does with events that are new."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._database = inbox.database

    def queued(self, limit: int = 100, after: int = 0) -> list[Row[Any]]:
        """Return events that belong to no call yet, oldest first, behind the sequence number ``after``."""
        wanted = and_(event.c.state == "queued", event.c.seq > after)
        with self._database.read() as connection:
            return list(connection.execute(select(event).where(wanted).order_by(event.c.seq).limit(limit)))

    def set_aside(self, seq: int, reason: str) -> None:
        """Quarantine an event that is not understood."""
        with self._database.write() as connection:
            wanted = and_(event.c.seq == seq, event.c.state == "queued")
            connection.execute(update(event).where(wanted).values(state="quarantined", reason=reason))

    def plan(
        self, row: Row[Any], heard: Heard, hear: Hear, join_within: timedelta, decide: Callable[[Sequence[Body]], Plan]
    ) -> str | None:
        """Add the event to its call, or to a new one, and have done what ``decide`` says of the whole call.

        Events that speak of several calls make them one.  Returns the call's id; ``None`` when another worker was
        quicker, and, with nothing changed, while one of several calls is being written.
        """
        with self._database.write(row.tenant) as connection:  # two events may speak of one call
            claim = update(event).where(event.c.seq == row.seq, event.c.state == "queued").values(state="planned")
            if not connection.execute(claim).rowcount:
                return None
            calls = self._calls_like(connection, row, heard, hear, join_within)
            if len(calls) > 1 and self._is_any_in_flight(connection, calls):
                connection.execute(update(event).where(event.c.seq == row.seq).values(state="queued"))
                return None
            call_seq = self._joined(connection, calls) if calls else self._begin(connection, row)
            connection.execute(update(event).where(event.c.seq == row.seq).values(call_seq=call_seq))
            self._leave_marks(connection, row, heard)
            self._carry_out(connection, row.tenant, call_seq, decide(bodies_of(connection, call_seq)))
            return str(connection.execute(select(call.c.id).where(call.c.seq == call_seq)).scalar_one())

    def _calls_like(
        self, connection: Connection, row: Row[Any], heard: Heard, hear: Hear, join_within: timedelta
    ) -> list[int]:
        """Return the calls that the event speaks of, the oldest first; its own, if it was planned before."""
        if row.call_seq is not None:
            return [row.call_seq]
        ids, contacts = ([self._inbox.hash_mark(row.tenant, text) for text in texts] for texts in heard.marks())
        reach = (LATE + join_within).total_seconds()
        near = and_(
            mark.c.what.in_(contacts),
            mark.c.begin <= heard.end.timestamp() + reach,
            mark.c.begin >= heard.begin.timestamp() - reach - LONGEST.total_seconds(),
            mark.c.end >= heard.begin.timestamp() - reach,
        )
        alike = select(mark.c.event_seq).where(mark.c.tenant == row.tenant, or_(mark.c.what.in_(ids), near))
        rows = connection.execute(select(event).where(event.c.seq.in_(alike), event.c.call_seq.is_not(None))).all()
        sure: set[int] = set()
        likely: set[int] = set()
        for other in rows:
            known = hear(body_of(other))
            if known and is_same_call(heard, known, join_within):
                is_timed = bool(heard.event.started_at and known.event.started_at)
                is_sure = is_timed or bool(set(heard.event.call_ids) & set(known.event.call_ids))
                (sure if is_sure else likely).add(other.call_seq)
        return sorted(sure) or (sorted(likely) if len(likely) == 1 else [])

    def _is_any_in_flight(self, connection: Connection, calls: Sequence[int]) -> bool:
        busy = select(delivery.c.id).where(delivery.c.call_seq.in_(calls), delivery.c.in_flight).limit(1)
        return connection.execute(busy).first() is not None

    def _begin(self, connection: Connection, row: Row[Any]) -> int:
        values = {"id": secrets.token_hex(12), "tenant": row.tenant, "key": row.key, "state": "noted", "version": 0}
        return int(connection.execute(call.insert().values(values).returning(call.c.seq)).scalar_one())

    def _joined(self, connection: Connection, calls: Sequence[int]) -> int:
        """Return the oldest of the calls, made one with the others."""
        first, *others = calls
        for other in others:
            connection.execute(update(event).where(event.c.call_seq == other).values(call_seq=first))
            for theirs in connection.execute(select(delivery).where(delivery.c.call_seq == other)).all():
                self._take_over(connection, first, theirs)
            connection.execute(delete(logged_call).where(logged_call.c.call_seq == other))
            connection.execute(delete(call).where(call.c.seq == other))
        return first

    def _take_over(self, connection: Connection, call_seq: int, theirs: Row[Any]) -> None:
        """Keep one delivery of two to the same channel: the one that is in the CRM; two that are become a duplicate."""
        ours = connection.execute(
            select(delivery).where(delivery.c.call_seq == call_seq, delivery.c.channel == theirs.channel)
        ).first()
        if ours is None:
            connection.execute(update(delivery).where(delivery.c.id == theirs.id).values(call_seq=call_seq))
            return
        kept, gone = (ours, theirs) if ours.external_id or not theirs.external_id else (theirs, ours)
        connection.execute(update(attempt).where(attempt.c.delivery_id == gone.id).values(delivery_id=kept.id))
        connection.execute(delete(delivery).where(delivery.c.id == gone.id))
        changes: dict[str, Any] = {"call_seq": call_seq}
        if gone.external_id:
            changes["maybe_duplicate"] = True
            words = f"The CRM has this call once more, as {gone.external_id}: what showed that it is one came later."
            told = {"at": self._now(), "took_ms": 0, "outcome": "duplicate", "words": words}
            connection.execute(attempt.insert().values(delivery_id=kept.id, **told))
        connection.execute(update(delivery).where(delivery.c.id == kept.id).values(changes))

    def _leave_marks(self, connection: Connection, row: Row[Any], heard: Heard) -> None:
        connection.execute(delete(mark).where(mark.c.event_seq == row.seq))
        place = {"tenant": row.tenant, "event_seq": row.seq}
        times = {"begin": heard.begin.timestamp(), "end": heard.end.timestamp()}
        texts = [text for texts in heard.marks() for text in texts]
        rows = [{"what": self._inbox.hash_mark(row.tenant, text), **place, **times} for text in texts]
        if rows:
            connection.execute(mark.insert(), rows)

    def _carry_out(self, connection: Connection, tenant_id: str, call_seq: int, plan: Plan) -> None:
        changes = {"version": call.c.version + 1, "state": plan.state, "reason": plan.reason}
        connection.execute(update(call).where(call.c.seq == call_seq).values(changes))
        if not plan.channels:  # what is known by now says that nobody wants it
            unsent = and_(delivery.c.call_seq == call_seq, delivery.c.external_id.is_(None), ~delivery.c.in_flight)
            connection.execute(update(delivery).where(unsent).values(state="ignored"))
        for channel, due_at in plan.channels.items():
            self._make_due(connection, tenant_id, call_seq, channel, due_at)

    def _make_due(self, connection: Connection, tenant_id: str, call_seq: int, channel: str, due_at: float) -> None:
        """Have the call written, or what the CRM has of it completed."""
        place = {"tenant": tenant_id, "channel": channel}
        known = connection.execute(
            select(delivery).where(delivery.c.call_seq == call_seq, delivery.c.channel == channel)
        ).first()
        if known is None:
            new = {"call_seq": call_seq, "state": "waiting", "due_at": due_at, **place}
            connection.execute(delivery.insert().values(new))
            connection.execute(self._database.insert(lane).values(place).on_conflict_do_nothing())
        elif known.state != "waiting":
            again = {"state": "waiting", "due_at": due_at, "first_attempt_at": None, "crashes": 0}
            connection.execute(update(delivery).where(delivery.c.id == known.id).values(again))
        elif not known.attempts:  # it waits for other parts of the call, and this may be the last
            connection.execute(update(delivery).where(delivery.c.id == known.id).values(due_at=due_at))

    def _now(self) -> float:
        return self._inbox.now().timestamp()
