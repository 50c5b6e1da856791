"""``Grants``: the rows of tokens.  A row is also the lock of its renewal: whoever leases it renews, alone.

Every change names the ``stamp`` of what it was made from, so that nothing overwrites newer tokens, however late it is.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, or_, select, update

from middleware.crm.oauth import OAuthClient
from middleware.inbox.database import Database
from middleware.inbox.tables import lane
from middleware.oauth.protocol import Granted
from middleware.oauth.tables import oauth_token
from middleware.oauth.vault import Vault

LEASE = 30.0  # seconds that a renewal may take; more than twice the time of its request


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A row, opened; moments are Unix seconds."""

    stamp: str
    client: str
    access_token: str
    refresh_token: str | None
    is_connected: bool
    connected_at: float
    renewed_at: float
    expires_at: float | None
    refused_at: float
    is_leased: bool
    due_at: float
    failures: int
    reason: str | None

    def is_usable(self, now: float) -> bool:
        """Whether the access token has not run out."""
        return self.expires_at is None or now < self.expires_at


def digest_of(client: OAuthClient) -> str:
    """Return what tells clients apart: tokens of one are no good for another."""
    return hashlib.sha256(f"{client.client_id}\n{client.oauth.token_url}".encode()).hexdigest()


class Grants:
    """The tokens in the database; every method raises ``StorageError`` or ``VaultError``."""

    def __init__(self, database: Database, vault: Vault, now: Callable[[], datetime], *, lease: float = LEASE) -> None:
        self._database = database
        self._vault = vault
        self._now = now
        self._lease = lease
        self._owner = secrets.token_hex(8)

    def now(self) -> float:
        """Return the moment."""
        return self._now().timestamp()

    def find(self, tenant_id: str, source: str) -> Grant | None:
        """Return the customer's tokens for the ``[[crm]]``."""
        is_leased = (oauth_token.c.lease_until > self._database.lease_clock(self.now())).label("is_leased")
        with self._database.read() as connection:
            row = connection.execute(select(oauth_token, is_leased).where(_is(tenant_id, source))).first()
        return self._grant(row) if row else None

    def connect(self, client: OAuthClient, granted: Granted) -> None:
        """Keep the tokens that a person has just given us, in place of any others; what was paused goes on."""
        now = self.now()
        values = self._stored(granted, now) | {"client": digest_of(client), "connected_at": now, "refused_at": 0.0}
        new = self._database.insert(oauth_token).values(tenant=client.tenant_id, source=client.source, **values)
        with self._database.write(client.tenant_id) as connection:
            connection.execute(new.on_conflict_do_update(index_elements=["tenant", "source"], set_=values))
            free = {"paused_revision": None, "due_at": 0.0, "failures": 0}
            connection.execute(update(lane).where(lane.c.tenant == client.tenant_id).values(free))

    def disconnect(self, tenant_id: str, source: str) -> bool:
        """Remove the tokens; whether there were any."""
        with self._database.write(tenant_id) as connection:
            return connection.execute(delete(oauth_token).where(_is(tenant_id, source))).rowcount > 0

    def claim(self, client: OAuthClient, grant: Grant, *, was_refused: bool) -> bool:
        """Lease the row for a renewal of exactly these tokens; false when somebody else renews, or has renewed."""
        now = self.now()
        # a lease that ends too late is of a clock that was ahead
        clock = self._database.lease_clock(now)
        is_free = or_(oauth_token.c.lease_until <= clock, oauth_token.c.lease_until > clock + 2 * self._lease)
        mine: dict[str, Any] = {"owner": self._owner, "lease_until": clock + self._lease}
        if was_refused:
            mine["refused_at"] = now
        wanted = and_(_these(client, grant), oauth_token.c.state == "connected", is_free)
        with self._database.write() as connection:
            return connection.execute(update(oauth_token).where(wanted).values(mine)).rowcount == 1

    def renewed(self, client: OAuthClient, grant: Grant, granted: Granted) -> Grant | None:
        """Keep what came of the renewal; ``None`` when there are newer tokens, or none are wanted any more."""
        values = self._stored(granted, self.now())
        with self._database.write() as connection:
            done = connection.execute(update(oauth_token).where(_these(client, grant)).values(values))
        if done.rowcount != 1:
            return None
        same = {name: values[name] for name in ("stamp", "renewed_at", "expires_at", "due_at", "failures", "reason")}
        return replace(grant, is_connected=True, is_leased=False, **granted.document(), **same)

    def failed(self, client: OAuthClient, grant: Grant, *, reason: str, wait: float, has_ended: bool = False) -> bool:
        """Note that a renewal failed, and give the lease back; false when it was not ours any more."""
        values: dict[str, Any] = {"failures": grant.failures + 1, "reason": reason[:64], "due_at": self.now() + wait}
        values |= {"owner": None, "lease_until": 0.0} | ({"state": "ended"} if has_ended else {})
        mine = and_(_these(client, grant), oauth_token.c.owner == self._owner)
        with self._database.write() as connection:
            return connection.execute(update(oauth_token).where(mine).values(values)).rowcount == 1

    def reseal(self) -> int:
        """Encrypt everything with the first key; return how many rows there are."""
        count = 0
        with self._database.write(is_long=True) as connection:
            for row in connection.execute(select(oauth_token).with_for_update()).all():
                values = {"sealed": self._vault.reseal(row.sealed)}
                connection.execute(update(oauth_token).where(_is(row.tenant, row.source)).values(values))
                count += 1
        return count

    def _stored(self, granted: Granted, now: float) -> dict[str, Any]:
        return {
            "stamp": secrets.token_hex(16),
            "sealed": self._vault.seal(granted.document()),
            "state": "connected",
            "renewed_at": now,
            "expires_at": now + granted.lifetime if granted.lifetime else None,
            "owner": None,
            "lease_until": 0.0,
            "due_at": 0.0,
            "failures": 0,
            "reason": None,
        }

    def _grant(self, row: Any) -> Grant:
        opened = self._vault.open(row.sealed)
        return Grant(
            stamp=row.stamp,
            client=row.client,
            access_token=opened["access_token"],
            refresh_token=opened["refresh_token"],
            is_connected=row.state == "connected",
            connected_at=row.connected_at,
            renewed_at=row.renewed_at,
            expires_at=row.expires_at,
            refused_at=row.refused_at,
            is_leased=row.is_leased,
            due_at=row.due_at,
            failures=row.failures,
            reason=row.reason,
        )


def _is(tenant_id: str, source: str) -> ColumnElement[bool]:
    return and_(oauth_token.c.tenant == tenant_id, oauth_token.c.source == source)


def _these(client: OAuthClient, grant: Grant) -> ColumnElement[bool]:
    return and_(_is(client.tenant_id, client.source), oauth_token.c.stamp == grant.stamp)
