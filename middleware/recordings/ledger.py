"""``Ledger``: what the tables say of recordings.  Every step is one short transaction; none is open during a fetch.

A file that nobody's recording needs any more is deleted by whoever has leased a row ``removed`` that names it; while
that lease lasts nobody may keep the same content anew, so that a file is never deleted behind its new owner's back.
"""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from operator import itemgetter
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, delete, func, or_, select, text, update

from middleware.errors import RecordingError
from middleware.inbox.database import Database
from middleware.recordings.tables import recording, recording_access, recording_attachment, recording_number

PER_TENANT = 4  # fetches at the same time, over all processes: a hung file server is its customer's trouble only
REMOVAL_LEASE = 180.0  # seconds; longer than a store takes to say that it failed
Settled = Callable[[Connection, str, str], None]  # customer and call
_USERS = recording.c.state.in_(("waiting", "kept"))


class Ledger:
    """The rows of all recordings; moments are Unix seconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, rows: Sequence[dict[str, Any]], numbers: Iterable[str] = ()) -> int:
        """Add what is not known yet, and return how many that were; what is known goes over to the call it names.

        Two calls may turn out to be one, and the link to a recording may be dead by then.  ``numbers`` are keyed.
        """
        numbers = list(numbers)
        count = 0
        with self._database.write() as connection:
            for row in sorted(rows, key=itemgetter("source")):  # in one order everywhere: nobody waits in a circle
                added = connection.execute(
                    self._database.insert(recording).values(row).on_conflict_do_nothing()
                ).rowcount
                count += added
                recording_id = row["id"] if added else self._move(connection, row)
                if recording_id and numbers:
                    whose = [{"recording_id": recording_id, "number": number} for number in numbers]
                    connection.execute(self._database.insert(recording_number).on_conflict_do_nothing(), whose)
        return count

    def _move(self, connection: Connection, row: dict[str, Any]) -> str | None:
        known = and_(recording.c.tenant == row["tenant"], recording.c.source == row["source"])
        moved = update(recording).where(known, recording.c.state != "removed").values(call_key=row["call_key"])
        return connection.execute(moved.returning(recording.c.id)).scalar()

    def find_all(self, tenant_id: str, call_keys: Sequence[str], number: str | None) -> list[Row[Any]]:
        """Return all recordings of the calls and of the number, by its keyed hash; of some only the row is left."""
        theirs = select(recording_number.c.recording_id).where(recording_number.c.number == number)
        wanted = or_(recording.c.call_key.in_(call_keys), recording.c.id.in_(theirs))
        with self._database.read() as connection:
            found = select(recording).where(recording.c.tenant == tenant_id, wanted)
            return list(connection.execute(found.order_by(recording.c.noted_at, recording.c.id)))

    def withdraw(self, ids: Sequence[str]) -> int:
        """Take recordings away from their users and from their calls; return how many could still be heard of.

        Under its own id a row says nothing of the call any more; it stays, and is found, until its file is gone.
        """
        mine = recording.c.id.in_(ids)
        with self._database.write() as connection:
            connection.execute(update(recording).where(mine).values(call_key=recording.c.id, words=None, url=None))
            left = update(recording).where(mine, recording.c.state != "removed")  # of others the lease must stay
            return connection.execute(left.values(state="removed", lease_until=0.0)).rowcount

    def is_removing(self, tenant_id: str) -> bool:
        """Whether the file of a recording that was withdrawn is still there."""
        withdrawn = and_(recording.c.state == "removed", recording.c.call_key == recording.c.id)
        left = and_(recording.c.tenant == tenant_id, withdrawn, recording.c.sha256.is_not(None))
        with self._database.read() as connection:
            return connection.execute(select(recording.c.id).where(left).limit(1)).first() is not None

    def compact(self) -> None:
        """Leave nothing of what was erased on the disk."""
        self._database.compact()

    def find(self, recording_id: str) -> Row[Any] | None:
        """Return one recording."""
        with self._database.read() as connection:
            return connection.execute(select(recording).where(recording.c.id == recording_id)).first()

    def of_call(self, tenant_id: str, call_key: str) -> list[Row[Any]]:
        """Return the recordings of one call, the newest first."""
        wanted = and_(recording.c.tenant == tenant_id, recording.c.call_key == call_key)
        with self._database.read() as connection:
            rows = connection.execute(select(recording).where(wanted).order_by(recording.c.noted_at.desc()))
            return list(rows)

    def kept(self, tenant_id: str, call_keys: Sequence[str]) -> list[Row[Any]]:
        """Return the recordings of calls that can be heard, the oldest first."""
        wanted = and_(recording.c.tenant == tenant_id, recording.c.call_key.in_(call_keys))
        can_be_heard = and_(recording.c.state == "kept", recording.c.kind == "recording")
        with self._database.read() as connection:
            found = select(recording).where(wanted, can_be_heard).order_by(recording.c.noted_at, recording.c.id)
            return list(connection.execute(found))

    def latest(self, tenant_id: str | None, state: str | None, limit: int) -> list[Row[Any]]:
        """Return the latest recordings that match, newest first, each with how often it was ``played``."""
        played = (
            select(func.coalesce(func.sum(recording_access.c.requests), 0))
            .where(recording_access.c.recording_id == recording.c.id, recording_access.c.outcome == "played")
            .scalar_subquery()
            .label("played")
        )
        found = select(recording, played).where(recording.c.call_key != recording.c.id)
        if tenant_id is not None:
            found = found.where(recording.c.tenant == tenant_id)
        if state is not None:
            found = found.where(recording.c.state == state)
        with self._database.read() as connection:
            return list(connection.execute(found.order_by(recording.c.noted_at.desc(), recording.c.id).limit(limit)))

    def accesses(self, recording_id: str) -> list[Row[Any]]:
        """Return who has asked for the recording, by minute and address."""
        found = select(recording_access).where(recording_access.c.recording_id == recording_id)
        with self._database.read() as connection:
            return list(connection.execute(found.order_by(recording_access.c.minute)))

    def claim(self, now: float, lease: float, limit: int) -> list[Row[Any]]:
        """Lease what is due, whose link dies first, fairly among customers; the attempt is counted."""
        is_waiting, clock = recording.c.state == "waiting", self._database.lease_clock(now)
        rank = func.row_number().over(partition_by=recording.c.tenant, order_by=recording.c.link_dies_at)
        due = and_(is_waiting, recording.c.due_at <= now, recording.c.lease_until <= clock)
        ranked = select(recording.c.id, recording.c.tenant, recording.c.link_dies_at, rank.label("rank")).where(due)
        ranked_rows = ranked.subquery()
        with self._database.read() as connection:  # an idle look takes no lock
            found = connection.execute(
                select(ranked_rows).where(ranked_rows.c.rank <= PER_TENANT).order_by(ranked_rows.c.link_dies_at)
            ).all()
            leased = select(recording.c.tenant, func.count()).where(is_waiting, recording.c.lease_until > clock)
            running = Counter({row[0]: row[1] for row in connection.execute(leased.group_by(recording.c.tenant))})
        ids = [row.id for row in found if row.rank + running[row.tenant] <= PER_TENANT][:limit]
        if not ids:
            return []
        change = {"lease_until": clock + lease, "attempts": recording.c.attempts + 1}
        mine = and_(recording.c.id.in_(ids), is_waiting, recording.c.lease_until <= clock)
        with self._database.write() as connection:
            return list(connection.execute(update(recording).where(mine).values(change).returning(recording)))

    def release(self, ids: Sequence[str]) -> None:
        """Give leases back: others may try at once."""
        if ids:
            mine = and_(recording.c.id.in_(ids), recording.c.state == "waiting")
            self.change(mine, lease_until=0.0)

    def finish(self, row: Row[Any], settled: Settled | None = None, **changes: Any) -> bool:
        """Write how an attempt ended; return whether the recording was still waiting for it.

        ``settled`` is told, in the same transaction, to which call the recording belongs by now.
        """
        with self._database.write() as connection:
            written = update(recording).where(_mine(row)).values(lease_until=0.0, **changes)
            call_key = connection.execute(written.returning(recording.c.call_key)).scalar()
            if settled and call_key is not None:
                settled(connection, row.tenant, call_key)
            return call_key is not None

    def use(self, row: Row[Any], sha256: str, now: float) -> None:
        """Say that the recording has this content, before it is kept; raises while the same is being removed."""
        same, clock = _same(row.tenant, sha256), self._database.lease_clock(now)
        with self._database.write() as connection:
            self._lock(connection)
            removing = and_(same, recording.c.state == "removed", recording.c.lease_until > clock)
            if connection.execute(select(recording.c.id).where(removing)).first():
                raise RecordingError("The same recording is just being removed.")
            if not connection.execute(update(recording).where(_mine(row)).values(sha256=sha256)).rowcount:
                raise RecordingError("The recording is wanted no more, or others fetch it.")

    def remove(self, wanted: ColumnElement[bool], **changes: Any) -> int:
        """Take recordings away from their users; their files go with :meth:`begin_removals`."""
        values = {"state": "removed", "url": None, "lease_until": 0.0, **changes}
        with self._database.write() as connection:
            return connection.execute(update(recording).where(wanted).values(values)).rowcount

    def begin_removals(self, now: float, limit: int = 100) -> list[Row[Any]]:
        """Lease removed recordings whose files nobody else needs; let go of the files of the others."""
        clock = self._database.lease_clock(now)
        due = and_(recording.c.state == "removed", recording.c.sha256.is_not(None), recording.c.lease_until <= clock)
        alone: list[Row[Any]] = []
        with self._database.read() as connection:
            if not connection.execute(select(recording.c.id).where(due).limit(1)).first():
                return []
        with self._database.write() as connection:
            self._lock(connection)
            for row in connection.execute(select(recording).where(due).limit(limit)).all():
                users = select(recording.c.id).where(_same(row.tenant, row.sha256), _USERS)
                is_used = connection.execute(users.limit(1)).first()
                change = {"sha256": None} if is_used else {"lease_until": clock + REMOVAL_LEASE}
                connection.execute(update(recording).where(recording.c.id == row.id).values(change))
                if not is_used:
                    alone.append(row)
        return alone

    def end_removal(self, row: Row[Any]) -> None:
        """Say that the file is gone."""
        with self._database.write() as connection:
            mine = and_(recording.c.id == row.id, recording.c.state == "removed")
            connection.execute(update(recording).where(mine).values(sha256=None, lease_until=0.0))

    def orphan(self, row: Row[Any], sha256: str) -> None:
        """Say that an attempt has left a file with this content behind; it goes unless others need it."""
        mark = secrets.token_hex(12)
        left = {
            name: getattr(row, name) for name in ("tenant", "kind", "noted_at", "link_dies_at", "due_at", "expires_at")
        }
        left |= {"id": mark, "call_key": mark, "source": mark, "state": "removed", "sha256": sha256}
        with self._database.write() as connection:
            connection.execute(update(recording).where(_mine(row)).values(sha256=None))
            connection.execute(self._database.insert(recording).values(left))

    def erase(self, wanted: ColumnElement[bool]) -> int:
        """Delete rows that have no file, and what is known of who listened."""
        ids = select(recording.c.id).where(wanted, recording.c.sha256.is_(None))
        with self._database.write() as connection:
            for table in (recording_access, recording_attachment, recording_number):
                connection.execute(delete(table).where(table.c.recording_id.in_(ids)))
            return connection.execute(delete(recording).where(wanted, recording.c.sha256.is_(None))).rowcount

    def change(self, wanted: ColumnElement[bool], **values: Any) -> int:
        """Change rows, and return how many."""
        with self._database.write() as connection:
            return connection.execute(update(recording).where(wanted).values(values)).rowcount

    def audit(self, recording_id: str, now: float, address: str, outcome: str) -> None:
        """Remember who asked for a recording, and how that ended."""
        row = {"recording_id": recording_id, "minute": int(now // 60), "address": address[:45], "outcome": outcome}
        added = self._database.insert(recording_access).values(**row, requests=1)
        again = added.on_conflict_do_update(
            index_elements=["recording_id", "minute", "address", "outcome"],
            set_={"requests": recording_access.c.requests + 1},
        )
        with self._database.write() as connection:
            connection.execute(again)

    def _lock(self, connection: Connection) -> None:
        if self._database.dialect == "postgresql":  # SQLite's writers are alone anyway
            connection.execute(text("LOCK TABLE recording IN SHARE ROW EXCLUSIVE MODE"))


def _mine(row: Row[Any]) -> ColumnElement[bool]:
    """Whether a recording still waits for the attempt that ``row`` was leased for."""
    return and_(recording.c.id == row.id, recording.c.state == "waiting", recording.c.attempts == row.attempts)


def _same(tenant_id: str, sha256: str) -> ColumnElement[bool]:
    return and_(recording.c.tenant == tenant_id, recording.c.sha256 == sha256)
