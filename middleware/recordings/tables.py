"""The tables: what a sender named (``recording``), and what is known of it.

Who has listened to it (``recording_access``), which CRMs have it (``recording_attachment``), and of which numbers it is
(``recording_number``).
A recording's ``url`` is the key to it, so it is kept only until it is fetched or given up.  ``links`` counts
revocations: a link bears the number that was in force when it was made.  Moments are Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Float, Index, Integer, String, Table, UniqueConstraint

from middleware.inbox.tables import Told, metadata

recording = Table(
    "recording",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(63), nullable=False),
    Column("call_key", String(64), nullable=False),
    Column("source", String(64), nullable=False),  # keyed hash of the URL
    Column("kind", String(16), nullable=False),  # recording, transcript
    Column("state", String(16), nullable=False),  # waiting, kept, passed, failed, expired, removed
    Column("url", Told),
    Column("noted_at", Float, nullable=False),
    Column("link_dies_at", Float, nullable=False),  # the sender's link
    Column("due_at", Float, nullable=False),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("attempts", Integer, nullable=False, default=0),
    Column("words", Told),  # how the last attempt ended
    Column("sha256", String(64)),
    Column("bytes", BigInteger),
    Column("content_type", String(64)),
    Column("expires_at", Float, nullable=False),  # end of keeping, and of our links
    Column("links", Integer, nullable=False, default=0),
    UniqueConstraint("tenant", "source"),
    Index("recording_due", "state", "due_at"),
    Index("recording_call", "tenant", "call_key"),
    Index("recording_content", "tenant", "sha256"),
)

# whose recordings they are: found by that when what was sent about the call is long gone
recording_number = Table(
    "recording_number",
    metadata,
    Column("recording_id", String(32), primary_key=True),
    Column("number", String(64), primary_key=True),  # keyed hash
    Index("recording_number_number", "number"),
)

# which recordings are in which CRM: ``begun`` without an end is in doubt
recording_attachment = Table(
    "recording_attachment",
    metadata,
    Column("recording_id", String(32), primary_key=True),
    Column("channel", String(63), primary_key=True),
    Column("external_id", Told, primary_key=True),  # of the call's record there
    Column("state", String(16), nullable=False),  # begun, attached
)

# a player asks many times for parts: a line is what one address did within one minute
recording_access = Table(
    "recording_access",
    metadata,
    Column("recording_id", String(32), primary_key=True),
    Column("minute", BigInteger, primary_key=True),  # Unix time / 60
    Column("address", String(45), primary_key=True),
    Column("outcome", String(16), primary_key=True),  # played, expired, revoked, removed
    Column("requests", Integer, nullable=False),
)
