"""``Connections``: how a person authorises us at a CRM, and how that ends (RFC 6749, 4.1, with PKCE).

A link carries a signed state that works once, for an hour; what belongs to it stays in the database, so any machine
of the installation can finish what another one has begun.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from itsdangerous import BadSignature, URLSafeSerializer
from sqlalchemy import delete, select

from middleware.crm.oauth import OAuthClient
from middleware.errors import CRMError, NotConnectedError, VaultError
from middleware.inbox.database import Database
from middleware.model.deadline import Deadline
from middleware.oauth.grants import Grant, Grants, digest_of
from middleware.oauth.protocol import Protocol
from middleware.oauth.tables import oauth_state
from middleware.oauth.vault import Vault

LINK_LIVES = timedelta(hours=1)
REQUEST = timedelta(seconds=10)
FindClient = Callable[[str, str], OAuthClient | None]  # by the ids of the customer and of his [[crm]]


class Connections:
    """Begins, finishes and ends authorisations; raises ``StorageError`` where the database does."""

    def __init__(
        self, database: Database, vault: Vault, grants: Grants, protocol: Protocol, *, key: bytes, find: FindClient
    ) -> None:
        self._database = database
        self.vault = vault
        self._grants = grants
        self._protocol = protocol
        self._signer = URLSafeSerializer(key, salt="oauth state")
        self._find = find

    def begin(self, client: OAuthClient, redirect_uri: str) -> str:
        """Return the link that a person opens in a browser, who is then sent to ``redirect_uri``."""
        nonce, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
        now = self._grants.now()
        row = {
            "nonce": nonce,
            "tenant": client.tenant_id,
            "source": client.source,
            "sealed": self.vault.seal({"verifier": verifier, "redirect_uri": redirect_uri}),
            "expires_at": now + LINK_LIVES.total_seconds(),
        }
        with self._database.write(client.tenant_id) as connection:
            connection.execute(delete(oauth_state).where(oauth_state.c.expires_at <= now))
            connection.execute(self._database.insert(oauth_state).values(**row))
        state = str(self._signer.dumps(nonce))
        return self._protocol.link(client, redirect_uri=redirect_uri, state=state, verifier=verifier)

    def finish(self, state: str, code: str) -> OAuthClient:
        """Take what the CRM sent the person back with, and keep the tokens; return for whom.

        Raises ``NotConnectedError`` for a state that is not ours, was used or is too old, and ``CRMError`` when the
        CRM does not give the tokens.  A state works once, whatever comes of it.
        """
        row = self._spend(state)
        client = self._find(row.tenant, row.source)
        if client is None:
            raise NotConnectedError('the customer\'s file no longer has this CRM with auth = "oauth2"')
        try:
            begun = self.vault.open(row.sealed)
        except VaultError as error:
            raise NotConnectedError(str(error)) from None
        granted = self._protocol.redeem(
            client,
            code,
            redirect_uri=begun["redirect_uri"],
            verifier=begun["verifier"],
            deadline=Deadline.after(REQUEST),
        )
        self._grants.connect(client, granted)
        return client

    def end(self, tenant_id: str, source: str) -> bool:
        """Remove the tokens, and tell the CRM where it wants to know; whether there were any."""
        client, grant = self._find(tenant_id, source), None
        with suppress(VaultError):  # what nobody can read is removed as well
            grant = self._grants.find(tenant_id, source)
        was_there = self._grants.disconnect(tenant_id, source)
        if client and grant:
            with suppress(CRMError):  # without tokens we are out, whatever the CRM believes
                self._protocol.revoke(client, grant.refresh_token or grant.access_token, Deadline.after(REQUEST))
        return was_there

    def grant(self, tenant_id: str, source: str) -> Grant | None:
        """Return how the connection stands; raises ``VaultError`` when its tokens cannot be read."""
        return self._grants.find(tenant_id, source)

    def describe(self, client: OAuthClient) -> dict[str, Any]:
        """Return how the connection stands, for people: ``crm``, ``state``, ``reason`` and moments."""
        told: dict[str, Any] = {"crm": client.source, "state": "not connected"}
        try:
            grant = self.grant(client.tenant_id, client.source)
        except VaultError as error:
            return told | {"state": "unreadable", "reason": str(error)}
        if grant is None or grant.client != digest_of(client):
            return told
        is_well = grant.is_connected and not grant.failures
        state = "connected" if is_well else "failing" if grant.is_connected else "ended"
        moments = {name: getattr(grant, name) for name in ("connected_at", "renewed_at", "expires_at")}
        told |= {name: at and datetime.fromtimestamp(at, UTC) for name, at in moments.items()}
        return told | {"state": state, "reason": grant.reason}

    def reseal(self) -> int:
        """Encrypt all tokens with the first key, return how many; links that are under way work no more."""
        with self._database.write() as connection:
            connection.execute(delete(oauth_state))
        return self._grants.reseal()

    def _spend(self, state: str) -> Any:
        try:
            nonce = str(self._signer.loads(state))
        except BadSignature:
            raise NotConnectedError("this link is not ours, or not whole") from None
        mine = oauth_state.c.nonce == nonce
        with self._database.write() as connection:
            row = connection.execute(select(oauth_state).where(mine).with_for_update()).first()
            is_mine = row and connection.execute(delete(oauth_state).where(mine)).rowcount == 1
        if row is None or not is_mine or row.expires_at <= self._grants.now():
            raise NotConnectedError("this link was used, or is older than an hour: ask for a new one")
        return row
