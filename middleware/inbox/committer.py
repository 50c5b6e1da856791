"""``Committer``: one thread stores events, all that wait at a moment in one transaction and one ``fsync``.

Hand-written: one transaction per event costs each sender an ``fsync``, and writers that queue in SQLite wait long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from operator import itemgetter
from queue import Empty, SimpleQueue
from typing import Any

from sqlalchemy import Connection, select

from middleware.errors import StorageError
from middleware.failpoints import reach
from middleware.inbox.database import Database
from middleware.inbox.tables import event

BATCH = 256  # events in one transaction
COLUMNS = ("id", "tenant", "sender", "key", "digest", "content_type", "raw", "received_at", "state", "reason")

Row = dict[str, Any]  # of the columns above
Done = Callable[[str | StorageError], None]  # with the id under which the event is kept: another one's for a repeat


class Committer:
    """Stores events; one per process, its thread starts with the first."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: SimpleQueue[tuple[Row, Done]] = SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        insert = database.insert(event)
        compiled = (
            insert.values(dict.fromkeys(COLUMNS)).on_conflict_do_nothing().compile(dialect=database.engine.dialect)
        )
        # compiled once: SQLAlchemy's way through a statement takes longer than the database's
        self._insert, self._order = str(compiled), compiled.positiontup

    def store(self, row: Row, done: Done) -> None:
        """Have the event stored, and ``done`` called on the committer's thread once it is on disk, or is not.

        Raises ``StorageError`` when the machine has no thread left.
        """
        if self._thread is None:  # late: threads do not survive a fork
            self._start()
        self._waiting.put((row, done))

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="committer", daemon=True)
                try:
                    thread.start()
                except RuntimeError:
                    raise StorageError("no thread can be started") from None
                self._thread = thread

    def _run(self) -> None:
        while True:
            batch = [self._waiting.get()]
            try:
                while len(batch) < BATCH:
                    batch.append(self._waiting.get_nowait())
            except Empty:
                pass
            for done, result in self._commit(batch):
                done(result)

    def _commit(self, batch: list[tuple[Row, Done]]) -> list[tuple[Done, str | StorageError]]:
        try:
            with self._database.write() as connection:
                reach("before-insert")
                kept = self._put(connection, [row for row, _ in batch])
                reach("before-commit")
            reach("after-commit")
        except StorageError as error:
            return [(done, error) for _, done in batch]
        except Exception as error:  # the thread must live, and everybody must be told
            return [(done, StorageError(f"the event cannot be stored ({type(error).__name__})")) for _, done in batch]
        return [(done, kept[row["digest"]]) for row, done in batch]

    def _put(self, connection: Connection, rows: list[Row]) -> dict[str, str]:
        """Return the id of each digest."""
        # in one order: processes that store the same ones must not wait for each other in turn
        rows = sorted(rows, key=itemgetter("digest"))
        kept: dict[str, str] = {row["digest"]: row["id"] for row in rows}
        order = self._order
        params: Any = [tuple(row[name] for name in order) for row in rows] if order else rows
        if connection.exec_driver_sql(self._insert, params).rowcount < len(rows):
            known = connection.execute(select(event.c.digest, event.c.id).where(event.c.digest.in_(kept)))
            kept |= {row.digest: row.id for row in known}
        return kept
