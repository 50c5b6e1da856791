"""``Queue``: what workers do with the inbox.  Every step is one short transaction; none is open during a call."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Float, Row, and_, bindparam, exists, or_, select, true, update

from middleware.failpoints import reach
from middleware.inbox.due import Due
from middleware.inbox.store import Inbox, StoredCall, bodies_of
from middleware.inbox.tables import attempt, call, delivery, lane, logged_call
from middleware.model.call import CallRecord, LoggedCall

LEASE = timedelta(seconds=30)
LEASES_AHEAD = 10  # leases: a clock is set right by seconds, seldom by as much
BETWEEN = 5.0  # seconds between two deliveries of a lane; a worker that takes longer is gone, or the next is quicker

_IS_IDLE = ~exists().where(
    delivery.c.tenant == lane.c.tenant, delivery.c.channel == lane.c.channel, delivery.c.in_flight
)
_HELD = update(lane).where(
    lane.c.tenant == bindparam("of"), lane.c.channel == bindparam("the_channel"), lane.c.owner == bindparam("me")
)
_NOW = bindparam("now", type_=Float)
# "+ 0" keeps SQLite from the index of moments: it would sort all that is due, every time
_DUE = (
    select(delivery, call.c.id.label("call_id"), call.c.key, call.c.version)
    .join(call, delivery.c.call_seq == call.c.seq)
    .where(delivery.c.tenant == bindparam("of"), delivery.c.channel == bindparam("the_channel"))
    .where(delivery.c.state == bindparam("wanted"), delivery.c.due_at + 0 <= _NOW)
    .limit(1)
)
_OLDEST, _NEWEST = _DUE.order_by(delivery.c.call_seq), _DUE.order_by(delivery.c.call_seq.desc())
_MARK = update(delivery).where(delivery.c.id == bindparam("the_delivery"))
_VERSION = select(call.c.version).where(call.c.seq == bindparam("the_call"))
# every attempt counts itself: while this one is in flight the number is its own
_FINISH = _MARK.where(delivery.c.in_flight, delivery.c.attempts == bindparam("ours"))
_TELL = attempt.insert()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lane:
    """A customer's channel that this worker has leased."""

    tenant_id: str
    channel: str
    failures: int
    paused_revision: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """A delivery that is in flight now, and its call; ``earlier`` is how the CRM has it already."""

    id: int
    call: StoredCall
    call_seq: int
    version: int
    attempts: int
    first_attempt_at: float
    crashes: int
    is_in_doubt: bool
    earlier: LoggedCall | None
    written: str | None  # digest of the record that the CRM has


class Queue:
    """One worker's view of the inbox; ``owner`` is what its leases bear.

    ``lease`` is longer than any attempt, and renewed before each.
    """

    def __init__(self, inbox: Inbox, lease: timedelta = LEASE) -> None:
        self._inbox = inbox
        self._lease = lease.total_seconds()
        self._database = inbox.database
        self._due = Due(inbox)
        self._renew = _HELD.values(lease_until=inbox.database.lease_clock(_NOW) + self._lease)
        remember = inbox.database.insert(logged_call)
        latest = {name: remember.excluded[name] for name in ("number", "started_at", "url")}
        self._remember_call = remember.on_conflict_do_update(index_elements=["call_seq"], set_=latest)
        self.owner = secrets.token_hex(8)

    def claim_lanes(self, limit: int, *, is_wary: bool = False) -> list[Lane]:
        """Lease lanes that have something due and that no other worker holds.

        One whose worker has written nothing for a while is held no longer, before the lease ends, unless a delivery is
        in flight: then whoever has it may be writing.  Who ``is_wary`` does not trust the leases' moments, and takes
        over no lane with a delivery in flight.
        """
        now = self._now()
        clock = self._database.lease_clock(now)
        # a clock that was put back while its machine was off leaves leases that lie further ahead than any is made
        is_over = or_(lane.c.lease_until < clock, lane.c.lease_until > clock + LEASES_AHEAD * self._lease)
        is_left = and_(lane.c.lease_until < clock + (self._lease - BETWEEN), _IS_IDLE)
        is_free = or_(lane.c.lease_until == 0.0, is_left, and_(is_over, _IS_IDLE if is_wary else true()))
        free = and_(is_free, lane.c.due_at <= now)
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
                lease = {"owner": self.owner, "lease_until": clock + self._lease}
                connection.execute(update(lane).where(_is_lane(row)).values(lease))
        return [
            Lane(tenant_id=row.tenant, channel=row.channel, failures=row.failures, paused_revision=row.paused_revision)
            for row in rows
        ]

    def claim_next(self, place: Lane, *, newest: bool = False) -> Claimed | None:
        """Renew the lease, and mark the oldest or newest due delivery of the lane as in flight, its attempt counted."""
        now = self._now()
        with self._database.write(place.tenant_id) as connection:  # nobody may join a call that is in flight
            if not connection.execute(self._renew, {**self._held(place), "now": now}).rowcount:  # another worker has it
                return None
            row = self._next(connection, place, "waiting", newest) or self._next(connection, place, "parked", newest)
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
            connection.execute(_MARK, {"the_delivery": row.id, **marked})
            bodies = bodies_of(connection, row.call_seq)
        reach("claimed")
        return Claimed(
            id=row.id,
            call=StoredCall(id=row.call_id, key=row.key, bodies=bodies),
            call_seq=row.call_seq,
            version=row.version,
            attempts=marked["attempts"],
            first_attempt_at=marked["first_attempt_at"],
            crashes=marked["crashes"],
            is_in_doubt=marked["in_doubt"],
            earlier=LoggedCall(external_id=row.external_id, url=row.url) if row.external_id else None,
            written=row.written,
        )

    def _next(self, connection: Connection, place: Lane, state: str, newest: bool) -> Row[Any] | None:
        wanted = {"of": place.tenant_id, "the_channel": place.channel, "wanted": state, "now": self._now()}
        return connection.execute(_NEWEST if newest else _OLDEST, wanted).first()

    def find_logged(self, call_seq: int, channel: str) -> LoggedCall | None:
        """Return how a CRM has the call."""
        wanted = and_(delivery.c.call_seq == call_seq, delivery.c.channel == channel)
        with self._database.read() as connection:
            row = connection.execute(select(delivery.c.external_id, delivery.c.url).where(wanted)).first()
        return LoggedCall(external_id=row.external_id, url=row.url) if row and row.external_id else None

    def finish(
        self,
        place: Lane,
        claimed: Claimed,
        changes: dict[str, Any],
        told: dict[str, Any],
        record: CallRecord | None,
        *,
        then: str | None = None,
    ) -> None:
        """Write how the attempt ended: ``changes`` to the delivery, ``told`` for people, ``record`` if it was logged.

        A call of which more has come meanwhile is due again; ``then`` is a channel on which it is due next.  Where the
        lease has ended before, and another worker has tried since, what came of that stands.
        """
        reach("before-done")
        with self._database.write(place.tenant_id) as connection:  # whoever adds to the call comes before or after
            version = connection.execute(_VERSION, {"the_call": claimed.call_seq}).scalar()
            if version is None:  # forgotten meanwhile: nothing of it may come back
                return
            if changes.get("state", "waiting") != "waiting" and version != claimed.version:
                changes |= {"state": "waiting", "due_at": self._now(), "first_attempt_at": None}
            ours = {"the_delivery": claimed.id, "ours": claimed.attempts}
            is_ours = connection.execute(_FINISH, {**ours, "in_flight": False, **changes}).rowcount
            connection.execute(_TELL, {"delivery_id": claimed.id, "at": self._now(), **told})
            if record:
                self._remember(connection, place, claimed, record, changes.get("url"))
            if then and is_ours:
                self._due.follow(connection, place.tenant_id, claimed.call_seq, then)
        reach("after-done")

    def _remember(
        self, connection: Connection, place: Lane, claimed: Claimed, record: CallRecord, url: str | None
    ) -> None:
        """Keep that the number's call is in the CRM."""
        row = {
            "tenant": place.tenant_id,
            "call_seq": claimed.call_seq,
            "number": self._inbox.hash_number(place.tenant_id, str(record.contact_number)),
            "started_at": record.started_at.timestamp(),
            "url": url,
        }
        connection.execute(self._remember_call, row)

    def release(self, place: Lane, **changes: Any) -> None:
        """Give the lane back; ``changes`` say when and whether it goes on."""
        with self._database.write() as connection:
            free = {"owner": None, "lease_until": 0.0, **changes}
            connection.execute(_HELD, {**self._held(place), **free})

    def put_back(self, seconds: float) -> None:
        """Have everything wait that much less: the clock was put back meanwhile.

        When several workers say so, some tries come too early; none too late.
        """
        now = self._now()
        waiting = and_(delivery.c.state.in_(("waiting", "parked")), delivery.c.due_at > now)
        with self._database.write(is_long=True) as connection:
            connection.execute(update(delivery).where(waiting).values(due_at=delivery.c.due_at - seconds))
            connection.execute(update(lane).where(lane.c.due_at > now).values(due_at=lane.c.due_at - seconds))

    def release_all(self) -> None:
        """Give back the lanes of this worker, so that the next one need not wait for the leases to end.

        A delivery that is still in flight may yet be written: its lane waits, as for who was killed.
        """
        with self._database.write() as connection:
            mine = update(lane).where(lane.c.owner == self.owner, _IS_IDLE)
            connection.execute(mine.values(owner=None, lease_until=0.0))

    def _held(self, place: Lane) -> dict[str, str]:
        return {"of": place.tenant_id, "the_channel": place.channel, "me": self.owner}

    def _now(self) -> float:
        return self._inbox.now().timestamp()


def _is_lane(place: Any) -> Any:
    return and_(lane.c.tenant == place.tenant, lane.c.channel == place.channel)
