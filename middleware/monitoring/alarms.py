"""``Ledger``: which alarms are raised and who was told, for all processes that share the database.

A change is written down before anybody is told of it, and whoever tells it has leased it: each is told once, by one
process, and not lost when that process dies: then another one tells it, maybe again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import ColumnElement, Row, and_, delete, or_, select, true, update

from middleware.inbox.store import Inbox
from middleware.monitoring.condition import Condition
from middleware.monitoring.tables import alarm, alarm_look

LOOK_EVERY = 15.0  # seconds
LEASE = 60.0  # seconds that one telling may take, all channels together
SHORTEST, LONGEST = 15.0, 600.0  # seconds until a telling that failed is tried again
AGAIN = timedelta(hours=1)  # more of the same is news after that
KEPT_FOR = timedelta(days=7)  # what was cleared
OF_THE_DATABASE = {
    "overdue": "the oldest due event or call has been waiting for too long",
    "dead_letters": "calls are not in the CRM and will not be tried again unless somebody retries them",
    "paused": "the CRM refuses the credentials; calls wait until somebody mends them",
    "disconnected": "the CRM has ended the connection (OAuth2); somebody must authorise us again: m8crm tenant connect",
    "recordings_lost": "recordings could not be fetched before their links died",
}
OF_A_MACHINE = {"disk": "little is left on the disk"}
KINDS = OF_THE_DATABASE | OF_A_MACHINE

log = structlog.get_logger("m8crm.alarms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one look says: ``is_raised`` is ``None`` between the limits, where things stay as they are."""

    kind: str
    subject: str = ""
    is_raised: bool | None = True
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAlarm:
    """An alarm as people see it; ``subject`` is a customer, his channel or a machine, empty for the installation.

    ``told_at`` is when somebody was told last, ``failures`` how often telling the news has failed.
    """

    kind: str
    subject: str
    is_raised: bool
    since: datetime
    count: int
    told_at: datetime | None
    failures: int

    @classmethod
    def made_up(cls, now: datetime) -> StoredAlarm:
        """Return an alarm of nothing, by which people try whether somebody is told."""
        return cls(kind="test", subject="", is_raised=True, since=now, count=1, told_at=None, failures=0)

    def document(self) -> dict[str, Any]:
        """Return what is told; ``text`` is for people, and under the name that chat programs look for."""
        state = "raised" if self.is_raised else "cleared"
        about = f" ({self.subject})" if self.subject else ""
        many = f", {self.count} of them" if self.count > 1 else ""
        return {
            "alarm": self.kind,
            "subject": self.subject,
            "state": state,
            "count": self.count,
            "since": self.since.isoformat(),
            "text": f"m8crm: {self.kind} {state}{about}: {KINDS.get(self.kind, self.kind)}{many}.",
        }


def read_condition(condition: Condition, after: float) -> list[Reading]:
    """Return what is wrong; calls may wait for ``after`` seconds, and are waited for no more at half of that."""
    readings = []
    if condition.oldest_due > after / 2:
        readings.append(Reading(kind="overdue", is_raised=True if condition.oldest_due > after else None))
    readings += [Reading(kind="paused", subject="/".join(lane)) for lane in condition.paused]
    readings += [Reading(kind="disconnected", subject="/".join(crm)) for crm in condition.disconnected]
    readings += [Reading(kind="dead_letters", subject=tenant, count=n) for tenant, n in condition.dead.items()]
    readings += [Reading(kind="recordings_lost", subject=tenant, count=n) for tenant, n in condition.lost.items()]
    return readings


class Ledger:
    """The alarms in the database."""

    def __init__(self, inbox: Inbox) -> None:
        self._database = inbox.database
        self._now = inbox.now

    def take_turn(self, subject: str = "") -> bool:
        """Return whether this process is the one that looks now: at the database, or at the machine ``subject``."""
        now = self._now().timestamp()
        mine = alarm_look.c.subject == subject
        with self._database.read() as connection:
            due_at = connection.execute(select(alarm_look.c.due_at).where(mine)).scalar()
        if due_at is not None and now < due_at <= now + LOOK_EVERY:  # later ones are those of a clock that was ahead
            return False
        with self._database.write() as connection:
            if due_at is None:
                new = self._database.insert(alarm_look).values(subject=subject, due_at=0.0).on_conflict_do_nothing()
                connection.execute(new)
            still = alarm_look.c.due_at == (due_at or 0.0)
            taken = connection.execute(update(alarm_look).where(mine, still).values(due_at=now + LOOK_EVERY))
            return taken.rowcount == 1

    def note(self, readings: Iterable[Reading], kinds: Iterable[str], subject: str | None = None) -> None:
        """Write down what a look at ``kinds``, of one ``subject`` or of all, has found; the rest of them is cleared."""
        now = self._now().timestamp()
        scope = and_(alarm.c.kind.in_(list(kinds)), true() if subject is None else alarm.c.subject == subject)
        with self._database.write() as connection:
            rows = {(row.kind, row.subject): row for row in connection.execute(select(alarm).where(scope))}
            for reading in readings:
                row = rows.pop((reading.kind, reading.subject), None)
                changes = _changes(row, reading, now)
                if changes and row is None:
                    first = {"kind": reading.kind, "subject": reading.subject, "told_amount": 0, "is_told": False}
                    connection.execute(self._database.insert(alarm).values(**first, **changes).on_conflict_do_nothing())
                elif changes:
                    connection.execute(update(alarm).where(_is(row)).values(changes))
            for row in rows.values():
                if row.is_raised:
                    log.info("alarm_cleared", alarm=row.kind, subject=row.subject)
                    cleared = {"is_raised": False, "since": now, "amount": 0, "due_at": 0.0, "attempts": 0}
                    connection.execute(update(alarm).where(_is(row)).values(cleared))
            long_ago = and_(~alarm.c.is_raised, ~alarm.c.is_told, alarm.c.since < now - KEPT_FOR.total_seconds())
            connection.execute(delete(alarm).where(long_ago))

    def claim(self) -> StoredAlarm | None:
        """Lease the news that somebody should be told next, if there is any."""
        now = self._now().timestamp()
        is_more = and_(alarm.c.amount > alarm.c.told_amount, alarm.c.told_at <= now - AGAIN.total_seconds())
        is_news = or_(alarm.c.is_raised != alarm.c.is_told, and_(alarm.c.is_raised, is_more))
        is_due = or_(alarm.c.due_at <= now, alarm.c.due_at > now + LONGEST)  # the clock was ahead
        wanted = select(alarm).where(is_news, is_due).order_by(alarm.c.since).limit(1)
        with self._database.read() as connection:
            if not connection.execute(wanted).first():
                return None
        with self._database.write() as connection:
            row = connection.execute(wanted.with_for_update(skip_locked=True)).first()
            if row is None:
                return None
            lease = {"due_at": now + LEASE, "attempts": row.attempts + 1}
            connection.execute(update(alarm).where(_is(row)).values(lease))
        return _stored(row)

    def told(self, telling: StoredAlarm, *, is_told: bool) -> None:
        """Write down that somebody was told, or when to try again."""
        now = self._now().timestamp()
        later = now + min(SHORTEST * 2.0 ** min(telling.failures, 10), LONGEST)
        done = {
            "is_told": telling.is_raised,
            "told_amount": telling.count,
            "told_at": now,
            "due_at": 0.0,
            "attempts": 0,
        }
        with self._database.write() as connection:
            changes = done if is_told else {"due_at": later}
            connection.execute(update(alarm).where(_is(telling)).values(changes))

    def list_alarms(self) -> list[StoredAlarm]:
        """Return the alarms that are raised and those that were lately, the latest change first."""
        with self._database.read() as connection:
            return list(map(_stored, connection.execute(select(alarm).order_by(alarm.c.since.desc()))))

    def raised(self) -> Sequence[tuple[str, str]]:
        """Return kind and subject of the alarms that are raised."""
        return [(found.kind, found.subject) for found in self.list_alarms() if found.is_raised]


def _changes(row: Row[Any] | None, reading: Reading, now: float) -> dict[str, Any]:
    """Return what the reading changes in the alarm's row."""
    if reading.is_raised is None:
        return {}
    if row is None or not row.is_raised:
        log.error("alarm_raised", alarm=reading.kind, subject=reading.subject, count=reading.count)
        return {"is_raised": True, "since": now, "amount": reading.count, "due_at": 0.0, "attempts": 0}
    if row.amount == reading.count:
        return {}
    return {"amount": reading.count, "told_amount": min(row.told_amount, reading.count)}


def _is(one: Any) -> ColumnElement[bool]:
    return and_(alarm.c.kind == one.kind, alarm.c.subject == one.subject)


def _stored(row: Row[Any]) -> StoredAlarm:
    return StoredAlarm(
        kind=row.kind,
        subject=row.subject,
        is_raised=row.is_raised,
        since=datetime.fromtimestamp(row.since, UTC),
        count=row.amount,
        told_at=datetime.fromtimestamp(row.told_at, UTC) if row.told_at else None,
        failures=row.attempts,
    )
