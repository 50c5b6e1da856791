"""Answers plain lookups and events without Flask: its bytes are the slow path's, or there is none.

Everything that is not plain, with the right secret and a query or body that is understood is ``None``: then the Flask
view decides.  So nothing is refused here, and nothing that only the slow path checks can be skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol

from marshmallow import ValidationError
from werkzeug.http import HTTP_STATUS_CODES

from middleware.errors import StorageError
from middleware.inbox.store import Accepted, Inbox
from middleware.logs import masked
from middleware.lookup.card import Hit, Miss, Result
from middleware.lookup.inquiry import Question
from middleware.lookup.service import LookupService
from middleware.lookup.trace import Trace
from middleware.model.call import LookupQuery
from middleware.tenants.secrets import verify
from middleware.tenants.tenant import Tenant
from middleware.web.answers import (
    NO_STORE,
    Answer,
    accepted_answer,
    broken_answer,
    common_headers,
    lookup_answer,
    presented_secret,
    request_id,
    seconds_of,
    storage_answer,
)
from middleware.web.fast_events import Sent, read_event, store
from middleware.web.guesses import Guesses
from middleware.web.head import Plain
from middleware.web.lines import Lines
from middleware.web.requests import write_line
from middleware.web.schemas.query import read_query

ROUTE = "/<tenant_id:customer>/"
_STATUS = {int(status): f"{status} {HTTP_STATUS_CODES[status].upper()}" for status in HTTPStatus}

_WELL = (Hit, Miss, Accepted)
# all but the request's id and its timing are always the same
_ALWAYS = "".join(f"{name}: {value}\r\n" for name, value in (*common_headers("", "")[2:], NO_STORE)) + "\r\n"


class Customers(Protocol):
    """Knows customers without waiting (``Tenants``)."""

    def peek(self, tenant_id: str) -> Tenant | None:
        """Return the customer if his file was looked at a moment ago."""


class Asked(NamedTuple):  # quicker to make than a frozen dataclass
    """A plain lookup of a customer with the right secret; ``trace`` bears the request's id."""

    tenant: Tenant
    query: LookupQuery
    trace: Trace
    known: Hit | Miss | Question


class FastPath:
    """One per process; nothing here ever waits."""

    def __init__(
        self,
        *,
        tenants: Customers,
        lookups: LookupService,
        inbox: Inbox,
        guesses: Guesses,
        key: bytes,
        lines: Lines,
    ) -> None:
        self._tenants = tenants
        self._guesses = guesses
        self._lookups = lookups
        self._inbox = inbox
        self._key = key
        self._lines = lines

    def read(self, request: Plain, body: bytes = b"", peer: str = "") -> Asked | Sent | None:
        """Return what is asked or sent, or ``None`` when the slow path must say what is wrong with it.

        ``peer`` is the address that is connected.
        """
        asked = read_event(request, body, self._tenants.peek) if request.is_post else self._read_lookup(request)
        forwarded = request.headers.get("x-forwarded-for", "")
        return None if asked and self._guesses.refuses(peer, forwarded, asked.tenant.id) else asked

    def _read_lookup(self, request: Plain) -> Asked | None:
        trace = Trace()  # before anything takes time
        customer, is_lookup, question = request.target[1:].partition("/lookup?")
        tenant = self._tenants.peek(customer) if is_lookup else None  # who has been let in by the slow path
        authorization = request.headers.get("authorization", "")
        if tenant is None or not verify(tenant, "insights", presented_secret(authorization)):
            return None
        try:
            query = read_query(question, tenant)
        except ValidationError:
            return None
        trace.id = request_id(request.headers.get("x-request-id", ""))
        trace.known_at = trace.took
        return Asked(tenant, query, trace, self._lookups.ready(tenant, query, trace))

    def ready(self, asked: Asked | Sent, server: str) -> bytes | None:
        """Return the answer, with the ``server``'s own headers, if nobody must be waited for."""
        if isinstance(asked, Sent) or isinstance(asked.known, Question):
            return None
        return self.told(asked, asked.known, server)

    def begin(self, asked: Asked | Sent, done: Callable[[Any], None]) -> None:
        """Have a CRM asked, or an event stored; ``done``, here or on another thread, gets what :meth:`told` tells."""
        if isinstance(asked, Sent):
            store(self._inbox, asked, done)
            return
        assert isinstance(asked.known, Question)
        self._lookups.ask(asked.known, asked.trace.deadline(asked.tenant.lookup.budget), asked.trace, done)

    def told(self, asked: Asked | Sent, result: Result | Accepted | Exception, server: str) -> bytes:
        """Return the answer that tells the result, or that something is broken here."""
        answer = _answer(asked, result)
        # a failure has its line, however many there are
        write = self._lines.offer if isinstance(result, _WELL) else _now
        took = asked.trace.took
        write(self._log, asked, result, answer.status, took)
        return _bytes(asked.trace, answer, server, took)

    def _log(self, asked: Asked | Sent, result: Result | Accepted | Exception, status: int, seconds: float) -> None:
        known: dict[str, object] = {}
        if isinstance(asked, Asked):
            known["number"] = masked(str(asked.query.number), self._key)
        if isinstance(result, Accepted):
            known |= {"outcome": result.status, "event_id": result.id}
        elif not isinstance(result, Exception):
            known |= {"outcome": type(result).__name__.lower(), "cache": asked.trace.cache}
        write_line(
            method="POST" if isinstance(asked, Sent) else "GET",
            route=ROUTE + (asked.receiver.sender if isinstance(asked, Sent) else "lookup"),
            status=status,
            seconds=seconds,
            request_id=asked.trace.id,
            customer=asked.tenant.id,
            **known,
        )


def _answer(asked: Asked | Sent, result: Result | Accepted | Exception) -> Answer:
    if isinstance(result, Exception):
        if isinstance(result, StorageError) and isinstance(asked, Sent):
            return storage_answer(result)
        return broken_answer(result, asked.trace.id)
    if isinstance(result, Accepted):
        return accepted_answer(result, asked.errors if isinstance(asked, Sent) else None)
    return lookup_answer(result, asked.tenant)


def _bytes(trace: Trace, answer: Answer, server: str, took: float) -> bytes:
    kind, wait, timing = answer.content_type, answer.retry_after, trace.server_timing(took)
    body = f"Content-Type: {kind}\r\nContent-Length: {len(answer.body)}\r\n" if kind else ""
    retry = f"Retry-After: {seconds_of(wait)}\r\n" if wait else ""
    own = f"X-Request-Id: {trace.id}\r\nServer-Timing: {timing}\r\n{_ALWAYS}"
    return f"HTTP/1.1 {_STATUS[answer.status]}\r\n{server}{body}{retry}{own}".encode("latin-1") + answer.body


def _now(write: Callable[..., None], *facts: object) -> None:
    write(*facts)
