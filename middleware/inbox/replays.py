"""``Replays``: deliver again what somebody has found, some at a time, and tell what becomes of it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, distinct, func, insert, select, update

from middleware.inbox.store import Inbox
from middleware.inbox.tables import delivery, event, replay, replay_event

AT_ONCE = 200  # events in one transaction: senders wait for it
KEPT_FOR = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a replay is: so many ``events``, and what has become of their calls, by the deliveries' states.

    ``states`` also counts the events that no call was made of yet, ``queued`` or ``quarantined``.
    """

    id: str
    tenant_id: str | None
    who: str
    at: datetime
    events: int
    states: Mapping[str, int]

    @property
    def is_under_way(self) -> bool:
        """Whether there is anything that will change soon."""
        return bool(self.states.get("queued") or self.states.get("waiting"))


class Replays:
    """Delivers again; all machines that share the database see how far it is."""

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox
        self._database = inbox.database

    def begin(self, who: str, tenant_id: str | None) -> str:
        """Return the id of a new replay, of one customer or of several."""
        replay_id, now = secrets.token_hex(12), self._inbox.now()
        old = select(replay.c.id).where(replay.c.at < (now - KEPT_FOR).timestamp())
        with self._database.write() as connection:
            connection.execute(delete(replay_event).where(replay_event.c.replay_id.in_(old)))
            connection.execute(delete(replay).where(replay.c.at < (now - KEPT_FOR).timestamp()))
            connection.execute(insert(replay).values(id=replay_id, tenant=tenant_id, who=who, at=now.timestamp()))
        return replay_id

    def add(self, replay_id: str, event_ids: Sequence[str]) -> int:
        """Deliver these events again, at most ``AT_ONCE``, and return how many will be tried."""
        if not event_ids:
            return 0
        wanted = select(event.c.seq).where(event.c.id.in_(event_ids))
        with self._database.write() as connection:  # first: what is told of is more than what is done, never less
            seqs = connection.execute(wanted).scalars().all()
            rows = [{"replay_id": replay_id, "event_seq": seq} for seq in seqs]
            connection.execute(self._database.insert(replay_event).on_conflict_do_nothing(), rows)
        return self._inbox.retry_events(event_ids)

    def progress(self, replay_id: str) -> Progress | None:
        """Return how far it is, ``None`` where there is no such replay."""
        mine = replay_event.c.replay_id == replay_id
        events = select(event.c.state, func.count()).join(replay_event, replay_event.c.event_seq == event.c.seq)
        calls = (
            select(delivery.c.state, func.count(distinct(delivery.c.id)))
            .join(event, event.c.call_seq == delivery.c.call_seq)
            .join(replay_event, replay_event.c.event_seq == event.c.seq)
        )
        with self._database.read() as connection:
            row = connection.execute(select(replay).where(replay.c.id == replay_id)).first()
            if row is None:
                return None
            counted = {row[0]: row[1] for row in connection.execute(events.where(mine).group_by(event.c.state))}
            written = connection.execute(calls.where(mine).group_by(delivery.c.state)).all()
        total = sum(counted.values())
        counted.pop("planned", None)
        states = counted | {row[0]: row[1] for row in written}
        at = datetime.fromtimestamp(row.at, UTC)
        return Progress(id=replay_id, tenant_id=row.tenant, who=row.who, at=at, events=total, states=states)

    def replace(self, event_id: str, by: str) -> None:
        """Have a quarantined event stand aside for another one, which is what it should have been."""
        mine = (event.c.id == event_id, event.c.state == "quarantined")
        with self._database.write() as connection:
            connection.execute(update(event).where(*mine).values(state="replaced", reason=f"Edited: {by}"))
