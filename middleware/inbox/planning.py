"""``Planner``: makes calls of events, and deliveries of calls; each event in one transaction, once."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, select, update

from middleware.inbox.calls import Heard
from middleware.inbox.meeting import NEW_CALL, BusyError, Hear, Meeting
from middleware.inbox.store import Inbox, StoredCall, bodies_of, body_of
from middleware.inbox.tables import call, delivery, event, lane

AT_ONCE = 20  # events of a customer, before others have their turn
OLD = timedelta(days=7)  # longer than any sender goes on sending

# built once, here and wherever it is done for each event: to build a statement takes six times as long as to run it
_NEXT_TENANT = select(func.min(event.c.tenant)).where(event.c.state == "queued", event.c.tenant > bindparam("after"))
_QUEUED = (
    select(event)
    .where(event.c.state == "queued", event.c.tenant == bindparam("of"))
    .order_by(event.c.seq)
    .limit(bindparam("most"))
)
_CLAIM = update(event).where(event.c.seq == bindparam("the_event"), event.c.state == "queued")
_CALL = select(call.c.id, call.c.key).where(call.c.seq == bindparam("the_call"))
_NEXT_VERSION = update(call).where(call.c.seq == bindparam("the_call")).values(version=call.c.version + 1)
_DELIVERY = select(delivery).where(
    delivery.c.call_seq == bindparam("the_call"), delivery.c.channel == bindparam("the_channel")
)
_CHANGE_DELIVERY = update(delivery).where(delivery.c.id == bindparam("the_delivery"))
_UNSENT = update(delivery).where(
    delivery.c.call_seq == bindparam("the_call"), delivery.c.external_id.is_(None), ~delivery.c.in_flight
)
_NEW_DELIVERY = delivery.insert()


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
        self._new_lane = inbox.database.insert(lane).on_conflict_do_nothing()

    def next_tenant(self, after: str) -> str | None:
        """Return the next customer, in the order of ids, with events that belong to no call yet."""
        with self._database.read() as connection:
            return connection.execute(_NEXT_TENANT, {"after": after}).scalar()

    def queued(self, tenant_id: str, limit: int = AT_ONCE) -> list[Row[Any]]:
        """Return a customer's oldest events that belong to no call yet."""
        with self._database.read() as connection:
            return list(connection.execute(_QUEUED, {"of": tenant_id, "most": limit}))

    def set_aside(self, seq: int, reason: str) -> None:
        """Quarantine an event that is not understood."""
        with self._database.write() as connection:
            connection.execute(_CLAIM, {"the_event": seq, "state": "quarantined", "reason": reason})

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
        call_seq = int(connection.execute(NEW_CALL, values).scalar_one())
        self._claim(connection, row, call_seq=call_seq, reason=_remark(heard))
        meeting.leave_marks(row, heard)
        for channel, due_at in plan.channels.items():
            self._add_delivery(connection, row.tenant, call_seq, channel, due_at)
        return stored.id

    def _claim(self, connection: Connection, row: Row[Any], **values: int | str | None) -> None:
        if not connection.execute(_CLAIM, {"the_event": row.seq, "state": "planned", **values}).rowcount:
            raise TakenError

    def _stored(self, connection: Connection, call_seq: int) -> StoredCall:
        found = connection.execute(_CALL, {"the_call": call_seq}).one()
        return StoredCall(id=found.id, key=found.key, bodies=bodies_of(connection, call_seq))

    def _carry_out(self, connection: Connection, tenant_id: str, call_seq: int, plan: Plan) -> None:
        connection.execute(_NEXT_VERSION, {"the_call": call_seq, "state": plan.state, "reason": plan.reason})
        if not plan.channels:  # what is known by now says that nobody wants it
            connection.execute(_UNSENT, {"the_call": call_seq, "state": "ignored"})
        for channel, due_at in plan.channels.items():
            self._make_due(connection, tenant_id, call_seq, channel, due_at)

    def _make_due(self, connection: Connection, tenant_id: str, call_seq: int, channel: str, due_at: float) -> None:
        """Have the call written, or what the CRM has of it completed."""
        known = connection.execute(_DELIVERY, {"the_call": call_seq, "the_channel": channel}).first()
        if known is None:
            self._add_delivery(connection, tenant_id, call_seq, channel, due_at)
        elif known.state != "waiting":
            again = {"state": "waiting", "due_at": due_at, "first_attempt_at": None, "crashes": 0}
            connection.execute(_CHANGE_DELIVERY, {"the_delivery": known.id, **again})
        elif not known.attempts:  # it waits for other parts of the call, and this may be the last
            connection.execute(_CHANGE_DELIVERY, {"the_delivery": known.id, "due_at": due_at})

    def _add_delivery(self, connection: Connection, tenant_id: str, call_seq: int, channel: str, due_at: float) -> None:
        place = {"tenant": tenant_id, "channel": channel}
        connection.execute(_NEW_DELIVERY, {"call_seq": call_seq, "state": "waiting", "due_at": due_at, **place})
        connection.execute(self._new_lane, place)


def _remark(heard: Heard) -> str | None:
    """Return what people should know of an event that is understood (RELIABILITY, T22)."""
    age = heard.received_at - heard.event.started_at if heard.event.started_at else OLD
    if age <= OLD:
        return None
    return f"The call began {age.days} days before it was told of: was it sent again?"
