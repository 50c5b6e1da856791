"""``PostgreSQL``: the inbox on a server that several machines share, and that may be down or silent.

A server that cannot be reached is left alone for a second at a time: whoever asks meanwhile hears so at once.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import psycopg
import structlog
from sqlalchemy import ColumnElement, Connection, Double, NullPool, cast, create_engine, event, func, make_url, select
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DBAPIError

from middleware.errors import StorageError
from middleware.inbox import schema
from middleware.inbox.database import WAIT, Database, as_storage_error, name_of
from middleware.model.deadline import Clock

CONNECTIONS = 10  # per process
CONNECT = 2  # seconds; libpq takes no less
STATEMENT = 2.5  # seconds, then the server gives it up
ANSWER = 3.0  # seconds, then we give the server up: a hung one never does it itself
LONG = 60.0  # seconds for both, where somebody looks through all that there is
IDLE = 10.0  # seconds within a transaction, then the server ends it: its machine is gone, and others wait for its locks
PAUSE = 1.0  # seconds for which a server that failed is left alone
MIGRATION_LOCK = 0x6D386372  # "m8cr"

log = structlog.get_logger("m8crm.inbox")


class PostgreSQL(Database):
    """PostgreSQL 15 or later; several writers at once, on any number of machines."""

    insert = staticmethod(postgresql.insert)

    def __init__(self, url: str, *, clock: Clock = time.monotonic) -> None:
        self._url = make_url(url).set(drivername="postgresql+psycopg")
        self.engine = create_engine(
            self._url,
            pool_size=CONNECTIONS,
            max_overflow=0,
            pool_timeout=WAIT,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",  # what the locks below are made for
            connect_args={"connect_timeout": CONNECT, "options": _options()},
        )
        event.listen(self.engine, "do_connect", _connect)
        self._outage = Outage(clock)
        self._is_migrated = True  # as far as anybody has asked
        self._migrating = Lock()
        self._is_closed = False

    @contextmanager
    def write(self, *tenant_ids: str, is_long: bool = False) -> Iterator[Connection]:
        """Open a transaction that is durable when the block has ended, alone with the customers it names."""
        with self._watched(), self.engine.begin() as connection, _patience(connection, is_long):
            for tenant_id in sorted(set(tenant_ids)):
                lock = func.pg_advisory_xact_lock(func.hashtextextended(f"m8crm {tenant_id}", 0))
                connection.execute(select(lock))
            yield connection

    @contextmanager
    def read(self, *, is_long: bool = False) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._watched(), self.engine.connect() as connection, _patience(connection, is_long):
            yield connection

    def lease_clock(self, now: float | ColumnElement[float]) -> ColumnElement[float]:
        """Return the server's moment."""
        return cast(func.extract("epoch", func.clock_timestamp()), Double)

    def migrate(self) -> None:
        """Bring the tables up to date; of all processes of all machines one at a time, however long it takes."""
        with self._outage.watch(), self.engine.connect() as connection:
            is_current = schema.state_of(connection).is_current
        if not is_current:
            patient = create_engine(self._url, poolclass=NullPool, connect_args={"connect_timeout": CONNECT})
            with as_storage_error(), patient.begin() as connection:
                connection.execute(select(func.pg_advisory_xact_lock(MIGRATION_LOCK)))
                schema.upgrade(connection)
        self._is_migrated = True

    def start(self) -> None:
        """Do :meth:`migrate`, if not now then before the first transaction: lookups are answered without a server."""
        self._is_migrated = False
        try:
            self.migrate()
        except StorageError:
            if not self._outage.is_on:
                self.close()
                raise

    def compact(self) -> None:
        """Do nothing: the server sees to its files itself."""

    def state(self) -> schema.State:
        """Return how far the tables are; nothing is changed."""
        with self._outage.watch(), self.engine.connect() as connection:
            return schema.state_of(connection)

    def close(self) -> None:
        """Close the connections, those that are in use when they are given back, and open none any more."""
        self._is_closed = True
        event.listen(self.engine.pool, "checkin", lambda _connection, record: record.invalidate())
        self.engine.dispose()

    @contextmanager
    def _watched(self) -> Iterator[None]:
        if self._is_closed:
            raise StorageError("the database is closed")
        if not self._is_migrated:  # the server was down when this process started
            with self._migrating:
                if not self._is_migrated:
                    self.migrate()
        with self._outage.watch():
            yield


class Outage:
    """Whether the server has just failed to answer; one call in a second tries, the others are spared the wait."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._until = -math.inf
        self.is_on = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Run the block unless the server is left alone, and note how it answers; raises ``StorageError``."""
        self._enter()
        with as_storage_error():
            try:
                yield
            except DBAPIError as error:
                # an error without a statement is one of connecting; any other is an answer
                is_lost = error.connection_invalidated or error.statement is None
                self._failed(error) if is_lost else self._worked()
                raise
            except BaseException:  # says nothing of the server: another call may try
                self._until = -math.inf
                raise
        self._worked()

    def _enter(self) -> None:
        with self._lock:
            if self.is_on:
                if self._clock() < self._until:
                    raise StorageError("the database does not answer")
                self._until = self._clock() + CONNECT + ANSWER  # this call tries

    def _failed(self, error: DBAPIError) -> None:
        with self._lock:
            is_news, self.is_on, self._until = not self.is_on, True, self._clock() + PAUSE
        if is_news:
            # what libpq says of connecting names host and user, e.g. that his password is wrong
            words = str(error.orig).partition("\n")[0] if error.statement is None else None
            log.error("database_is_down", error=name_of(error), words=words)

    def _worked(self) -> None:
        if self.is_on:
            with self._lock:
                is_news, self.is_on = self.is_on, False
            if is_news:
                log.info("database_is_back")


class _Connection(psycopg.Connection[Any]):
    """A connection that is given up when the server is silent: neither libpq nor the kernel notices a hung one."""

    is_patient = False

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(gen, interval, (LONG if self.is_patient else ANSWER) if timeout is None else timeout)
        except psycopg.errors._WaitTimeout:
            self.close()  # else the rollback would wait as long
            raise


def _connect(_dialect: object, _record: object, arguments: Any, options: dict[str, Any]) -> _Connection:
    connection = _Connection.connect(*arguments, **options)
    try:
        if _is_hasty(connection):  # it would tell us that a call is stored before it is on a disk
            connection.execute("SET synchronous_commit = on")
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _is_hasty(connection: _Connection) -> bool:
    return connection.execute("SELECT current_setting('synchronous_commit')").fetchone() == ("off",)


@contextmanager
def _patience(connection: Connection, is_long: bool) -> Iterator[None]:
    """Wait longer for every statement of the transaction, if it ``is_long``."""
    if not is_long:
        yield
        return
    driver: Any = connection.connection.driver_connection
    connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(LONG * 1000)}")
    driver.is_patient = True
    try:
        yield
    finally:
        driver.is_patient = False


def _options() -> str:
    limits = {
        "statement_timeout": STATEMENT,
        "lock_timeout": WAIT,
        "idle_in_transaction_session_timeout": IDLE,
    }
    return " ".join(f"-c {name}={int(seconds * 1000)}" for name, seconds in limits.items())
