"""The tables of 0.1.0.

Those that are there already stay as they are: a database of before the first migration has them.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "call",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        if_not_exists=True,
    )
    op.create_index(
        "call_unlogged",
        "call",
        ["state", "tenant"],
        sqlite_where=sa.text("state <> 'logged'"),
        postgresql_where=sa.text("state <> 'logged'"),
        if_not_exists=True,
    )
    op.create_table(
        "lane",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("channel", sa.String(length=63), nullable=False),
        sa.Column("owner", sa.String(length=32)),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("paused_revision", sa.String(length=64)),
        sa.PrimaryKeyConstraint("tenant", "channel"),
        if_not_exists=True,
    )
    op.create_table(
        "recording",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("call_key", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("url", sa.Text()),
        sa.Column("noted_at", sa.Float(), nullable=False),
        sa.Column("link_dies_at", sa.Float(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("words", sa.Text()),
        sa.Column("sha256", sa.String(length=64)),
        sa.Column("bytes", sa.BigInteger()),
        sa.Column("content_type", sa.String(length=64)),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("links", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "source"),
        if_not_exists=True,
    )
    op.create_index("recording_call", "recording", ["tenant", "call_key"], if_not_exists=True)
    op.create_index("recording_content", "recording", ["tenant", "sha256"], if_not_exists=True)
    op.create_index("recording_due", "recording", ["state", "due_at"], if_not_exists=True)
    op.create_table(
        "recording_access",
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("minute", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("requests", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "minute", "address", "outcome"),
        if_not_exists=True,
    )
    op.create_table(
        "recording_attachment",
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("channel", sa.String(length=63), nullable=False),
        sa.Column("external_id", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "channel", "external_id"),
        if_not_exists=True,
    )
    op.create_table(
        "recording_number",
        sa.Column("recording_id", sa.String(length=32), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("recording_id", "number"),
        if_not_exists=True,
    )
    op.create_index("recording_number_number", "recording_number", ["number"], if_not_exists=True)
    op.create_table(
        "alarm",
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("is_raised", sa.Boolean(), nullable=False),
        sa.Column("since", sa.Float(), nullable=False),
        sa.Column("amount", sa.Integer(), nullable=False),
        sa.Column("is_told", sa.Boolean(), nullable=False),
        sa.Column("told_amount", sa.Integer(), nullable=False),
        sa.Column("told_at", sa.Float()),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "subject"),
        if_not_exists=True,
    )
    op.create_table(
        "alarm_look",
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("subject"),
        if_not_exists=True,
    )
    op.create_table(
        "oauth_token",
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("source", sa.String(length=63), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("stamp", sa.String(length=32), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("connected_at", sa.Float(), nullable=False),
        sa.Column("renewed_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float()),
        sa.Column("refused_at", sa.Float(), nullable=False),
        sa.Column("owner", sa.String(length=32)),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=64)),
        sa.PrimaryKeyConstraint("tenant", "source"),
        if_not_exists=True,
    )
    op.create_table(
        "oauth_state",
        sa.Column("nonce", sa.String(length=64), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("source", sa.String(length=63), nullable=False),
        sa.Column("sealed", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("nonce"),
        if_not_exists=True,
    )
    op.create_table(
        "delivery",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("call_seq", NUMBER, nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("channel", sa.String(length=63), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("first_attempt_at", sa.Float()),
        sa.Column("in_flight", sa.Boolean(), nullable=False),
        sa.Column("in_doubt", sa.Boolean(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("maybe_duplicate", sa.Boolean(), nullable=False),
        sa.Column("external_id", sa.Text()),
        sa.Column("url", sa.Text()),
        sa.Column("written", sa.String(length=64)),
        sa.Column("finished_at", sa.Float()),
        sa.ForeignKeyConstraint(["call_seq"], ["call.seq"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("call_seq", "channel"),
        if_not_exists=True,
    )
    op.create_index("delivery_due", "delivery", ["tenant", "channel", "state", "due_at"], if_not_exists=True)
    op.create_index("delivery_next", "delivery", ["tenant", "channel", "state", "call_seq"], if_not_exists=True)
    op.create_index(
        "delivery_in_flight",
        "delivery",
        ["tenant", "channel"],
        if_not_exists=True,
        sqlite_where=sa.text("in_flight"),
        postgresql_where=sa.text("in_flight"),
    )
    op.create_index("delivery_state", "delivery", ["state", "tenant"], if_not_exists=True)
    op.create_table(
        "event",
        sa.Column("seq", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("sender", sa.String(length=32), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content_type", sa.String(length=100), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False),
        sa.Column("received_at", sa.Float(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text()),
        sa.Column("call_seq", NUMBER),
        sa.ForeignKeyConstraint(["call_seq"], ["call.seq"]),
        sa.PrimaryKeyConstraint("seq"),
        sa.UniqueConstraint("id"),
        sa.UniqueConstraint("digest"),
        if_not_exists=True,
    )
    op.create_index("event_queued", "event", ["state", "tenant", "seq"], if_not_exists=True)
    op.create_index("event_tenant", "event", ["tenant", "seq"], if_not_exists=True)
    op.create_index("ix_event_call_seq", "event", ["call_seq"], if_not_exists=True)
    op.create_table(
        "logged_call",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("number", sa.String(length=64), nullable=False),
        sa.Column("call_seq", NUMBER, nullable=False),
        sa.Column("started_at", sa.Float(), nullable=False),
        sa.Column("url", sa.Text()),
        sa.ForeignKeyConstraint(["call_seq"], ["call.seq"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("call_seq"),
        if_not_exists=True,
    )
    op.create_index("logged_call_number", "logged_call", ["tenant", "number", "started_at"], if_not_exists=True)
    op.create_table(
        "attempt",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("delivery_id", NUMBER, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("error", sa.String(length=64)),
        sa.Column("words", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["delivery_id"], ["delivery.id"]),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("ix_attempt_delivery_id", "attempt", ["delivery_id"], if_not_exists=True)
    op.create_table(
        "mark",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("what", sa.String(length=64), nullable=False),
        sa.Column("begin", sa.Float(), nullable=False),
        sa.Column("end", sa.Float(), nullable=False),
        sa.Column("event_seq", NUMBER, nullable=False),
        sa.ForeignKeyConstraint(["event_seq"], ["event.seq"]),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("ix_mark_event_seq", "mark", ["event_seq"], if_not_exists=True)
    op.create_index("mark_what", "mark", ["tenant", "what", "begin"], if_not_exists=True)
    op.create_table(
        "number_index",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("tenant", sa.String(length=63), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.String(length=32), nullable=False),
        sa.Column("owner", sa.String(length=32)),
        sa.Column("lease_until", sa.Float(), nullable=False),
        sa.Column("due_at", sa.Float(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("begun_at", sa.Float()),
        sa.Column("bookmark", sa.Text()),
        sa.Column("seen", sa.Integer(), nullable=False),
        sa.Column("built_at", sa.Float()),
        sa.Column("synced_at", sa.Float()),
        sa.Column("since", sa.Float()),
        sa.Column("contacts", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=64)),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant", "source"),
        if_not_exists=True,
    )
    op.create_table(
        "indexed_contact",
        sa.Column("index_id", NUMBER, nullable=False),
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("card", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["index_id"], ["number_index.id"]),
        sa.PrimaryKeyConstraint("index_id", "contact_id"),
        if_not_exists=True,
    )
    op.create_index("indexed_contact_generation", "indexed_contact", ["index_id", "generation"], if_not_exists=True)
    op.create_table(
        "indexed_number",
        sa.Column("index_id", NUMBER, nullable=False),
        sa.Column("number", sa.String(length=32), nullable=False),
        sa.Column("contact_id", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["index_id"], ["number_index.id"]),
        sa.PrimaryKeyConstraint("index_id", "number", "contact_id"),
        if_not_exists=True,
    )
    op.create_index("indexed_number_contact", "indexed_number", ["index_id", "contact_id"], if_not_exists=True)
    _create_console()


def _create_console() -> None:
    op.create_table(
        "console_user",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("customer", sa.String(length=63)),
        sa.Column("password", sa.String(length=255), nullable=False),
        sa.Column("changed_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        if_not_exists=True,
    )
    op.create_table(
        "console_session",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("customer", sa.String(length=63)),
        sa.Column("link_id", sa.String(length=32)),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.Column("began_at", sa.Float(), nullable=False),
        sa.Column("seen_at", sa.Float(), nullable=False),
        sa.Column("ends_at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        if_not_exists=True,
    )
    op.create_index("console_session_name", "console_session", ["name"], if_not_exists=True)
    op.create_table(
        "console_link",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("customer", sa.String(length=63), nullable=False),
        sa.Column("made_by", sa.String(length=64), nullable=False),
        sa.Column("made_at", sa.Float(), nullable=False),
        sa.Column("expires_at", sa.Float(), nullable=False),
        sa.Column("revoked_at", sa.Float()),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_table(
        "console_audit",
        sa.Column("id", NUMBER, autoincrement=True, nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("action", sa.String(length=32), nullable=False),
        sa.Column("customer", sa.String(length=63)),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("address", sa.String(length=45), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_index("console_audit_at", "console_audit", ["at"], if_not_exists=True)
    op.create_index("console_audit_action", "console_audit", ["action", "at"], if_not_exists=True)
    op.create_index("console_audit_customer", "console_audit", ["customer", "id"], if_not_exists=True)
    op.create_table(
        "replay",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("tenant", sa.String(length=63)),
        sa.Column("who", sa.String(length=64), nullable=False),
        sa.Column("at", sa.Float(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        if_not_exists=True,
    )
    op.create_table(
        "replay_event",
        sa.Column("replay_id", sa.String(length=32), nullable=False),
        sa.Column("event_seq", NUMBER, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("replay_id", "event_seq"),
        if_not_exists=True,
    )
