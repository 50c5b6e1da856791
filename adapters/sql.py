"""``sql``: any database that SQLAlchemy reaches; the queries stand in the customer's file.

A query names its parameters (``:e164``) and its columns bear the names of the fields they fill; README.rst
lists both.  Nothing is ever pasted into a query.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, TypeVar, cast
from urllib.parse import quote

from sqlalchemy import Engine, Row, TextClause, create_engine, exc, text

from middleware.crm.base import Context, CRMAdapter, Finding
from middleware.crm.settings import Secret
from middleware.errors import (
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
)
from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact, ContactNumber, Email, Field, Link
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber

NUMBER = frozenset("raw e164 national national_digits international double_zero suffix".split())
CALL = frozenset(
    "key contact_id direction contact_number own_number started_at ended_at duration_seconds duration_ms subject body "
    "agent answer_group user_id referred_to referred_by summary".split()
)
PARAMETERS: dict[str, frozenset[str]] = {
    "find_contacts": NUMBER,
    "find_contact_by_id": frozenset({"id"}),
    **dict.fromkeys(
        ("find_notes", "find_tasks", "find_calls", "find_tickets", "find_deals", "find_appointments"),
        frozenset({"contact_id"}),
    ),
    "log_call": CALL,
    "find_logged_call": CALL,
    "update_call": CALL | {"external_id"},
}
MAX_ROWS = 200
ActivityT = TypeVar("ActivityT", bound=Activity)


@dataclass(frozen=True, slots=True, kw_only=True)
class SQLSettings:
    """The ``[[crm]]`` table of a customer whose CRM is a database.

    ``url`` is SQLAlchemy's; ``queries`` are SQL texts by the name of what they find or write; ``create_links``
    are URLs by the name of their button, with ``{id}`` for the contact's id.
    """

    url: Secret
    queries: dict[str, str]
    create_links: dict[str, str] = field(default_factory=dict)


class SQLAdapter(CRMAdapter[SQLSettings]):
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
            self._engine = create_engine(settings.url.reveal(), pool_pre_ping=True, pool_size=10, max_overflow=50)
        except (exc.ArgumentError, ImportError) as error:  # the URL holds a password: its text is not shown
            raise ValueError(f"url: SQLAlchemy cannot use it ({type(error).__name__})") from None

    def can(self, method: str) -> bool:
        """Whether there is a query for ``method``."""
        return method in self._queries or method == "check" or (method == "create_links" and bool(self._links))

    def find_contacts(self, number: PhoneNumber, ctx: Context) -> Iterable[Contact]:
        """Run ``find_contacts`` with every spelling of the number."""
        return _contacts("find_contacts", self._rows("find_contacts", _number(number), ctx.deadline))

    def find_contact_by_id(self, numeric_id: str, ctx: Context) -> Contact | None:
        """Run ``find_contact_by_id``."""
        rows = self._rows("find_contact_by_id", {"id": numeric_id}, ctx.deadline)
        return next(_contacts("find_contact_by_id", rows), None)

    def find_notes(self, contact: Contact, ctx: Context) -> Iterable[Note]:
        """Run ``find_notes``."""
        return self._activities(Note, "find_notes", contact, ctx)

    def find_tasks(self, contact: Contact, ctx: Context) -> Iterable[Task]:
        """Run ``find_tasks``."""
        return self._activities(Task, "find_tasks", contact, ctx)

    def find_calls(self, contact: Contact, ctx: Context) -> Iterable[Call]:
        """Run ``find_calls``."""
        return self._activities(Call, "find_calls", contact, ctx)

    def find_tickets(self, contact: Contact, ctx: Context) -> Iterable[Ticket]:
        """Run ``find_tickets``."""
        return self._activities(Ticket, "find_tickets", contact, ctx)

    def find_deals(self, contact: Contact, ctx: Context) -> Iterable[Deal]:
        """Run ``find_deals``."""
        return self._activities(Deal, "find_deals", contact, ctx)

    def find_appointments(self, contact: Contact, ctx: Context) -> Iterable[Appointment]:
        """Run ``find_appointments``."""
        return self._activities(Appointment, "find_appointments", contact, ctx)

    def create_links(self, contact: Contact) -> Iterable[Link]:
        """Return the configured buttons for the contact."""
        quoted = quote(contact.id, safe="")
        return [Link(name=name, url=url.replace("{id}", quoted)) for name, url in self._links.items()]

    def log_call(self, call: CallRecord, contact: Contact | None, ctx: Context) -> LoggedCall:
        """Run ``log_call``; a unique key in the database makes a second one harmless."""
        try:
            self._rows("log_call", _call(call, contact), ctx.deadline)
        except CRMRejectedError:
            logged = self.find_logged_call(call, ctx) if self.can("find_logged_call") else None
            if logged is None:
                raise
            return logged
        found = self.find_logged_call(call, ctx) if self.can("find_logged_call") else None
        return found or LoggedCall(external_id=call.key)

    def find_logged_call(self, call: CallRecord, ctx: Context) -> LoggedCall | None:
        """Run ``find_logged_call``; its columns are ``id`` and, if there is one, ``url``."""
        row = next(iter(self._rows("find_logged_call", _call(call, None), ctx.deadline)), None)
        if row is None:
            return None
        values = row._asdict()
        return LoggedCall(external_id=str(values["id"]), url=cast("str | None", values.get("url")))

    def update_call(self, logged: LoggedCall, call: CallRecord, ctx: Context) -> None:
        """Run ``update_call``."""
        self._rows("update_call", {**_call(call, None), "external_id": logged.external_id}, ctx.deadline)

    def check(self, ctx: Context) -> Iterable[Finding]:
        """Run every query that finds something, with a number and an id that nobody has."""
        nobody = dict.fromkeys(NUMBER | CALL | {"id", "contact_id", "external_id"}, "0")
        for name in self._queries:
            if not name.startswith("find_"):
                continue
            try:
                self._rows(name, nobody, ctx.deadline)
            except CRMError as error:
                yield Finding(ok=False, message=f"queries.{name}: {error.vendor_text or error}")
            else:
                yield Finding(ok=True, message=f"queries.{name}: runs")

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    @property
    def _links(self) -> dict[str, str]:
        return self.settings.create_links

    def _activities(self, kind: type[ActivityT], query: str, contact: Contact, ctx: Context) -> list[ActivityT]:
        rows = self._rows(query, {"contact_id": contact.id}, ctx.deadline)
        return [_record(kind, query, row._asdict()) for row in rows]

    def _rows(self, query: str, parameters: Mapping[str, object], deadline: Deadline) -> list[Row[Any]]:
        """Run one query in a transaction of its own; every failure is a ``CRMError`` without its parameters."""
        clause = self._queries[query]
        wanted = {name: parameters[name] for name in clause.compile().params}
        try:
            with self._engine.begin() as connection:
                _bound_wait(self._engine, connection.connection.driver_connection, deadline)
                result = connection.execute(clause, wanted)
                return list(result.fetchmany(MAX_ROWS)) if result.returns_rows else []
        except exc.TimeoutError:
            raise CRMTimeoutError("the database has no connection free") from None
        except (exc.IntegrityError, exc.ProgrammingError, exc.DataError, exc.NotSupportedError) as error:
            raise CRMRejectedError(f"the database refuses queries.{query}", vendor_text=_reason(error)) from None
        except exc.DBAPIError as error:
            if re.match(r"no such|near ", _reason(error)):  # SQLite calls a wrong query operational
                raise CRMRejectedError(f"the database refuses queries.{query}", vendor_text=_reason(error)) from None
            raise CRMUnavailableError("the database cannot be reached", vendor_text=_reason(error)) from None
        except exc.SQLAlchemyError as error:
            raise CRMResponseError(f"queries.{query}: {type(error).__name__}") from None


def _compile(name: str, query: str) -> TextClause:
    if name not in PARAMETERS:
        raise ValueError(f"queries.{name}: is unknown; known: {', '.join(PARAMETERS)}")
    if re.search(r"%s|\?(?![^']*'[^']*$)", re.sub(r"'(?:[^']|'')*'", "", query)):
        raise ValueError(f"queries.{name}: use named parameters such as :{min(PARAMETERS[name])}, not ? or %s")
    clause = text(query)
    unknown = set(clause.compile().params) - PARAMETERS[name]
    if unknown:
        known = ", ".join(f":{parameter}" for parameter in sorted(PARAMETERS[name]))
        raise ValueError(f"queries.{name}: unknown parameter :{min(unknown)}; known: {known}")
    return clause


def _bound_wait(engine: Engine, connection: Any, deadline: Deadline) -> None:
    """Keep SQLite from waiting for a lock longer than anybody waits for us."""
    if engine.dialect.name == "sqlite":
        connection.execute(f"PRAGMA busy_timeout = {math.ceil(deadline.remaining * 1000)}")


def _reason(error: exc.DBAPIError) -> str:
    return str(error.orig).splitlines()[0][:300] if str(error.orig) else type(error.orig).__name__


def _number(number: PhoneNumber) -> dict[str, object]:
    return {name: getattr(number, name) for name in NUMBER}


def _call(call: CallRecord, contact: Contact | None) -> dict[str, object]:
    return {
        "key": call.key,
        "contact_id": contact.id if contact else None,
        "direction": call.direction.value,
        "contact_number": str(call.contact_number),
        "own_number": str(call.own_number),
        "started_at": call.started_at.astimezone(UTC).isoformat(),
        "ended_at": call.ended_at.astimezone(UTC).isoformat(),
        "duration_seconds": round(call.duration.total_seconds()),
        "duration_ms": round(call.duration.total_seconds() * 1000),
        "subject": call.subject,
        "body": call.body,
        "agent": call.agent,
        "answer_group": call.answer_group,
        "user_id": call.user_id,
        "referred_to": call.referred_to,
        "referred_by": call.referred_by,
        "summary": call.summary,
    }


# rows -> contacts -------------------------------------------------------------------------------------
def _contacts(query: str, rows: Iterable[Row[Any]]) -> Iterator[Contact]:
    """Yield contacts; rows with the same ``id`` are one contact with several numbers, e-mails and fields."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        values = row._asdict()
        if "id" not in values or values["id"] is None:
            raise CRMResponseError(f"queries.{query}: has no column id")
        grouped.setdefault(str(values["id"]), []).append(values)
    for contact_id, several in grouped.items():
        first = several[0]
        known = {f.name: _value(query, f.name, first[f.name]) for f in fields(Contact) if f.name in first}
        repeated = {
            "numbers": _pairs(several, r"number(?:_\d+)?", ContactNumber, "number"),
            "emails": _pairs(several, r"email(?:_\d+)?", Email, "address"),
            "fields": tuple(
                dict.fromkeys(
                    Field(title=name.removeprefix("field_").replace("_", " ").capitalize(), comment=str(row[name]))
                    for row in several
                    for name in row
                    if name.startswith("field_") and row[name] not in (None, "")
                )
            ),
        }
        yield Contact(**{**known, **repeated, "id": contact_id, "display_name": str(first.get("display_name") or "")})


def _pairs(rows: list[dict[str, Any]], column: str, kind: Any, name: str) -> tuple[Any, ...]:
    """Return what the columns ``number``, ``number_2`` … hold, each with its ``…_comment``."""
    found = [
        kind(**{name: str(row[key]), "comment": row.get(f"{key}_comment") or None})
        for row in rows
        for key in row
        if re.fullmatch(column, key) and row[key]
    ]
    return tuple(dict.fromkeys(found))


# values -----------------------------------------------------------------------------------------------
def _record(kind: type[ActivityT], query: str, values: dict[str, Any]) -> ActivityT:
    known = {f.name: f for f in fields(kind)}
    filled = {name: _value(query, name, value) for name, value in values.items() if name in known and value is not None}
    missing = [f.name for f in known.values() if f.default is MISSING and f.name not in filled]
    if missing:
        raise CRMResponseError(f"queries.{query}: the column {missing[0]} is missing or empty")
    return kind(**filled)


_MOMENTS = {"timestamp", "due_date", "start_time", "created_date", "close_date", "start_date", "end_date", "updated_at"}
_FLAGS = {"done", "all_day", "markdown"}


def _value(query: str, column: str, value: Any) -> Any:
    if value is None:
        return None
    try:
        if column in _MOMENTS:
            return _moment(value)
        if column == "duration":
            return timedelta(seconds=float(value))
        if column in _FLAGS:
            return str(value).lower() in ("1", "true", "t", "yes")
        if column == "amount":
            return Decimal(str(value))
        return str(value).upper() if column == "priority" else str(value)
    except (ValueError, ArithmeticError, TypeError):
        raise CRMResponseError(f"queries.{query}: the column {column} cannot be read") from None


def _moment(value: object) -> datetime:
    """Read a moment: a datetime, a date, ISO 8601, or Unix seconds or milliseconds; naive ones are UTC."""
    if isinstance(value, (int, float, Decimal)) or (isinstance(value, str) and value.isdigit()):
        number = float(value)
        return datetime.fromtimestamp(number / 1000 if abs(number) > 1e11 else number, UTC)
    if isinstance(value, date) and not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
