"""``Planner``: makes calls of events, and deliveries of calls; each event in one transaction, once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, and_, func, select, update

from middleware.inbox.calls import Heard
from middleware.inbox.meeting import BusyError, Hear, Meeting
from middleware.inbox.store import Inbox, StoredCall, bodies_of, body_of
from middleware.inbox.tables import call, delivery, event, lane

AT_ONCE = 20  # events of a customer, before others have their turn
OLD = timedelta(days=7)  # longer than any sender goes on sending


class TakenError(Exception):
    """Another worker was quicker with the event; it has the customer's next ones before it, too."""


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

    def next_tenant(self, after: str) -> str | None:
        """Return the next customer, in the order of ids, with events that belong to no call yet."""
        wanted = and_(event.c.state == "queued", event.c.tenant > after)
        with self._database.read() as connection:
            return connection.execute(select(func.min(event.c.tenant)).where(wanted)).scalar()

    def queued(self, tenant_id: str, limit: int = AT_ONCE) -> list[Row[Any]]:
        """Return a customer's oldest events that belong to no call yet."""
        wanted = and_(event.c.state == "queued", event.c.tenant == tenant_id)
        with self._database.read() as connection:
            return list(connection.execute(select(event).where(wanted).order_by(event.c.seq).limit(limit)))

    def set_aside(self, seq: int, reason: str) -> None:
        """Quarantine an event that is not understood."""
        with self._database.write() as connection:
            wanted = and_(event.c.seq == seq, event.c.state == "queued")
            connection.execute(update(event).where(wanted).values(state="quarantined", reason=reason))

    def plan(
        self, row: Row[Any], heard: Heard, hear: Hear, join_within: timedelta, decide: Callable[[StoredCall], Plan]
    ) -> str | None:
        """Add the event to its call, or to a new one, and have done what ``decide`` says of the whole call.

        Returns the call's id; ``None``, with nothing changed, while one of several calls that are to be one is being
        written.  Raises ``TakenError`` when another worker was quicker.
        """
        try:
            with self._database.write(row.tenant) as connection:  # two events may speak of one call
                meeting = Meeting(connection, self._inbox, row.tenant, hear, join_within)
                near = meeting.near(heard)
                if row.call_seq is None and not near:
                    return self._plan_first(connection, row, meeting, heard, decide)
                self._claim(connection, row, reason=_remark(heard))
                call_seq = meeting.place(row, heard, near)
                stored = {seq: self._stored(connection, seq) for seq in sorted(meeting.touched)}
                for seq, its in stored.items():
                    self._carry_out(connection, row.tenant, seq, decide(its))
                return stored[call_seq].id
        except BusyError:
            return None

    def _plan_first(
        self,
        connection: Connection,
        row: Row[Any],
        meeting: Meeting,
        heard: Heard,
        decide: Callable[[StoredCall], Plan],
    ) -> str:
        """Do the same for the first event of a call, as most are: with half of the statements."""
        stored = StoredCall(id=secrets.token_hex(12), key=row.key, bodies=(body_of(row),))
        plan = decide(stored)
        new = {"id": stored.id, "tenant": row.tenant, "key": row.key, "version": 1}
        values = {"state": plan.state, "reason": plan.reason, **new}
        call_seq = int(connection.execute(call.insert().values(values).returning(call.c.seq)).scalar_one())
        self._claim(connection, row, call_seq=call_seq, reason=_remark(heard))
        meeting.leave_marks(row, heard)
        for channel, due_at in plan.channels.items():
            self._add_delivery(connection, row.tenant, call_seq, channel, due_at)
        return stored.id

    def _claim(self, connection: Connection, row: Row[Any], **values: int | str | None) -> None:
        mine = and_(event.c.seq == row.seq, event.c.state == "queued")
        if not connection.execute(update(event).where(mine).values(state="planned", **values)).rowcount:
            raise TakenError

    def _stored(self, connection: Connection, call_seq: int) -> StoredCall:
        found = connection.execute(select(call.c.id, call.c.key).where(call.c.seq == call_seq)).one()
        return StoredCall(id=found.id, key=found.key, bodies=bodies_of(connection, call_seq))

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
        known = connection.execute(
            select(delivery).where(delivery.c.call_seq == call_seq, delivery.c.channel == channel)
        ).first()
        if known is None:
            self._add_delivery(connection, tenant_id, call_seq, channel, due_at)
        elif known.state != "waiting":
            again = {"state": "waiting", "due_at": due_at, "first_attempt_at": None, "crashes": 0}
            connection.execute(update(delivery).where(delivery.c.id == known.id).values(again))
        elif not known.attempts:  # it waits for other parts of the call, and this may be the last
            connection.execute(update(delivery).where(delivery.c.id == known.id).values(due_at=due_at))

    def _add_delivery(self, connection: Connection, tenant_id: str, call_seq: int, channel: str, due_at: float) -> None:
        place = {"tenant": tenant_id, "channel": channel}
        new = {"call_seq": call_seq, "state": "waiting", "due_at": due_at, **place}
        connection.execute(delivery.insert().values(new))
        connection.execute(self._database.insert(lane).values(place).on_conflict_do_nothing())


def _remark(heard: Heard) -> str | None:
    """Return what people should know of an event that is understood (RELIABILITY, T22)."""
    age = heard.received_at - heard.event.started_at if heard.event.started_at else OLD
    if age <= OLD:
        return None
    return f"The call began {age.days} days before it was told of: was it sent again?"
