"""A small database that processes share: nobody's first write is refused because others make the file, too."""

from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from middleware.side_database import open_side_database

TABLES = "CREATE TABLE IF NOT EXISTS one (value INTEGER);"
WRITERS = 8


def test_all_may_make_the_file_at_once(tmp_path: Path) -> None:
    """Each of several that open a new database at the same moment writes what it has."""
    together = threading.Barrier(WRITERS)

    def write(path: Path) -> None:
        together.wait()
        with open_side_database(path, TABLES) as database:
            database.execute("INSERT INTO one VALUES (1)")

    with ThreadPoolExecutor(WRITERS) as pool:
        for number in range(40):  # SQLite refuses one in every few
            path = tmp_path / f"{number}.db"
            list(pool.map(write, [path] * WRITERS))
            with open_side_database(path, TABLES) as database:
                assert database.execute("SELECT sum(value) FROM one").fetchone() == (WRITERS,)


def test_a_lock_that_stays_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever holds the database for longer than is waited costs an error, and not for ever."""
    monkeypatch.setattr("middleware.side_database.WAIT", 0.0)
    path = tmp_path / "one.db"
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(sqlite3.OperationalError, match="locked"), open_side_database(path, TABLES):
            pass
