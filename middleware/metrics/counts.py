"""``Counts``: what this process counts, added once a second to one small database of the machine.

Counting is a number in a dictionary; nobody who answers a request waits for the disk.  Hand-written:
prometheus_client's multiprocess mode keeps two files for every process there ever was (3 became 19 after 8 reloads),
wants a variable set before its import, and its counters fall back when a dead process' files are removed.  Here
processes leave nothing behind, and counters outlast restarts; a killed process loses its last second.
"""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import structlog

from middleware.metrics import history
from middleware.metrics.names import COUNTED, DELIVERY_ATTEMPTS, EVENTS, LOOKUP_SECONDS, LOOKUPS, Metric
from middleware.side_database import open_side_database

BATCH_EVERY = 1.0  # seconds
KEPT_FOR = timedelta(days=30)  # a count that nothing adds to: its customer may be gone
SUM = "sum"  # in the place of a histogram's bucket
REMEMBERED = frozenset({EVENTS.name, DELIVERY_ATTEMPTS.name})  # in the history, as lookups are
_TABLE = """
CREATE TABLE IF NOT EXISTS metric (
    name TEXT, labels TEXT, value REAL, at REAL, PRIMARY KEY (name, labels)
) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO metric VALUES (?, ?, ?, ?)
ON CONFLICT DO UPDATE SET value = value + excluded.value, at = excluded.at
"""
_OF_CUSTOMER = f"""
SELECT name, labels, value, at FROM metric
WHERE name IN ({", ".join(f"'{metric.name}'" for metric in COUNTED if metric.labels[:1] == ("customer",))})
AND labels >= :from AND labels < :until
"""  # noqa: S608 - our own names
_SET = "INSERT OR REPLACE INTO metric VALUES (?, ?, ?, ?)"

log = structlog.get_logger("m8crm.metrics")
K = TypeVar("K")
Key = tuple[str, tuple[str, ...]]  # a metric's name, and its labels' values; a histogram's end with the bucket


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """A count or gauge of one customer; ``labels`` are those after the customer, ``at`` when it changed last."""

    name: str
    labels: tuple[str, ...]
    value: float
    at: float


class Counts:
    """The counts of one process; without a ``path`` nothing is counted."""

    def __init__(self, path: Path | None = None, *, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        # since the last batch; a lookup's customer, outcome, cache and bucket come with how many, and their seconds
        self._added: dict[Key, float] = {}
        self._set: dict[Key, float] = {}
        self._lookups: dict[tuple[str, str, str, int], list[float]] = {}
        self._points: dict[history.Point, float] = {}
        self._lock = threading.Lock()  # of these four, never held while the disk is waited for
        self._publishing = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_broken = False

    def looked_up(self, customer: str, outcome: str, cache: str, seconds: float) -> None:
        """Count a lookup; costs its caller a microsecond, and whoever writes the traces publishes it."""
        if self._path is None:
            return
        key = (customer, outcome, cache, bisect_left(LOOKUP_SECONDS.bounds, seconds))
        with self._lock:
            known = self._lookups.get(key)
            if known is None:
                self._lookups[key] = [1, seconds]
            else:
                known[0] += 1
                known[1] += seconds

    def add(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Count ``by`` more."""
        if self._path is None:
            return
        with self._lock:
            _add(self._added, (metric.name, labels), by)
            if metric.name in REMEMBERED:
                _add(self._points, (labels[0], metric.name, labels[-1], -1), by)
        self._publish_soon()

    def observe(self, metric: Metric, seconds: float, *labels: str) -> None:
        """Count a histogram's ``seconds``."""
        if self._path is None:
            return
        with self._lock:
            for key, more in _observed(metric, labels, bisect_left(metric.bounds, seconds), 1, seconds).items():
                _add(self._added, key, more)
        self._publish_soon()

    def set(self, metric: Metric, value: float, *labels: str) -> None:
        """Remember a gauge's value; the latest of all processes is shown."""
        if self._path is None:
            return
        with self._lock:
            self._set[metric.name, labels] = value
        self._publish_soon()

    def publish(self) -> None:
        """Add to the machine's database what has been counted; while it refuses, the counts wait here."""
        if self._path is None:
            return
        with self._publishing:
            with self._lock:
                added, gauges, lookups, points = self._added, self._set, self._lookups, self._points
                self._added, self._set, self._lookups, self._points = {}, {}, {}, {}
            for (customer, outcome, cache, bucket), (count, seconds) in lookups.items():
                _add(added, (LOOKUPS.name, (customer, outcome, cache)), count)
                _add(points, (customer, LOOKUPS.name, outcome, bucket), count)
                for key, more in _observed(LOOKUP_SECONDS, (cache,), bucket, count, seconds).items():
                    _add(added, key, more)
            if added or gauges:
                self._write(added, gauges, points)

    def read(self) -> dict[Key, float]:
        """Return what all processes of the machine have counted; other processes' last second may be missing.

        Raises ``sqlite3.Error``.
        """
        self.publish()
        if self._path is None:
            return {}
        with self._open() as database:
            rows = database.execute("SELECT name, labels, value FROM metric").fetchall()
        return {(name, tuple(json.loads(labels))): value for name, labels, value in rows}

    def read_customer(self, customer: str) -> list[Counted]:
        """Return what all processes of the machine have counted of one customer; raises ``sqlite3.Error``."""
        if self._path is None:
            return []
        self.publish()
        # labels are a list of JSON that begins with the customer where a metric has one
        begin = json.dumps([customer])[:-1]
        with self._open() as database:
            rows = database.execute(_OF_CUSTOMER, {"from": f"{begin}, ", "until": f"{begin},!"}).fetchall()
        return [
            Counted(name=name, labels=tuple(json.loads(ls)[1:]), value=value, at=at) for name, ls, value, at in rows
        ]

    def read_past(
        self, span: int, seconds: float, customer: str = history.TOTAL, *, step: int | None = None
    ) -> list[history.Sample]:
        """Return what the machine has counted lately, in spans of ``history.SPANS`` or longer steps.

        Raises ``sqlite3.Error``.
        """
        if self._path is None:
            return []
        self.publish()
        now = self._now()
        with self._open() as database:
            return history.read(database, span, step or span, now - seconds, now, customer)

    def _write(
        self, added: Mapping[Key, float], gauges: Mapping[Key, float], points: Mapping[history.Point, float]
    ) -> None:
        now = self._now()
        try:
            with self._open() as database:
                database.executemany(_ADD, [(name, json.dumps(ls), value, now) for (name, ls), value in added.items()])
                database.executemany(_SET, [(name, json.dumps(ls), value, now) for (name, ls), value in gauges.items()])
                database.execute("DELETE FROM metric WHERE at < ?", (now - KEPT_FOR.total_seconds(),))
                history.add(database, points.items(), now)
            self._is_broken = False
        except (sqlite3.Error, OSError) as error:
            if not self._is_broken:
                log.error("counts_not_kept", error=type(error).__name__)
            self._is_broken = True
            with self._lock:
                for key, more in added.items():
                    _add(self._added, key, more)
                for point, more in points.items():
                    _add(self._points, point, more)
                for key, value in gauges.items():
                    self._set.setdefault(key, value)
            self._publish_soon()  # though nothing else may be counted for long

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        assert self._path is not None
        return open_side_database(self._path, _TABLE + history.TABLE)

    def _publish_soon(self) -> None:
        if self._wake.is_set():
            return
        self._wake.set()
        with self._lock:
            if self._thread is not None:
                return
            thread = threading.Thread(target=self._publish_for_ever, name="counts", daemon=True)
            try:
                thread.start()  # late: threads do not survive a fork
            except RuntimeError:  # the machine has too many; what is counted next tries again
                self._wake.clear()
            else:
                self._thread = thread

    def _publish_for_ever(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(BATCH_EVERY)  # what comes meanwhile goes into the same transaction
            self._wake.clear()
            self.publish()


def _add(counts: dict[K, float], key: K, more: float) -> None:
    counts[key] = counts.get(key, 0) + more


def _observed(metric: Metric, labels: tuple[str, ...], bucket: int, count: float, seconds: float) -> dict[Key, float]:
    bound = str(metric.bounds[bucket]) if bucket < len(metric.bounds) else "+Inf"
    return {(metric.name, (*labels, bound)): count, (metric.name, (*labels, SUM)): seconds}


NOT_COUNTED = Counts()
