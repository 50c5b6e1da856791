"""The tables: how each index stands (``number_index``), its contacts and their numbers.

A contact's ``generation`` is that of the latest full pass that has seen it: what an earlier one saw last is gone from
the CRM.  ``since``, ``synced_at`` and ``built_at`` are moments at which a pass began, for what changes while it runs
is not in it.  Moments are Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import Column, Float, ForeignKey, Index, Integer, String, Table, Text, UniqueConstraint

from middleware.inbox.tables import NUMBER, Told, metadata

number_index = Table(
    "number_index",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True),
    Column("tenant", String(63), nullable=False),
    Column("source", Told, nullable=False),
    Column("fingerprint", String(32), nullable=False, default=""),  # of the settings that its contacts were read with
    Column("owner", String(32)),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("due_at", Float, nullable=False, default=0.0),
    Column("generation", Integer, nullable=False, default=0),
    Column("begun_at", Float),  # of the full pass that is under way
    Column("bookmark", Told),  # how far it is
    Column("seen", Integer, nullable=False, default=0),  # contacts that it has brought
    Column("built_at", Float),  # of the last full pass that came to its end
    Column("synced_at", Float),  # of the last pass, full or not, that did
    Column("since", Float),  # changes are asked for from here
    Column("contacts", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),  # in a row
    Column("error", String(64)),  # class of the last one
    UniqueConstraint("tenant", "source"),
)

indexed_contact = Table(
    "indexed_contact",
    metadata,
    Column("index_id", ForeignKey("number_index.id"), primary_key=True),
    Column("contact_id", Told, primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("digest", String(32), nullable=False),  # of the contact as it was written
    Column("card", Text, nullable=False),  # the contact as JSON
    Index("indexed_contact_generation", "index_id", "generation"),
)

indexed_number = Table(
    "indexed_number",
    metadata,
    Column("index_id", ForeignKey("number_index.id"), primary_key=True),
    Column("number", String(32), primary_key=True),  # keyed hash
    Column("contact_id", Told, primary_key=True),
    Index("indexed_number_contact", "index_id", "contact_id"),
)
