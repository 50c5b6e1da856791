"""The inbox's database: SQLite that has it on disk when it says so, or what a URL names."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import Connection, Engine, Table, create_engine, event, make_url
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from middleware.errors import StorageError
from middleware.inbox.tables import metadata

WAIT = 1.5  # seconds for a lock, then 503: the sender tries again
_READ = {"m8crm_read": True}


class Database:
    """Transactions on the inbox; anything that goes wrong is a :class:`StorageError`."""

    def __init__(self, url: str) -> None:
        try:
            self.engine = _sqlite(url) if make_url(url).get_backend_name() == "sqlite" else _server(url)
        except (SQLAlchemyError, OSError, sqlite3.Error) as error:
            raise StorageError(f"the database cannot be opened ({type(error).__name__})") from None
        self._write_lock = Lock()  # writers of one process queue here, fairly, and not in SQLite

    @property
    def dialect(self) -> str:
        """The name of SQLAlchemy's dialect, e.g. ``sqlite``."""
        return self.engine.dialect.name

    def insert(self, table: Table) -> Any:
        """Return the dialect's own INSERT, which knows what to do about a row that is there already."""
        return (postgresql if self.dialect == "postgresql" else sqlite).insert(table)

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that is durable when the block has ended."""
        if not self._write_lock.acquire(timeout=WAIT):
            raise StorageError("the database is locked")
        try:
            with _as_storage_error(), self.engine.begin() as connection:
                yield connection
        finally:
            self._write_lock.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with _as_storage_error(), self.engine.connect().execution_options(**_READ) as connection:
            yield connection

    def compact(self) -> None:
        """Leave nothing of what was removed on the disk; other databases than SQLite see to that themselves."""
        if self.dialect != "sqlite":
            return
        with _as_storage_error(), closing(self.engine.raw_connection()) as connection:
            # removed rows are overwritten (secure_delete), in the write-ahead log at first: it is emptied, too
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if is_busy:
                raise StorageError("the database is in use: what was removed may still be in its log; do it again")

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


@contextmanager
def _as_storage_error() -> Iterator[None]:
    try:
        yield
    except SQLAlchemyError as error:
        raise StorageError(f"the database failed ({type(error).__name__})") from None


def _server(url: str) -> Engine:
    engine = create_engine(url, pool_pre_ping=True)
    metadata.create_all(engine)
    return engine


def _sqlite(url: str) -> Engine:
    """Open SQLite with WAL, set once at creation: setting it per connection races between processes."""
    engine = create_engine(url, connect_args={"timeout": WAIT, "check_same_thread": False})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    path = Path(make_url(url).database or "")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        with closing(sqlite3.connect(path, timeout=WAIT)) as setup:
            setup.execute("PRAGMA journal_mode = WAL")
        metadata.create_all(engine)
    return engine


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin in _begin and nowhere else
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")


def _begin(connection: Connection) -> None:
    # a transaction that reads first and writes later would be refused without waiting
    is_read = connection.get_execution_options().get("m8crm_read")
    connection.exec_driver_sql("BEGIN" if is_read else "BEGIN IMMEDIATE")
