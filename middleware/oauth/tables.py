"""The tables: a token per customer and ``[[crm]]`` (``oauth_token``), and authorisations under way (``oauth_state``).

The row of a token is also the lock of its renewal.  ``sealed`` is encrypted (``vault.py``); moments are Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Integer, String, Table, Text

from middleware.inbox.tables import metadata

oauth_token = Table(
    "oauth_token",
    metadata,
    Column("tenant", String(63), primary_key=True),
    Column("source", String(63), primary_key=True),
    Column("client", String(64), nullable=False),  # digest of the client that the CRM gave them to
    Column("stamp", String(32), nullable=False),  # another one whenever tokens are stored
    Column("sealed", Text, nullable=False),  # JSON: access_token, refresh_token
    Column("state", String(16), nullable=False),  # connected, ended
    Column("connected_at", Float, nullable=False),
    Column("renewed_at", Float, nullable=False),
    Column("expires_at", Float),  # of the access token, where the CRM says
    Column("refused_at", Float, nullable=False, default=0.0),  # when a 401 last had it renewed
    Column("owner", String(32)),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("due_at", Float, nullable=False, default=0.0),  # after a failure nobody tries before
    Column("failures", Integer, nullable=False, default=0),
    Column("reason", String(64)),  # of the latest failure
)

oauth_state = Table(
    "oauth_state",
    metadata,
    Column("nonce", String(64), primary_key=True),
    Column("tenant", String(63), nullable=False),
    Column("source", String(63), nullable=False),
    Column("sealed", Text, nullable=False),  # JSON: verifier, redirect_uri
    Column("expires_at", Float, nullable=False),
)
