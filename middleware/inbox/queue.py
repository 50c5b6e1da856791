"""``Queue``: what workers do with the inbox.  Every step is one short transaction; none is open during a call."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, exists, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from middleware.inbox.store import Inbox
from middleware.inbox.tables import attempt, delivery, event, lane, logged_call
from middleware.model.call import CallRecord, LoggedCall

LEASE = 30.0  # seconds; longer than an adapter's hard deadline, renewed before every delivery
_older = delivery.alias("older")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A customer's channel that this worker has leased."""

    tenant_id: str
    channel: str
    failures: int
    paused_revision: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that is in flight now, and its event."""

    id: int
    event_id: str
    key: str
    sender: str
    raw: bytes
    attempts: int
    first_attempt_at: float
    received_at: float
    crashes: int
    is_in_doubt: bool
    earlier: LoggedCall | None


class Queue:
    """One worker's view of the inbox; ``owner`` is what its leases bear."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._database = inbox.database
        self.owner = secrets.token_hex(8)

    def queued(self, limit: int = 100, after: int = 0) -> list[Row[Any]]:
        """Return events that have no deliveries yet, oldest first, behind the sequence number ``after``."""
        wanted = and_(event.c.state == "queued", event.c.seq > after)
        with self._database.read() as connection:
            return list(connection.execute(select(event).where(wanted).order_by(event.c.seq).limit(limit)))

    def plan(self, seq: int, channels: Iterable[str]) -> None:
        """Make the event's deliveries, once, whoever else plans it at the same time."""
        dialect = postgresql if self._database.dialect == "postgresql" else sqlite
        with self._database.write() as connection:
            row = connection.execute(
                update(event)
                .where(event.c.seq == seq, event.c.state == "queued")
                .values(state="planned")
                .returning(event.c.tenant, event.c.key)
            ).first()
            for channel in channels if row else ():
                place = {"tenant": row.tenant, "channel": channel}  # type: ignore[union-attr]
                due = self._now()
                connection.execute(
                    dialect.insert(delivery)
                    .values(event_seq=seq, key=row.key, state="waiting", due_at=due, **place)  # type: ignore[union-attr]
                    .on_conflict_do_nothing()
                )
                connection.execute(dialect.insert(lane).values(place).on_conflict_do_nothing())

    def set_aside(self, seq: int, state: str, reason: str) -> None:
        """Mark an event that will not be delivered: ``ignored`` or ``quarantined``."""
        with self._database.write() as connection:
            wanted = and_(event.c.seq == seq, event.c.state == "queued")
            connection.execute(update(event).where(wanted).values(state=state, reason=reason))

    def claim_lanes(self, limit: int) -> list[Lane]:
        """Lease lanes that have something due and that no other worker holds."""
        now = self._now()
        free = and_(lane.c.lease_until < now, lane.c.due_at <= now)
        due = exists().where(
            delivery.c.tenant == lane.c.tenant,
            delivery.c.channel == lane.c.channel,
            delivery.c.state.in_(("waiting", "parked")),
            delivery.c.due_at <= now,
        )
        wanted = select(lane).where(free, due).order_by(lane.c.lease_until).limit(limit)
        with self._database.read() as connection:  # an idle worker writes nothing
            if not connection.execute(wanted).first():
                return []
        with self._database.write() as connection:
            rows = connection.execute(wanted.with_for_update(skip_locked=True)).all()
            for row in rows:
                lease = {"owner": self.owner, "lease_until": now + LEASE}
                connection.execute(update(lane).where(_is_lane(row)).values(lease))
        return [
            Lane(tenant_id=row.tenant, channel=row.channel, failures=row.failures, paused_revision=row.paused_revision)
            for row in rows
        ]

    def claim_next(self, place: Lane) -> Claimed | None:
        """Renew the lease, and mark the oldest due delivery of the lane as in flight, its attempt counted.

        A delivery waits while an older one of the same call is unfinished.
        """
        now = self._now()
        blocked = exists().where(
            _older.c.tenant == delivery.c.tenant,
            _older.c.channel == delivery.c.channel,
            _older.c.key == delivery.c.key,
            _older.c.event_seq < delivery.c.event_seq,
            _older.c.state.in_(("waiting", "parked")),
        )
        due = and_(_in_lane(place), delivery.c.state.in_(("waiting", "parked")), delivery.c.due_at <= now, ~blocked)
        with self._database.write() as connection:
            renewed = connection.execute(
                update(lane).where(_is_held(place, self.owner)).values(lease_until=now + LEASE)
            )
            if not renewed.rowcount:  # another worker has it
                return None
            row = connection.execute(
                select(delivery, event.c.id.label("event_id"), event.c.sender, event.c.raw, event.c.received_at)
                .join(event, delivery.c.event_seq == event.c.seq)
                .where(due)
                .order_by(delivery.c.event_seq)
                .limit(1)
            ).first()
            if row is None:
                return None
            marked = {
                "state": "waiting",
                "attempts": row.attempts + 1,
                "first_attempt_at": row.first_attempt_at or now,
                "crashes": row.crashes + bool(row.in_flight),
                "in_doubt": bool(row.in_doubt or row.in_flight),
                "in_flight": True,
            }
            connection.execute(update(delivery).where(delivery.c.id == row.id).values(marked))
            earlier = connection.execute(
                select(delivery.c.external_id, delivery.c.url)
                .where(_in_lane(place), delivery.c.key == row.key, delivery.c.state == "delivered")
                .where(delivery.c.event_seq < row.event_seq, delivery.c.external_id.is_not(None))
                .order_by(delivery.c.event_seq.desc())
            ).first()
        return Claimed(
            id=row.id,
            event_id=row.event_id,
            key=row.key,
            sender=row.sender,
            raw=row.raw,
            attempts=marked["attempts"],
            first_attempt_at=marked["first_attempt_at"],
            received_at=row.received_at,
            crashes=marked["crashes"],
            is_in_doubt=marked["in_doubt"],
            earlier=LoggedCall(external_id=earlier.external_id, url=earlier.url) if earlier else None,
        )

    def finish(
        self, place: Lane, claimed: Claimed, changes: dict[str, Any], told: dict[str, Any], call: CallRecord | None
    ) -> None:
        """Write how the attempt ended: ``changes`` to the delivery, ``told`` for people, ``call`` if it was logged."""
        with self._database.write() as connection:
            connection.execute(update(delivery).where(delivery.c.id == claimed.id).values(in_flight=False, **changes))
            connection.execute(attempt.insert().values(delivery_id=claimed.id, at=self._now(), **told))
            if call:
                self._remember(connection, place, claimed, call, changes.get("url"))

    def _remember(
        self, connection: Connection, place: Lane, claimed: Claimed, call: CallRecord, url: str | None
    ) -> None:
        """Keep that the number's call is in the CRM; a later event of the same call takes its place."""
        insert = (postgresql if self._database.dialect == "postgresql" else sqlite).insert(logged_call)
        latest = {
            "number": self._inbox.hash_number(place.tenant_id, str(call.contact_number)),
            "event_seq": select(event.c.seq).where(event.c.id == claimed.event_id).scalar_subquery(),
            "started_at": call.started_at.timestamp(),
            "url": url,
        }
        row = insert.values(tenant=place.tenant_id, key=claimed.key, **latest)
        connection.execute(row.on_conflict_do_update(index_elements=["tenant", "key"], set_=latest))

    def release(self, place: Lane, **changes: Any) -> None:
        """Give the lane back; ``changes`` say when and whether it goes on."""
        with self._database.write() as connection:
            held = _is_held(place, self.owner)
            connection.execute(update(lane).where(held).values(owner=None, lease_until=0.0, **changes))

    def release_all(self) -> None:
        """Give back every lane of this worker, so that the next one need not wait for the leases to end."""
        with self._database.write() as connection:
            mine = update(lane).where(lane.c.owner == self.owner)
            connection.execute(mine.values(owner=None, lease_until=0.0))

    def _now(self) -> float:
        return self._inbox.now().timestamp()


def _is_lane(place: Any) -> Any:
    return and_(lane.c.tenant == place.tenant, lane.c.channel == place.channel)


def _is_held(place: Lane, owner: str) -> Any:
    return and_(lane.c.tenant == place.tenant_id, lane.c.channel == place.channel, lane.c.owner == owner)


def _in_lane(place: Lane) -> Any:
    return or_(and_(delivery.c.tenant == place.tenant_id, delivery.c.channel == place.channel))
