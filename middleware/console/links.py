"""``Links``: a way in for a customer's own admin, without a password: signed, read-only, dead after its time."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from itsdangerous import BadData, URLSafeSerializer
from sqlalchemy import RowMapping, delete, insert, select, update

from middleware.console.roles import Role, Viewer
from middleware.console.tables import console_link, console_session
from middleware.errors import ConfigError
from middleware.inbox.database import Database

GOOD_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A link that was made; who has it may see the customer's pages and change nothing."""

    id: str
    customer: str
    made_by: str
    made_at: datetime
    expires_at: datetime
    is_revoked: bool

    @property
    def viewer(self) -> Viewer:
        """Who comes by it."""
        return Viewer(name=f"link {self.id}", role=Role.CUSTOMER, customer=self.customer, is_reader=True)


class Links:
    """The links of one installation; machines with the same key and database understand each other's."""

    def __init__(self, database: Database, now: Callable[[], datetime], key: bytes) -> None:
        self._database = database
        self._now = now
        self._serializer = URLSafeSerializer(
            key, salt="m8crm.console", signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256}
        )

    def make(self, customer: str, made_by: str, good_for: timedelta = GOOD_FOR) -> tuple[Link, str]:
        """Return a new link and the text that its URL ends with."""
        now = self._now()
        row: dict[str, Any] = {"id": secrets.token_hex(6), "customer": customer, "made_by": made_by}
        row |= {"made_at": now.timestamp(), "expires_at": (now + good_for).timestamp(), "revoked_at": None}
        with self._database.write() as connection:
            connection.execute(delete(console_link).where(console_link.c.expires_at < now.timestamp()))
            connection.execute(insert(console_link).values(row))
        return _link(row), str(self._serializer.dumps(row["id"]))

    def read(self, text: str) -> Link | None:
        """Return the link that a text of ours names, if it is still good."""
        try:
            link_id = self._serializer.loads(text)
        except (BadData, ValueError, TypeError):
            return None
        with self._database.read() as connection:
            row = connection.execute(select(console_link).where(console_link.c.id == link_id)).mappings().first()
        link = _link(row) if row else None
        return link if link and not link.is_revoked and link.expires_at > self._now() else None

    def revoke(self, link_id: str) -> Link:
        """End the link and every session that came by it; raises ``ConfigError`` where there is none."""
        mine = console_link.c.id == link_id
        with self._database.write() as connection:
            row = connection.execute(select(console_link).where(mine)).mappings().first()
            if row is None:
                raise ConfigError(link_id, ["is no link; m8crm console link --list shows them"])
            connection.execute(update(console_link).where(mine).values(revoked_at=self._now().timestamp()))
            connection.execute(delete(console_session).where(console_session.c.link_id == link_id))
        return _link(row)

    def list_links(self, customer: str | None = None) -> list[Link]:
        """Return the links that have not expired, of one customer or of all, the latest first."""
        wanted = select(console_link).where(console_link.c.expires_at > self._now().timestamp())
        if customer is not None:
            wanted = wanted.where(console_link.c.customer == customer)
        with self._database.read() as connection:
            rows = connection.execute(wanted.order_by(console_link.c.made_at.desc())).mappings().all()
        return [_link(row) for row in rows]


def _link(row: Mapping[str, Any] | RowMapping) -> Link:
    return Link(
        id=row["id"],
        customer=row["customer"],
        made_by=row["made_by"],
        made_at=datetime.fromtimestamp(row["made_at"], UTC),
        expires_at=datetime.fromtimestamp(row["expires_at"], UTC),
        is_revoked=row["revoked_at"] is not None,
    )
