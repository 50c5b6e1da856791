"""``TraceLog``: the traces of the latest lookups, kept for people who ask why a caller was not recognised.

Written by a thread of its own, in batches, into a small database that all processes of the machine share: the
caller waits for nothing, a full disk costs traces and no answers, and under a flood of lookups the oldest
unwritten traces are dropped.  A number is kept only masked, a name or a text not at all.
"""

from __future__ import annotations

import atexit
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from middleware.errors import StorageError
from middleware.logs import masked
from middleware.lookup.card import Failed, Hit, Miss, Result
from middleware.lookup.trace import Trace, unpacked
from middleware.side_database import open_side_database

MAX_WAITING = 2_000  # traces that are not written yet
MAX_HITS = 25  # of which come from the cache alone, a second: writing more would delay the answers themselves
MAX_KEPT = 20_000  # traces
KEPT_FOR = timedelta(days=7)
BATCH_EVERY = 1.0  # seconds
BREATH = 0.0005  # seconds between some traces, or the lookups under way would wait for all of them
SOME = 10  # traces; to pause after each takes longer than to write it
_TABLE = """
CREATE TABLE IF NOT EXISTS trace (
    seq INTEGER PRIMARY KEY,
    id TEXT, customer TEXT, number TEXT, at REAL, outcome TEXT, reason TEXT, ms REAL, steps TEXT
);
CREATE INDEX IF NOT EXISTS trace_id ON trace (id);
CREATE INDEX IF NOT EXISTS trace_customer ON trace (customer, number);
CREATE INDEX IF NOT EXISTS trace_at ON trace (at);
"""
log = structlog.get_logger("m8crm.lookup")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptTrace:
    """One lookup as it went: ``number`` is masked, ``ms`` the whole time, ``steps`` what :meth:`Trace.document` has."""

    id: str
    customer: str
    number: str
    at: datetime
    outcome: str
    reason: str | None
    ms: float
    steps: dict[str, Any]

    def document(self) -> dict[str, Any]:
        """Return what people and the console are shown."""
        told = asdict(self)
        steps: dict[str, Any] = told.pop("steps")
        return told | steps


class TraceLog:
    """The traces of this machine in the database at ``path``; one per process.

    ``after_batch`` is called, at most once a second, after lookups: others write what they know of them then, too.
    """

    def __init__(
        self,
        path: Path,
        *,
        key: bytes,
        now: Callable[[], float] = time.time,
        after_batch: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self._key = key
        self._now = now
        self._after_batch = after_batch
        self._waiting: deque[tuple[float, Trace, float, str, str, Result]] = deque(maxlen=MAX_WAITING)
        self._rows: deque[tuple[Any, ...]] = deque(maxlen=MAX_WAITING)
        self._wake = threading.Event()
        self._writing = threading.Lock()
        self._thread: threading.Thread | None = None
        self._is_broken = False

    def add(self, trace: Trace, customer: str, number: str, result: Result, took: float) -> None:
        """Keep the trace of a lookup that has just ended, after ``took`` seconds.

        One that may still find something has until the next batch.  Costs the caller 20 µs: the thread that writes
        would need no more, but many at once, and hold up others.
        """
        if trace.cache == "fresh" and len(self._waiting) + len(self._rows) >= MAX_HITS:
            return
        one = (self._now(), trace, took, customer, number, result)
        if _has_all(trace, result):
            self._rows.append(self._row(*one))
        else:
            self._waiting.append(one)
        if self._thread is None:  # started late: threads do not survive a fork
            self._start()
        if not self._wake.is_set():
            self._wake.set()

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._write_for_ever, name="traces", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:  # the machine has too many; the next trace tries again
            self._thread = None
            if not self._is_broken:
                log.error("traces_not_kept", error=type(error).__name__)
            self._is_broken = True
        else:
            atexit.register(self.flush)

    def flush(self, breath: float = 0.0) -> None:
        """Write what waits, with a ``breath`` after some; a database that refuses costs the traces and is told once."""
        with self._writing:
            self._make_rows(breath)
            batch = [self._rows.popleft() for _ in range(len(self._rows))]
            if not batch:
                return
            try:
                with self._open() as database:
                    for i in range(0, len(batch), SOME):
                        insert = "INSERT INTO trace VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?)"
                        database.executemany(insert, batch[i : i + SOME])
                        time.sleep(breath)
                    kept_from = self._now() - KEPT_FOR.total_seconds()
                    too_old = "seq <= (SELECT max(seq) FROM trace) - ? OR at < ?"
                    database.execute(f"DELETE FROM trace WHERE {too_old}", (MAX_KEPT, kept_from))  # noqa: S608 - a constant
                self._is_broken = False
            except sqlite3.Error as error:
                if not self._is_broken:
                    log.error("traces_not_kept", error=type(error).__name__)
                self._is_broken = True

    def list(
        self, *, trace_id: str | None = None, customer: str | None = None, number: str | None = None, limit: int = 50
    ) -> list[KeptTrace]:
        """Return the latest traces that match, newest first; ``number`` is E.164."""
        wanted = {"id": trace_id, "customer": customer, "number": masked(number, self._key) if number else None}
        given = {name: value for name, value in wanted.items() if value is not None}
        where = " AND ".join(f"{name} = :{name}" for name in given) or "1"
        self.flush()
        columns = "id, customer, number, at, outcome, reason, ms, steps"
        query = f"SELECT {columns} FROM trace WHERE {where} ORDER BY at DESC, seq DESC LIMIT :limit"  # noqa: S608 - our own names
        try:
            with self._open() as database:
                rows = database.execute(query, {**given, "limit": limit}).fetchall()
        except sqlite3.Error as error:
            raise StorageError(f"{self._path} cannot be read ({error})") from None
        return [_kept(dict(zip(columns.split(", "), row, strict=True))) for row in rows]

    def forget(self, customer: str, number: str) -> int:
        """Remove every trace of the customer's lookups of ``number`` (E.164), and return how many there were."""
        self.flush()
        try:
            with self._open() as database:
                gone = "DELETE FROM trace WHERE customer = ? AND number = ?"
                return database.execute(gone, (customer, masked(number, self._key))).rowcount
        except sqlite3.Error as error:
            raise StorageError(f"{self._path} cannot be written ({error})") from None

    def _make_rows(self, breath: float) -> None:
        for i in range(len(self._waiting)):  # those that come meanwhile are for the next time: this one has an end
            self._rows.append(self._row(*self._waiting.popleft()))
            if breath and i % SOME == SOME - 1:
                time.sleep(breath)

    def _row(self, at: float, trace: Trace, took: float, customer: str, number: str, result: Result) -> tuple[Any, ...]:
        number = masked(number, self._key) if number else ""
        ms = round(took * 1000, 1)
        return trace.id, customer, number, at, outcome_of(result), reason_of(result), ms, trace.packed(took)

    def _open(self) -> AbstractContextManager[sqlite3.Connection]:
        return open_side_database(self._path, "PRAGMA secure_delete = ON;" + _TABLE)

    def _write_for_ever(self) -> None:
        while True:
            self._wake.wait()
            time.sleep(BATCH_EVERY)  # what comes meanwhile goes into the same transaction
            self._wake.clear()
            self.flush(BREATH)
            self._after_batch()


def _has_all(trace: Trace, result: Result) -> bool:
    """Whether nothing goes on that would be a step of the trace."""
    is_whole = isinstance(result, Miss) or (isinstance(result, Hit) and not (result.is_partial or result.is_stale))
    return is_whole and trace.cache != "revalidate" and all(span.took is not None for span in tuple(trace.spans))


def _kept(row: dict[str, Any]) -> KeptTrace:
    row |= {"at": datetime.fromtimestamp(row["at"], UTC), "steps": unpacked(row["steps"])}
    return KeptTrace(**row)


def outcome_of(result: Result) -> str:
    """Return the outcome as logs and people have it."""
    if isinstance(result, Hit):
        return "stale hit" if result.is_stale else "partial hit" if result.is_partial else "hit"
    return {"timedout": "timed out"}.get(name := type(result).__name__.lower(), name)


def reason_of(result: Result) -> str | None:
    """Return why there is no contact, where that is known."""
    if isinstance(result, Failed):
        return f"The CRM failed: {result.words}."
    return result.reason if isinstance(result, Miss) else None
