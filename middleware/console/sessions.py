"""``Sessions``: who has signed in, for how long; the cookie's id is kept as a digest only."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, or_, select, update

from middleware.console.roles import Role, Viewer
from middleware.console.tables import console_session
from middleware.errors import StorageError
from middleware.inbox.database import Database

IDLE = timedelta(hours=1)
LONGEST = timedelta(hours=12)
ID = 12  # digits of a digest, by which people name a session
SEEN_EVERY = timedelta(minutes=1)  # between two notes that a session is in use: a page costs no write


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One that has not ended; ``id`` is the beginning of its digest, by which people tell it apart."""

    id: str
    viewer: Viewer
    address: str
    began_at: datetime
    seen_at: datetime


class Sessions:
    """The sessions of all machines that share the database."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def begin(
        self,
        viewer: Viewer,
        address: str,
        *,
        link_id: str | None = None,
        until: datetime | None = None,
        instead_of: str = "",
    ) -> str:
        """Return the id of a new session, which is for the cookie alone; it ends at ``until`` at the latest.

        The session ``instead_of`` which it begins, in the same browser, ends now.
        """
        token, now = secrets.token_urlsafe(32), self._now()
        ends_at = min(now + LONGEST, until or now + LONGEST)
        row = {
            "digest": _digest(token),
            "name": viewer.name,
            "role": viewer.role.value,
            "customer": viewer.customer,
            "link_id": link_id,
            "address": address,
            "began_at": now.timestamp(),
            "seen_at": now.timestamp(),
            "ends_at": ends_at.timestamp(),
        }
        with self._database.write() as connection:
            is_old = console_session.c.digest == _digest(instead_of)
            connection.execute(delete(console_session).where(or_(self._is_over(), is_old)))
            connection.execute(insert(console_session).values(row))
        return token

    def find(self, token: str, *, is_use: bool = True) -> Viewer | None:
        """Return whose session it is, and note that it is in use if it is; ``None`` when it has ended.

        Where nothing can be written the session ends an hour after the last note: people see what is wrong.
        """
        mine, now = console_session.c.digest == _digest(token), self._now().timestamp()
        with self._database.read() as connection:
            row = connection.execute(select(console_session).where(mine, ~self._is_over())).first()
        if row is None:
            return None
        if is_use and now - row.seen_at > SEEN_EVERY.total_seconds():
            with suppress(StorageError), self._database.write() as connection:
                connection.execute(update(console_session).where(mine).values(seen_at=now))
        return _viewer(row)

    def end(self, token: str) -> None:
        """End the session."""
        self._delete(console_session.c.digest == _digest(token))

    def end_of(self, name: str) -> int:
        """End every session of ``name``, or the one with that id; return how many there were."""
        is_id = func.substr(console_session.c.digest, 1, ID) == name
        return self._delete(or_(console_session.c.name == name, is_id))

    def list_sessions(self) -> list[Session]:
        """Return the sessions that have not ended, the latest used first."""
        wanted = select(console_session).where(~self._is_over()).order_by(console_session.c.seen_at.desc())
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [
            Session(
                id=row.digest[:ID],
                viewer=_viewer(row),
                address=row.address,
                began_at=datetime.fromtimestamp(row.began_at, UTC),
                seen_at=datetime.fromtimestamp(row.seen_at, UTC),
            )
            for row in rows
        ]

    def _delete(self, which: ColumnElement[bool]) -> int:
        with self._database.write() as connection:
            return connection.execute(delete(console_session).where(which)).rowcount

    def _is_over(self) -> ColumnElement[bool]:
        now = self._now().timestamp()
        return or_(console_session.c.ends_at <= now, console_session.c.seen_at <= now - IDLE.total_seconds())


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()


def _viewer(row: Row[Any]) -> Viewer:
    return Viewer(name=row.name, role=Role(row.role), customer=row.customer, is_reader=row.link_id is not None)
