"""The tables: what came (``event``), of which ``call``, what is to be written where (``delivery``), by whom (``lane``).

A delivery is one call for one channel (a CRM of the customer): accepting an event must stay one insert that
knows nothing of calls or of the customer's CRMs, so the worker makes calls of events, and their deliveries.  ``mark``
finds the events that may speak of the same call.  A worker leases the lane, a customer's channel, and not the
event: that gives order, isolation and back-off per customer.  ``attempt`` tells people what was tried.  Moments are
Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
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
    TypeDecorator,
    UniqueConstraint,
    text,
)

metadata = MetaData()
IN_FLIGHT = text("in_flight")  # few are
_UNLOGGED = text("state <> 'logged'")
UNLOGGED = text("call.state <> 'logged'")  # few are; in these words, or SQLite does not take the index for it
NUMBER = BigInteger().with_variant(Integer, "sqlite")  # of events there may be more than Integer holds elsewhere


class Told(TypeDecorator[str]):
    """Text from outside, without what PostgreSQL or UTF-8 cannot hold: NUL and lone surrogates."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: object) -> str | None:
        """Put a question mark or U+FFFD in the place of what cannot be kept."""
        return value and value.replace("\0", "\ufffd").encode(errors="replace").decode()


event = Table(
    "event",
    metadata,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("tenant", String(63), nullable=False),
    Column("sender", String(32), nullable=False),
    Column("key", String(64), nullable=False),  # keyed hash: the sender's key holds phone numbers
    Column("digest", String(64), nullable=False, unique=True),  # keyed hash of customer, sender, key and content
    Column("content_type", String(100), nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("received_at", Float, nullable=False),
    Column("state", String(16), nullable=False),  # queued, planned, quarantined, replaced, purged
    Column("reason", Text),  # field errors as JSON; of a planned event, a remark
    Column("call_seq", ForeignKey("call.seq"), index=True),
    Index("event_queued", "state", "tenant", "seq"),
    Index("event_tenant", "tenant", "seq"),
)

call = Table(
    "call",
    metadata,
    Column("seq", NUMBER, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("tenant", String(63), nullable=False),
    Column("key", String(64), nullable=False),  # its first event's, which is the same should that event come again
    Column("version", Integer, nullable=False, default=0),  # counts its events
    Column("state", String(16), nullable=False),  # logged; ignored or noted, which nobody writes into a CRM
    Column("reason", Text),  # why nobody does
    Index("call_unlogged", "state", "tenant", sqlite_where=_UNLOGGED, postgresql_where=_UNLOGGED),
)

# what events of one call have in common: an id, or the contact's number, and about when
mark = Table(
    "mark",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("tenant", String(63), nullable=False),
    Column("what", String(64), nullable=False),  # keyed hash
    Column("begin", Float, nullable=False),
    Column("end", Float, nullable=False),
    Column("event_seq", ForeignKey("event.seq"), nullable=False, index=True),
    Index("mark_what", "tenant", "what", "begin"),
)

delivery = Table(
    "delivery",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("call_seq", ForeignKey("call.seq"), nullable=False),
    Column("tenant", String(63), nullable=False),
    Column("channel", String(63), nullable=False),
    Column("state", String(16), nullable=False),  # waiting, parked, delivered, dead, ignored
    Column("due_at", Float, nullable=False),
    Column("attempts", Integer, nullable=False, default=0),
    Column("first_attempt_at", Float),
    Column("in_flight", Boolean, nullable=False, default=False),  # an attempt began and has not told its end
    Column("in_doubt", Boolean, nullable=False, default=False),  # an earlier attempt may have written
    Column("crashes", Integer, nullable=False, default=0),
    Column("maybe_duplicate", Boolean, nullable=False, default=False),
    Column("external_id", Told),
    Column("url", Told),
    Column("written", String(64)),  # keyed hash of the record that the CRM has
    Column("finished_at", Float),
    UniqueConstraint("call_seq", "channel"),
    Index("delivery_due", "tenant", "channel", "state", "due_at"),
    Index("delivery_next", "tenant", "channel", "state", "call_seq"),
    Index(
        "delivery_in_flight", "tenant", "channel", sqlite_where=text("in_flight"), postgresql_where=text("in_flight")
    ),
    Index("delivery_state", "state", "tenant"),  # what is dead, or waits, is counted often
)

# what was written for whom: completes a card until the CRM's own search shows the call
logged_call = Table(
    "logged_call",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("tenant", String(63), nullable=False),
    Column("number", String(64), nullable=False),  # keyed hash
    Column("call_seq", ForeignKey("call.seq"), nullable=False, unique=True),
    Column("started_at", Float, nullable=False),
    Column("url", Told),
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
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("delivery_id", ForeignKey("delivery.id"), nullable=False, index=True),
    Column("at", Float, nullable=False),
    Column("took_ms", Integer, nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("error", String(64)),
    Column("words", Told, nullable=False),
)

# what somebody has delivered again, to see what becomes of it; without foreign keys: events go when they are old
replay = Table(
    "replay",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("tenant", String(63)),  # of whom; of several customers none
    Column("who", String(64), nullable=False),
    Column("at", Float, nullable=False),
)

replay_event = Table(
    "replay_event",
    metadata,
    Column("replay_id", String(32), primary_key=True),
    Column("event_seq", NUMBER, primary_key=True, autoincrement=False),
)
