"""What people did in the console: who, when, what, about which customer; never with a number or a secret in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sqlalchemy import delete, func, insert, select

from middleware.console.tables import console_audit
from middleware.inbox.database import Database

KEPT_FOR = timedelta(days=400)
REFUSED = "sign-in refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something that was done; ``customer`` is whom it concerned."""

    at: datetime
    who: str
    action: str
    customer: str | None
    about: str
    address: str


class AuditLog:
    """The entries of all machines that share the database."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    def note(self, who: str, action: str, customer: str | None = None, about: str = "", *, address: str = "") -> None:
        """Write down what ``who`` does; raises ``StorageError``, and then it must not be done."""
        now = self._now().timestamp()
        entry = {"at": now, "who": who, "action": action, "customer": customer, "about": about, "address": address}
        with self._database.write() as connection:
            connection.execute(insert(console_audit).values(entry))
            connection.execute(delete(console_audit).where(console_audit.c.at < now - KEPT_FOR.total_seconds()))

    def refusals(self, since: timedelta, *, about: str | None = None, address: str | None = None) -> int:
        """Return how many sign-ins were refused lately, with that name's mark and from that address."""
        wanted = [console_audit.c.action == REFUSED, console_audit.c.at > (self._now() - since).timestamp()]
        if about is not None:
            wanted.append(console_audit.c.about == about)
        if address is not None:
            wanted.append(console_audit.c.address == address)
        with self._database.read() as connection:
            return connection.execute(select(func.count()).select_from(console_audit).where(*wanted)).scalar_one()

    def entries(self, customer: str | None = None, limit: int = 200) -> list[Entry]:
        """Return the latest entries, of one customer or of all, newest first."""
        wanted = select(console_audit).order_by(console_audit.c.id.desc()).limit(limit)
        if customer is not None:
            wanted = wanted.where(console_audit.c.customer == customer)
        with self._database.read() as connection:
            rows = connection.execute(wanted).all()
        return [
            Entry(
                at=datetime.fromtimestamp(row.at, UTC),
                who=row.who,
                action=row.action,
                customer=row.customer,
                about=row.about,
                address=row.address,
            )
            for row in rows
        ]
