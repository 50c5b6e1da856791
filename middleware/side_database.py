"""``open_side_database``: a small database that the processes of one machine share, for what may be lost."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

WAIT = 1.0  # seconds for another process' lock, each time
AGAIN = 0.005  # seconds


@contextmanager
def open_side_database(path: Path, tables: str) -> Iterator[sqlite3.Connection]:
    """Open a transaction in the database at ``path``, made with its ``tables`` (SQL) where it is not there yet.

    Nothing waits for the disk: what was written last is lost with the machine, though not with the process.
    Raises ``sqlite3.Error``.
    """
    with closing(sqlite3.connect(path, timeout=WAIT)) as database:
        _use_wal(database)
        database.executescript(f"PRAGMA synchronous = OFF; {tables}")
        with database:
            yield database


def _use_wal(database: sqlite3.Connection) -> None:
    # where several processes make the file at once, SQLite refuses all but one of them without the wait asked for
    until = time.monotonic() + WAIT
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if (
                error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until
            ):  # an extended code has it
                raise
            time.sleep(AGAIN)
        else:
            return
