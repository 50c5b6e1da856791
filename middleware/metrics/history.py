"""What was counted when: a bounded past of lookups, events and attempts, by customer and in total.

Lies beside the counts (docs/adr/0013): a row for each thing that was counted within a span of time.  The total has rows
of its own, so that a plot of everything reads as little as one of a single customer.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from middleware.metrics.names import LOOKUP_SECONDS

DAY = 86_400
SPANS = {300: 2 * DAY, 3600: 30 * DAY}  # seconds: how long a span is, and how long it is kept
TOTAL = ""  # in the place of a customer
TABLE = """
CREATE TABLE IF NOT EXISTS history (
    span INTEGER, begin INTEGER, customer TEXT, what TEXT, outcome TEXT, bucket INTEGER, value REAL,
    PRIMARY KEY (span, begin, customer, what, outcome, bucket)
) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = value + excluded.value
"""
# one search per span: customers lie side by side within each; added up here, or a month would be 70,000 samples
_READ = """
WITH RECURSIVE spans (begin) AS (VALUES (:first) UNION ALL SELECT begin + :span FROM spans WHERE begin < :last)
SELECT begin / :step * :step AS step, what, outcome, bucket, sum(value) FROM spans CROSS JOIN history USING (begin)
WHERE span = :span AND customer = :customer
GROUP BY step, what, outcome, bucket
"""
Point = tuple[str, str, str, int]  # a customer, what was counted, its outcome, and a lookup's bucket, else -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How often something happened within the span, or the longer step, that began at ``begin`` (Unix seconds)."""

    begin: int
    what: str
    outcome: str
    bucket: int
    value: float


def add(database: sqlite3.Connection, points: Iterable[tuple[Point, float]], now: float) -> None:
    """Add what was counted just now, and remove what is too old."""
    rows = [
        (span, int(now) // span * span, whose, *point[1:], value)
        for point, value in points
        for span in SPANS
        for whose in (point[0], TOTAL)
    ]
    database.executemany(_ADD, rows)
    for span, kept_for in SPANS.items():
        database.execute("DELETE FROM history WHERE span = ? AND begin < ?", (span, now - kept_for))


def read(
    database: sqlite3.Connection, span: int, step: int, first: float, last: float, customer: str = TOTAL
) -> list[Sample]:
    """Return what was counted between two moments (Unix seconds), added up within each step.

    ``span`` is one of ``SPANS``, ``step`` a multiple of it.
    """
    asked = {
        "span": span,
        "step": step,
        "first": int(first) // span * span,
        "last": int(last) // span * span,
        "customer": customer,
    }
    return [
        Sample(begin=begin, what=what, outcome=outcome, bucket=bucket, value=value)
        for begin, what, outcome, bucket, value in database.execute(_READ, asked)
    ]


def quantile(buckets: Sequence[float], share: float) -> float | None:
    """Return the seconds that ``share`` of the lookups did not exceed, by how many fell into each bucket.

    Within a bucket they count as evenly spread; those beyond the last bound count as that bound.
    """
    wanted, passed, lower = share * sum(buckets), 0.0, 0.0
    if not wanted:
        return None
    for count, upper in zip(buckets, LOOKUP_SECONDS.bounds, strict=False):
        if count and passed + count >= wanted:
            return lower + (upper - lower) * (wanted - passed) / count
        passed, lower = passed + count, upper
    return LOOKUP_SECONDS.bounds[-1]
