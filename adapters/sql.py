"""``sql``: any database that SQLAlchemy reaches; the queries stand in the customer's file.

A query names its parameters (``:e164``) and its columns bear the names of the fields they fill; README.rst
lists both.  Nothing is ever pasted into a query.
"""

from __future__ import annotations

import math
import re
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, QueuePool, TextClause, create_engine, event, exc, text
from sqlalchemy.pool import ConnectionPoolEntry

from middleware.crm.base import Context, Finding
from middleware.crm.declared import ActivityT, DeclaredAdapter
from middleware.crm.mapping import REQUIRED_OF_CONTACT, Reader, is_column, required_columns
from middleware.crm.parameters import CALL, KINDS, NUMBER, call_parameters, number_parameters
from middleware.crm.settings import Secret
from middleware.errors import (
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
)
from middleware.model.call import CallRecord, LoggedCall, RecordingFile
from middleware.model.contact import Contact, ContactDraft, ContactNumber, Link
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber

RECORDING = CALL | {"external_id", "recording_key"}
PARAMETERS: dict[str, frozenset[str]] = {
    "find_contacts": NUMBER,
    "find_contact_by_id": frozenset({"id"}),
    **dict.fromkeys(KINDS, frozenset({"contact_id"})),
    "create_contact": NUMBER | {"display_name", "owner"},
    "log_call": CALL,
    "find_logged_call": CALL,
    "update_call": CALL | {"external_id"},
    "attach_recording": RECORDING | {"name", "content_type", "size", "data"},
    "has_recording": RECORDING,
    "create_task": CALL | {"task_key", "text"},
    "iter_contacts": frozenset({"since", "limit", "offset"}),
}
MAX_ROWS = 200
PAGE, OVERLAP = 2000, 100  # rows of iter_contacts: what is deleted meanwhile moves the others to an earlier page
BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
MAX_RECORDING = 32 * 1024 * 1024  # bytes: drivers want a value as a whole
SQLITE_REFUSES = r"no such |near |incomplete input|wrong number of"  # it calls a wrong query operational
POOL_SECONDS = 2.0  # to wait for a free connection
QUOTED = re.compile(r"'(?:[^']|'')*'")
UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what no database takes
# how each database is told not to work longer than anybody waits
LIMITS = {
    "sqlite": "PRAGMA busy_timeout = {ms}",
    "postgresql": "SET LOCAL statement_timeout = {ms}",
    "mysql": "SET SESSION max_execution_time = {ms}",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLSettings:
    """The ``[[crm]]`` table of a customer whose CRM is a database.

    ``url`` is SQLAlchemy's; ``queries`` are SQL texts by the name of what they find or write; ``create_links``
    are URLs by the name of their button, with ``{id}`` for the contact's id; ``timezone`` is that of the times
    which the database keeps without one.
    """

    url: Secret
    queries: dict[str, str]
    create_links: dict[str, str] = field(default_factory=dict)
    timezone: str = "UTC"


class SQLAdapter(DeclaredAdapter[SQLSettings]):
    """Contacts, activities and calls in a database."""

    name = "sql"
    label = "SQL database"
    settings_type = SQLSettings

    def __init__(self, settings: SQLSettings) -> None:
        super().__init__(settings)
        self._queries = {name: _compile(name, query) for name, query in settings.queries.items()}
        if "find_contacts" not in self._queries:
            raise ValueError("queries.find_contacts: is missing; it finds contacts by number")
        try:
            self._zone = ZoneInfo(settings.timezone)
        except (ValueError, LookupError, OSError):
            raise ValueError("timezone: is unknown; write it as in the tz database, e.g. Europe/Stockholm") from None
        self._engine = _engine(settings.url)
        # a replaced configuration lets its adapter go: the connections end with it
        weakref.finalize(self, self._engine.dispose)

    def can(self, method: str) -> bool:
        """Whether there is a query for ``method``."""
        return method in self._queries or method == "check" or (method == "create_links" and bool(self._links))

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Run ``find_contacts`` with every spelling of the number."""
        rows = self._run("find_contacts", number_parameters(number), ctx).rows
        return self._reader("find_contacts").contacts(rows)

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Run ``find_contact_by_id``."""
        rows = self._run("find_contact_by_id", {"id": numeric_id}, ctx).rows
        return next(iter(self._reader("find_contact_by_id").contacts(rows)), None)

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Return the configured buttons for the contact."""
        quoted = quote(contact.id, safe="")
        return [Link(name=name, url=url.replace("{id}", quoted)) for name, url in self._links.items()]

    def create_contact(self, draft: ContactDraft, ctx: Context) -> Contact:
        """Run ``create_contact``, which returns the new ``id`` (``RETURNING id``)."""
        parameters = {**number_parameters(draft.number), "display_name": draft.display_name, "owner": draft.owner}
        created = _logged(self._run("create_contact", parameters, ctx), "create_contact")
        if created is None:
            raise CRMResponseError("queries.create_contact: returns no row; end it with RETURNING id")
        number = ContactNumber(number=str(draft.number))
        return Contact(id=created.external_id, display_name=draft.display_name, numbers=(number,))

    def iter_contacts(self, since: datetime | None, ctx: Context) -> Iterator[Contact]:
        """Run ``iter_contacts`` page by page; a contact of several rows may be cut off at both ends of a page."""
        reader, offset, is_last = self._reader("iter_contacts"), int(ctx.bookmark.place or 0), False
        while not is_last:
            parameters = {"since": (since or BEGINNING).astimezone(UTC).isoformat(), "limit": PAGE, "offset": offset}
            rows = self._run("iter_contacts", parameters, ctx, most=PAGE).rows
            is_last = len(rows) < PAGE
            yield from reader.contacts(rows)[1 if offset else 0 : None if is_last else -1]
            offset += PAGE - OVERLAP
            ctx.bookmark.place = str(offset)

    def create_task(self, contact: Contact, text: str, call: CallRecord, ctx: Context) -> None:
        """Run ``create_task``; a unique ``:task_key`` in the database makes a second one harmless."""
        self._run("create_task", {**call_parameters(call, contact), "task_key": call.task_key(text), "text": text}, ctx)

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Run ``log_call``; a unique key in the database makes a second one harmless."""
        try:
            written = self._run("log_call", call_parameters(call, contact), ctx)
        except CRMRejectedError:
            logged = self.find_logged_call(call, ctx) if self.can("find_logged_call") else None
            if logged is None:
                raise
            return logged
        found = self.find_logged_call(call, ctx) if self.can("find_logged_call") else None
        return found or _logged(written) or LoggedCall(external_id=call.key)

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Run ``find_logged_call``; its columns are ``id`` and, if there is one, ``url``."""
        return _logged(self._run("find_logged_call", call_parameters(call, None), ctx))

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Run ``update_call``."""
        self._run("update_call", {**call_parameters(call, None), "external_id": logged.external_id}, ctx)

    def attach_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> None:
        """Run ``attach_recording``; a unique ``:recording_key`` in the database makes a second one harmless."""
        if recording.size > MAX_RECORDING:
            raise CRMRejectedError(f"a recording of more than {MAX_RECORDING} bytes does not go into a database")
        parameters = _recording(logged, recording, call)
        parameters |= {"name": recording.name, "content_type": recording.content_type, "size": recording.size}
        self._run("attach_recording", {**parameters, "data": recording.file.read()}, ctx)

    def has_recording(self, logged: LoggedCall, recording: RecordingFile, call: CallRecord, ctx: Context) -> bool:
        """Run ``has_recording``, which returns a row if there is one."""
        return bool(self._run("has_recording", _recording(logged, recording, call), ctx).rows)

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Run every query that finds something, with a number and an id that nobody has; nothing is written."""
        for name in self._queries:
            if name.startswith(("find_", "iter_")):
                yield self._check(name, ctx)

    def _check(self, query: str, ctx: Context) -> Finding:
        nobody: dict[str, object] = dict.fromkeys(PARAMETERS[query], "0")
        if query == "iter_contacts":
            nobody = {"since": BEGINNING.isoformat(), "limit": 1, "offset": 0}
        try:
            columns = self._run(query, nobody, ctx).columns
        except CRMError as error:
            return Finding(ok=False, message=f"queries.{query}: {error.vendor_text or error}")
        problem = _column_problem(query, columns)
        return Finding(ok=problem is None, message=f"queries.{query}: {problem or 'runs'}")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @property
    def _links(self) -> dict[str, str]:
        return self.settings.create_links

    def _activities(self, kind: type[ActivityT], method: str, contact: Contact, ctx: Context) -> list[ActivityT]:
        rows = self._run(method, {"contact_id": contact.id}, ctx).rows
        reader = self._reader(method)
        return [reader.activity(kind, row) for row in rows]

    def _reader(self, query: str) -> Reader:
        return Reader(where=f"queries.{query}", zone=self._zone)

    def _run(self, query: str, parameters: Mapping[str, object], ctx: Context, most: int = MAX_ROWS) -> _Result:
        """Run one query in a transaction of its own; every failure is a ``CRMError`` without its parameters."""
        clause = self._queries[query]
        wanted = {name: _storable(parameters[name]) for name in clause.compile().params}
        with ctx.guard():
            try:
                with self._engine.begin() as connection, _bounded(connection, ctx.deadline):
                    result = connection.execute(clause, wanted)
                    if not result.returns_rows:
                        return _Result()
                    rows = [row._asdict() for row in result.fetchmany(most)]
                    return _Result(columns=tuple(result.keys()), rows=rows)
            except exc.SQLAlchemyError as error:
                raise _error(error, query, ctx.deadline) from None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Result:
    """What a query answered: the names of its columns and its first rows."""

    columns: tuple[str, ...] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)


def _engine(url: Secret) -> Engine:
    """Return the pool of connections; messages never hold the URL, which holds a password."""
    try:
        engine = create_engine(
            url.reveal(),
            poolclass=QueuePool,
            pool_size=8,
            max_overflow=64,  # a lookup runs its queries side by side
            pool_timeout=POOL_SECONDS,
            pool_pre_ping=True,
        )
        return _watch_file(engine)
    except ModuleNotFoundError as error:
        raise ValueError(f"url: SQLAlchemy cannot use it without its driver; pip install {error.name}") from None
    except (exc.ArgumentError, TypeError, ValueError):
        raise ValueError("url: SQLAlchemy cannot use it; write e.g. sqlite:////var/lib/crm.db") from None


def _watch_file(engine: Engine) -> Engine:
    """Have a SQLite file that was replaced by another opened anew, and one that is gone never made again, empty."""
    name = engine.url.database
    if engine.dialect.name != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return engine
    path = Path(name)

    def identity() -> tuple[int, int]:
        try:
            found = path.stat()
        except OSError:
            raise CRMUnavailableError("the database's file is not there") from None
        return found.st_dev, found.st_ino

    @event.listens_for(engine, "do_connect")
    def _before(_dialect: object, record: ConnectionPoolEntry, _args: object, _kwargs: object) -> None:
        record.info["file"] = identity()

    @event.listens_for(engine, "checkout")
    def _checked_out(_connection: object, record: ConnectionPoolEntry, _proxy: object) -> None:
        if record.info.get("file") != identity():
            raise exc.DisconnectionError("another file has taken its place")

    return engine


def _compile(name: str, query: str) -> TextClause:
    if name not in PARAMETERS:
        raise ValueError(f"queries.{name}: is unknown; known: {', '.join(PARAMETERS)}")
    if re.search(r"%s|%\(|[?{}]", QUOTED.sub("", query)):
        raise ValueError(f"queries.{name}: use named parameters such as :{min(PARAMETERS[name])}, not ?, %s or {{}}")
    quoted = re.search(rf"[:{{]({'|'.join(PARAMETERS[name])})\b", " ".join(QUOTED.findall(query)))
    if quoted:
        raise ValueError(f"queries.{name}: {quoted[0]} in quotes is no parameter; join: '%' || :{quoted[1]} || '%'")
    clause = text(query)
    unknown = set(clause.compile().params) - PARAMETERS[name]
    if unknown:
        known = ", ".join(f":{parameter}" for parameter in sorted(PARAMETERS[name]))
        raise ValueError(f"queries.{name}: unknown parameter :{min(unknown)}; known: {known}")
    if name == "iter_contacts" and not {"limit", "offset"} <= clause.compile().params.keys():
        raise ValueError(f"queries.{name}: end it with ORDER BY id LIMIT :limit OFFSET :offset")
    return clause


@contextmanager
def _bounded(connection: Connection, deadline: Deadline) -> Iterator[None]:
    """Keep the database from waiting or working longer than anybody waits for us, as far as it can be told."""
    limit = LIMITS.get(connection.dialect.name)
    if limit:
        connection.exec_driver_sql(limit.format(ms=max(1, math.ceil(deadline.remaining * 1000))))
    if connection.dialect.name != "sqlite":
        yield
        return
    database: Any = connection.connection.driver_connection
    database.set_progress_handler(lambda: deadline.is_over, 10_000)
    try:
        yield
    finally:
        database.set_progress_handler(None, 0)


def _error(error: exc.SQLAlchemyError, query: str, deadline: Deadline) -> CRMError:
    """Return what to do about a failure; SQLAlchemy's own message holds the query, its parameters and rows."""
    if isinstance(error, exc.TimeoutError):
        return CRMUnavailableError("the database has no connection free")
    if not isinstance(error, exc.DBAPIError):
        return CRMResponseError(f"queries.{query}: {type(error).__name__}")
    reason = _reason(error)
    if "decode" in reason:  # the driver's text holds the value
        return CRMResponseError(f"queries.{query}: a text is not in the database's encoding")
    if deadline.is_over:
        return CRMTimeoutError(f"queries.{query}: the database did not answer in time")
    refusals = (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError)
    if isinstance(error, refusals) or re.match(SQLITE_REFUSES, reason):
        return CRMRejectedError(f"the database refuses queries.{query}", vendor_text=reason)
    return CRMUnavailableError("the database cannot be reached or is busy", vendor_text=reason)


def _reason(error: exc.DBAPIError) -> str:
    lines = str(error.orig).splitlines()  # the first is the reason; others quote rows
    return lines[0][:300] if lines else type(error.orig).__name__


def _logged(result: _Result, query: str = "find_logged_call") -> LoggedCall | None:
    """Return what was written, from a row with ``id`` and perhaps ``url``."""
    if not result.rows:
        return None
    row = result.rows[0]
    if row.get("id") is None:
        raise CRMResponseError(f"queries.{query}: the column id is missing or empty")
    return LoggedCall(external_id=str(row["id"]), url=str(row["url"]) if row.get("url") else None)


def _column_problem(query: str, columns: tuple[str, ...]) -> str | None:
    """Return what is wrong with the names of a query's columns."""
    if query == "find_logged_call":
        return None if "id" in columns else "the column id is missing"
    kind = KINDS.get(query, Contact)
    required = required_columns(KINDS[query]) if query in KINDS else REQUIRED_OF_CONTACT
    if query == "find_contact_by_id":
        required = ("id",)
    missing = [name for name in required if name not in columns]
    unknown = [name for name in columns if not is_column(kind, name)]
    if missing:
        return f"the column {missing[0]} is missing"
    return f"the column {unknown[0]} fills nothing; adapters/README.rst lists the names" if unknown else None


def _storable(value: object) -> object:
    return UNSTORABLE.sub("\ufffd", value) if isinstance(value, str) else value


def _recording(logged: LoggedCall, recording: RecordingFile, call: CallRecord) -> dict[str, object]:
    return {**call_parameters(call, None), "external_id": logged.external_id, "recording_key": recording.key}
