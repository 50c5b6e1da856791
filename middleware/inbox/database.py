"""The inbox's database: SQLite that has it on disk when it says so, or what a URL names."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from sqlalchemy import URL, ColumnElement, Connection, Engine, Table, create_engine, event, literal, make_url
from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import SQLAlchemyError

from middleware.errors import ConfigError, StorageError
from middleware.inbox import schema

WAIT = 1.5  # seconds for a lock, then 503: the sender tries again
START_WAIT = (
    30.0  # at a start: after a crash SQLite recovers its log first, and a master that gives up ends the service
)
_READ = {"m8crm_read": True}


class Database(ABC):
    """Transactions on the inbox; anything that goes wrong is a :class:`StorageError`."""

    engine: Engine
    insert: Callable[[Table], Any]  # the dialect's own INSERT, which knows what to do about a row that is there already

    @property
    def dialect(self) -> str:
        """The name of SQLAlchemy's dialect, e.g. ``sqlite``."""
        return self.engine.dialect.name

    @abstractmethod
    def write(self, *tenant_ids: str, is_long: bool = False) -> AbstractContextManager[Connection]:
        """Open a transaction that is durable when the block has ended.

        No other one that names one of ``tenant_ids`` runs meanwhile: whoever reads a customer's calls and then
        changes them names him.  One that looks through all that there is says that it ``is_long``.
        """

    @abstractmethod
    def read(self, *, is_long: bool = False) -> AbstractContextManager[Connection]:
        """Open a transaction that only reads."""

    def lease_clock(self, now: float | ColumnElement[float]) -> ColumnElement[float]:
        """Return the moment (Unix seconds) that leases go by: ``now``, or the server's own where it has several users.

        Machines' clocks differ; whose is ahead would take what another one still holds.
        """
        return now if isinstance(now, ColumnElement) else literal(now)

    @abstractmethod
    def migrate(self) -> None:
        """Bring the tables up to date; raises for a database of a newer program."""

    def start(self) -> None:
        """Do :meth:`migrate`, if not now then before the first transaction; who fails is closed."""
        try:
            self.migrate()
        except BaseException:
            self.close()
            raise

    @abstractmethod
    def compact(self) -> None:
        """Leave nothing of what was removed on the disk, as far as that is ours to do."""

    def state(self) -> schema.State:
        """Return how far the tables are; nothing is changed."""
        with self.read() as connection:
            return schema.state_of(connection)

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def open_database(url: str, *, migrates: bool = True) -> Database:
    """Return the database, with the tables as this program wants them unless ``migrates`` is false.

    Raises ``StorageError`` for one that cannot be used, ``ConfigError`` for a URL that names none.
    """
    try:
        backend = make_url(url).get_backend_name()
        if backend == "sqlite":
            database: Database = SQLite(url)
        elif backend == "postgresql":
            from middleware.inbox.postgresql import PostgreSQL  # noqa: PLC0415 - an extra

            database = PostgreSQL(url)
        else:
            raise ConfigError(
                "M8CRM_DATABASE_URL", [f"{backend} is neither sqlite:////FILE nor postgresql://USER@HOST/NAME"]
            )
        if migrates:
            database.start()
    except ImportError:
        raise ConfigError("M8CRM_DATABASE_URL", ["needs the extra: pip install 'm8crm[postgresql]'"]) from None
    except (SQLAlchemyError, OSError, sqlite3.Error) as error:
        raise StorageError(f"the database cannot be opened ({type(error).__name__})") from None
    return database


@contextmanager
def as_storage_error() -> Iterator[None]:
    """Turn what SQLAlchemy raises into a :class:`StorageError` without the statement's values."""
    try:
        yield
    except SQLAlchemyError as error:
        raise StorageError(f"the database failed ({name_of(error)})") from None


def name_of(error: SQLAlchemyError) -> str:
    """Return what a log may have of a failure: the class, the driver's own where there is one."""
    return type(getattr(error, "orig", None) or error).__name__


class SQLite(Database):
    """A file with a write-ahead log, set once at creation: setting it per connection races between processes."""

    insert = staticmethod(sqlite.insert)

    def __init__(self, url: str) -> None:
        self.engine = _engine(make_url(url), WAIT)
        self._write_lock = Lock()  # writers of one process queue here, fairly, and not in SQLite
        self._path = Path(make_url(url).database or "")
        self._opened = self._file()

    @contextmanager
    def write(self, *_tenant_ids: str, is_long: bool = False) -> Iterator[Connection]:
        """Open a transaction that is durable when the block has ended; it is the only one that writes."""
        if not self._write_lock.acquire(timeout=WAIT):
            raise StorageError("the database is locked")
        try:
            self._opened = self._opened or self._file()  # which whoever migrates makes
            if self._file() != self._opened:  # what is open has no name any more: it ends with the process
                raise StorageError("the database's file was removed or replaced: put it back, or restart")
            with as_storage_error(), self.engine.begin() as connection:
                yield connection
        finally:
            self._write_lock.release()

    def _file(self) -> int | None:
        try:
            return self._path.stat().st_ino
        except OSError:
            return None

    @contextmanager
    def read(self, *, is_long: bool = False) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with as_storage_error(), self.engine.connect().execution_options(**_READ) as connection:
            yield connection

    def migrate(self) -> None:
        """Make the file, and bring the tables up to date; of several processes one at a time."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(self._path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._opened = self._file()
            with closing(sqlite3.connect(self._path, timeout=START_WAIT)) as setup:
                setup.execute("PRAGMA journal_mode = WAL")
                setup.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not self.state().is_current:
                self._upgrade()

    def _upgrade(self) -> None:
        patient = _engine(self.engine.url, START_WAIT)
        try:
            with as_storage_error(), patient.begin() as connection:
                schema.upgrade(connection)
        finally:
            patient.dispose()

    def state(self) -> schema.State:
        """Return how far the tables are; a file that is not there is not made."""
        return super().state() if self._path.exists() else schema.State(revision=None)

    def compact(self) -> None:
        """Leave nothing of what was removed on the disk."""
        with as_storage_error(), closing(self.engine.raw_connection()) as connection:
            # removed rows are overwritten (secure_delete), in the write-ahead log at first: it is emptied, too
            is_busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
            if is_busy:
                raise StorageError("the database is in use: what was removed may still be in its log; do it again")


def _engine(url: URL, wait: float) -> Engine:
    engine = create_engine(url, connect_args={"timeout": wait, "check_same_thread": False})
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions begin in _begin and nowhere else
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA secure_delete = ON")


def _begin(connection: Connection) -> None:
    # a transaction that reads first and writes later would be refused without waiting
    is_read = connection.get_execution_options().get("m8crm_read")
    connection.exec_driver_sql("BEGIN" if is_read else "BEGIN IMMEDIATE")
