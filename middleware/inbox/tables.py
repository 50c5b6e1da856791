"""The tables: what came (``event``), what is to be written where (``delivery``), who works on it (``lane``).

A delivery is one event for one channel (a CRM of the customer): accepting an event must stay one insert that
knows nothing of the customer's CRMs, so the worker makes its deliveries.  A worker leases the lane, a
customer's channel, and not the event: that gives order, isolation and back-off per customer.
``attempt`` tells people what was tried.  Moments are Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import (
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

metadata = MetaData()

event = Table(
    "event",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("tenant", String(63), nullable=False),
    Column("sender", String(32), nullable=False),
    Column("key", String(64), nullable=False),  # keyed hash: the sender's key holds phone numbers
    Column("digest", String(64), nullable=False),  # keyed hash of the content
    Column("content_type", String(100), nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("state", String(16), nullable=False),  # queued, planned, quarantined, ignored
    Column("reason", Text),  # field errors as JSON, or why it was ignored
    UniqueConstraint("tenant", "sender", "key", "digest"),
    Index("event_queued", "state", "seq"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("event_seq", ForeignKey("event.seq"), nullable=False),
    Column("tenant", String(63), nullable=False),
    Column("channel", String(63), nullable=False),
    Column("key", String(64), nullable=False),
    Column("state", String(16), nullable=False),  # waiting, parked, delivered, dead
    Column("due_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("first_attempt_at", Float),
    Column("in_flight", Boolean, nullable=False, default=False),  # an attempt began and has not told its end
    Column("in_doubt", Boolean, nullable=False, default=False),  # an earlier attempt may have written
    Column("crashes", Integer, nullable=False, default=0),
    Column("maybe_duplicate", Boolean, nullable=False, default=False),
    Column("external_id", Text),
    Column("url", Text),
    Column("finished_at", Float),
    UniqueConstraint("event_seq", "channel"),
    Index("delivery_due", "tenant", "channel", "state", "due_at"),
    Index("delivery_key", "tenant", "channel", "key"),
)

# what was written for whom: completes a card until the CRM's own search shows the call
logged_call = Table(
    "logged_call",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("tenant", String(63), nullable=False),
    Column("number", String(64), nullable=False),  # keyed hash
    Column("key", String(64), nullable=False),
    Column("event_seq", ForeignKey("event.seq"), nullable=False),
    Column("started_at", Float, nullable=False),
    Column("url", Text),
    UniqueConstraint("tenant", "key"),
    Index("logged_call_number", "tenant", "number", "started_at"),
)

lane = Table(
    "lane",
    metadata,
    Column("tenant", String(63), primary_key=True),
    Column("channel", String(63), primary_key=True),
    Column("owner", String(32)),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("due_at", Float, nullable=False, default=0.0),  # the lane as a whole waits until then
    Column("failures", Integer, nullable=False, default=0),
    Column("paused_revision", String(64)),  # configuration that the CRM refused; a new one ends the pause
)

attempt = Table(
    "attempt",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("delivery_id", ForeignKey("delivery.id"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("took_ms", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", String(64)),
    Column("words", Text, nullable=False),
)
