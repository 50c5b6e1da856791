"""How customers stand in the database: what waits, what failed, what came last.

Each question is answered by an index: a customer costs the same among ten thousand, and with a million events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, func, select

from middleware.inbox.store import Inbox
from middleware.inbox.tables import attempt, delivery, event, lane

UNFINISHED = ("waiting", "parked", "dead")
_LATEST = 20  # unfinished calls of a kind that are asked for their last error
_LAST_EVENT = select(event.c.received_at).where(event.c.tenant == bindparam("of")).order_by(event.c.seq.desc()).limit(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Glance:
    """A customer in a list: calls that are not finished by state, and his channels whose credentials are refused."""

    unfinished: dict[str, int] = field(default_factory=dict)
    paused: tuple[str, ...] = ()
    last_event: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The last try that failed, in words."""

    at: datetime
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """What is to be written into one CRM; ``age`` is for how long the oldest waits that is due (seconds)."""

    unfinished: dict[str, int]
    age: float
    is_paused: bool
    failure: Failure | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """What came: the last event, and for how long the oldest that nobody has read is there (seconds)."""

    last_event: datetime | None
    age: float
    quarantined: int


def glance(inbox: Inbox, customers: Iterable[str]) -> dict[str, Glance]:
    """Return how each customer stands; raises ``StorageError``."""
    ids = list(customers)
    counted = select(delivery.c.tenant, delivery.c.state, func.count()).where(
        delivery.c.state.in_(UNFINISHED), delivery.c.tenant.in_(ids)
    )
    paused = select(lane.c.tenant, lane.c.channel).where(lane.c.tenant.in_(ids), lane.c.paused_revision.is_not(None))
    with inbox.database.read() as connection:
        counts = connection.execute(counted.group_by(delivery.c.tenant, delivery.c.state)).all()
        pauses = connection.execute(paused.order_by(lane.c.channel)).all()
        last = {one: _last_event(connection, one) for one in ids}
    return {
        one: Glance(
            unfinished={state: count for tenant, state, count in counts if tenant == one},
            paused=tuple(channel for tenant, channel in pauses if tenant == one),
            last_event=last[one],
        )
        for one in ids
    }


def arrivals(inbox: Inbox, customer: str) -> Arrivals:
    """Return what came for the customer; raises ``StorageError``."""
    mine = event.c.tenant == customer
    oldest = select(event.c.received_at).where(event.c.state == "queued", mine).order_by(event.c.seq).limit(1)
    quarantined = select(func.count()).where(event.c.state == "quarantined", mine)
    with inbox.database.read() as connection:
        received_at = connection.execute(oldest).scalar()
        return Arrivals(
            last_event=_last_event(connection, customer),
            age=_age(inbox, received_at),
            quarantined=connection.execute(quarantined).scalar_one(),
        )


def channel(inbox: Inbox, customer: str, name: str) -> Channel:
    """Return how the customer's calls for one CRM stand; raises ``StorageError``."""
    mine = (delivery.c.tenant == customer, delivery.c.channel == name)
    counted = select(delivery.c.state, func.count()).where(*mine, delivery.c.state.in_(UNFINISHED))
    due = select(func.min(delivery.c.due_at)).where(*mine, delivery.c.state == "waiting")
    paused = select(lane.c.paused_revision).where(lane.c.tenant == customer, lane.c.channel == name)
    with inbox.database.read() as connection:
        return Channel(
            unfinished={row.state: row[1] for row in connection.execute(counted.group_by(delivery.c.state))},
            age=_age(inbox, connection.execute(due).scalar()),
            is_paused=connection.execute(paused).scalar() is not None,
            failure=_failure(connection, customer, name),
        )


def _failure(connection: Connection, customer: str, name: str) -> Failure | None:
    """Return the last error of what is not written yet: what was written in the end is nobody's concern."""
    ids: list[int] = []
    for state in ("waiting", "dead"):
        of_state = (delivery.c.tenant == customer, delivery.c.channel == name, delivery.c.state == state)
        latest = select(delivery.c.id).where(*of_state).order_by(delivery.c.due_at.desc()).limit(_LATEST)
        ids += connection.execute(latest).scalars()
    failed = select(attempt.c.at, attempt.c.words).where(attempt.c.delivery_id.in_(ids), attempt.c.error.is_not(None))
    row = connection.execute(failed.order_by(attempt.c.at.desc()).limit(1)).first()
    return Failure(at=datetime.fromtimestamp(row.at, UTC), words=row.words) if row else None


def _last_event(connection: Connection, customer: str) -> datetime | None:
    at = connection.execute(_LAST_EVENT, {"of": customer}).scalar()
    return datetime.fromtimestamp(at, UTC) if at is not None else None


def _age(inbox: Inbox, since: float | None) -> float:
    return max(0.0, inbox.now().timestamp() - since) if since is not None else 0.0
