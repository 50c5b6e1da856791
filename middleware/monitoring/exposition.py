"""What Prometheus is told: the counts of this machine's processes, and how the inbox, the disk and the alarms stand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric as Family
from prometheus_client.registry import Collector

from middleware import __version__
from middleware.errors import StorageError
from middleware.inbox.store import Inbox
from middleware.metrics.counts import SUM, Counts, Key
from middleware.metrics.names import (
    ALARM,
    BUILD,
    COUNTED,
    DATABASE_UP,
    DEAD_LETTERS,
    DISCONNECTED,
    DISK_FREE,
    INBOX,
    INDEX_AGE,
    INDEX_CONTACTS,
    INDEX_FAILURES,
    OLDEST_DUE,
    OLDEST_RETRY,
    PAUSED,
    UNRENEWED,
    Metric,
)
from middleware.monitoring.alarms import Ledger
from middleware.monitoring.condition import Condition, condition_of, free_bytes

Values = Mapping[tuple[str, ...], float]  # of one metric, by its labels' values


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)  # a registry wants to hash it
class Sight(Collector):
    """What is exposed; ``condition`` is ``None`` when the database cannot be read, ``alarms`` are those raised."""

    counts: Mapping[Key, float]
    condition: Condition | None
    free_bytes: int | None
    alarms: tuple[tuple[str, str], ...] = ()

    def collect(self) -> Iterable[Family]:
        """Return every metric, as ``prometheus_client`` wants them of a collector."""
        return [*_counted(self.counts), *_read(self)]


def see(inbox: Inbox, counts: Counts, folder: Path) -> Sight:
    """Look at what is exposed; what cannot be read is left out."""
    counted: Mapping[Key, float] = {}
    condition: Condition | None = None
    alarms: tuple[tuple[str, str], ...] = ()
    with suppress(sqlite3.Error):  # told in the log by whoever counts
        counted = counts.read()
    with suppress(StorageError):
        alarms = tuple(Ledger(inbox).raised())
        condition = condition_of(inbox)
    return Sight(counts=counted, condition=condition, free_bytes=free_bytes(folder), alarms=alarms)


def expose(sight: Sight, accept: str = "") -> tuple[bytes, str]:
    """Return the text and its content type, in the format that ``accept`` (the header) prefers."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(sight)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _counted(counts: Mapping[Key, float]) -> Iterable[Family]:
    for metric in COUNTED:
        values = {labels: value for (name, labels), value in counts.items() if name == metric.name}
        yield _histogram(metric, values) if metric.kind == "histogram" else _family(metric, values)


def _read(sight: Sight) -> Iterable[Family]:
    yield _family(BUILD, {(__version__,): 1})
    yield _family(DISK_FREE, {} if sight.free_bytes is None else {(): sight.free_bytes})
    yield _family(DATABASE_UP, {(): float(sight.condition is not None)})
    yield _family(ALARM, dict.fromkeys(sight.alarms, 1.0))
    if condition := sight.condition:
        yield _family(INBOX, {(state,): count for state, count in condition.states.items()})
        yield _family(OLDEST_DUE, {(): condition.oldest_due})
        yield _family(OLDEST_RETRY, {(): condition.oldest_retry})
        yield _family(DEAD_LETTERS, {(customer,): count for customer, count in condition.dead.items()})
        yield _family(PAUSED, dict.fromkeys(condition.paused, 1.0))
        indexes = {(index.tenant_id, index.source): index for index in condition.indexes}
        yield _family(INDEX_CONTACTS, {labels: index.contacts for labels, index in indexes.items()})
        yield _family(INDEX_FAILURES, {labels: index.failures for labels, index in indexes.items()})
        ages = {labels: index.age for labels, index in indexes.items()}
        yield _family(INDEX_AGE, {labels: age for labels, age in ages.items() if age is not None})
        yield _family(DISCONNECTED, dict.fromkeys(condition.disconnected, 1.0))
        yield _family(UNRENEWED, {crm: float(count) for crm, count in condition.unrenewed.items()})


def _family(metric: Metric, values: Values) -> Family:
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = kind(metric.name, metric.words, labels=metric.labels)
    for labels, value in values.items():
        family.add_metric(labels, value)
    return family


def _histogram(metric: Metric, values: Values) -> Family:
    family = HistogramMetricFamily(metric.name, metric.words, labels=metric.labels)
    for labels in sorted({labels[:-1] for labels in values}):
        buckets, total = [], 0.0
        for bound in (*map(str, metric.bounds), "+Inf"):
            total += values.get((*labels, bound), 0)
            buckets.append((bound, total))
        family.add_metric(labels, buckets=buckets, sum_value=values.get((*labels, SUM), 0))
    return family
