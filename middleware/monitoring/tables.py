"""The tables: what is wrong and who was told (``alarm``), and whose turn it is to look (``alarm_look``).

Moments are Unix seconds.
"""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Float, Integer, String, Table

from middleware.inbox.tables import metadata

alarm = Table(
    "alarm",
    metadata,
    Column("kind", String(32), primary_key=True),
    Column("subject", String(255), primary_key=True),  # a customer, his channel, a machine; empty: the installation
    Column("is_raised", Boolean, nullable=False),
    Column("since", Float, nullable=False),
    Column("amount", Integer, nullable=False),  # of what there is, where more of it is news
    Column("is_told", Boolean, nullable=False),  # as raised; what people believe
    Column("told_amount", Integer, nullable=False),
    Column("told_at", Float),
    Column("due_at", Float, nullable=False),  # not told before, because somebody tells it or could not
    Column("attempts", Integer, nullable=False),
)

# one process looks at a time, any of them: should it die, another one does next time
alarm_look = Table(
    "alarm_look",
    metadata,
    Column("subject", String(255), primary_key=True),  # a machine; empty: the database
    Column("due_at", Float, nullable=False),
)
