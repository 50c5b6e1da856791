"""The tables: who may sign in (``console_user``), who has (``console_session``), what was done (``console_audit``).

``console_link`` has the links for customers' own admins.  Moments are Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, Index, String, Table

from middleware.inbox.tables import NUMBER, Told, metadata

console_user = Table(
    "console_user",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("customer", String(63)),
    Column("password", String(255), nullable=False),  # argon2's hash
    Column("changed_at", Float, nullable=False),
)

console_session = Table(
    "console_session",
    metadata,
    Column("digest", String(64), primary_key=True),  # of the cookie's id, which is kept nowhere
    Column("name", String(64), nullable=False),
    Column("role", String(16), nullable=False),
    Column("customer", String(63)),
    Column("link_id", String(32)),  # of one that came by a link and may only read
    Column("address", String(45), nullable=False),
    Column("began_at", Float, nullable=False),
    Column("seen_at", Float, nullable=False),
    Column("ends_at", Float, nullable=False),
    Index("console_session_name", "name"),
)

console_link = Table(
    "console_link",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("customer", String(63), nullable=False),
    Column("made_by", String(64), nullable=False),
    Column("made_at", Float, nullable=False),
    Column("expires_at", Float, nullable=False),
    Column("revoked_at", Float),
)

console_audit = Table(
    "console_audit",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("at", Float, nullable=False),
    Column("who", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("customer", String(63)),
    Column("about", Told, nullable=False),
    Column("address", String(45), nullable=False),
    Index("console_audit_at", "at"),
    Index("console_audit_action", "action", "at"),
    Index("console_audit_customer", "customer", "id"),
)
