"""What this machine has counted of a customer's lookups, and of its breakers."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from middleware.metrics.counts import Counted, Counts
from middleware.metrics.history import DAY, Sample, quantile
from middleware.metrics.names import BREAKER_OPEN_UNTIL, LOOKUP_SECONDS, LOOKUPS

HITS = ("hit", "partial hit", "stale hit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Of one customer, or of all: the lookups of a span by outcome, and which share was a hit.

    ``p50`` and ``p95`` are milliseconds.
    """

    outcomes: Mapping[str, int] = field(default_factory=dict)
    p50: float | None = None
    p95: float | None = None

    @property
    def count(self) -> int:
        """How many lookups there were."""
        return sum(self.outcomes.values())

    @property
    def hit_rate(self) -> float | None:
        """The share of hits, in percent."""
        hits = sum(self.outcomes.get(outcome, 0) for outcome in HITS)
        return 100 * hits / self.count if self.count else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lately:
    """When a customer was looked up last, and until when each of his CRMs is left alone."""

    last_lookup: datetime | None
    open_until: Mapping[str, datetime]


def figures_of(counts: Counts, customer: str) -> Figures | None:
    """Return the figures of the last day; ``None`` when the counts cannot be read."""
    try:
        samples = counts.read_past(300, DAY, customer, step=DAY)
    except sqlite3.Error:
        return None
    return compute(samples)


def compute(samples: Iterable[Sample]) -> Figures:
    """Return the figures of the lookups among ``samples``."""
    outcomes: dict[str, int] = {}
    buckets = [0.0] * (len(LOOKUP_SECONDS.bounds) + 1)
    for sample in samples:
        if sample.what == LOOKUPS.name:
            outcomes[sample.outcome] = outcomes.get(sample.outcome, 0) + round(sample.value)
            buckets[sample.bucket] += sample.value
    p50, p95 = quantile(buckets, 0.5), quantile(buckets, 0.95)
    return Figures(outcomes=outcomes, p50=p50 and p50 * 1000, p95=p95 and p95 * 1000)


def lately(counts: Counts, customer: str, now: datetime) -> Lately | None:
    """Return what was counted last of the customer; ``None`` when the counts cannot be read."""
    try:
        counted = counts.read_customer(customer)
    except sqlite3.Error:
        return None
    lookups = [one.at for one in counted if one.name == LOOKUPS.name]
    return Lately(
        last_lookup=datetime.fromtimestamp(max(lookups), UTC) if lookups else None,
        open_until={one.labels[0]: until for one in counted if (until := _open_until(one)) and until > now},
    )


def _open_until(one: Counted) -> datetime | None:
    is_open = one.name == BREAKER_OPEN_UNTIL.name and one.value
    return datetime.fromtimestamp(one.value, UTC) if is_open else None
