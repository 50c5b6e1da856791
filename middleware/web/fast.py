"""Answers the lookups that need no waiting, without Flask: its bytes are the slow path's, or there is none.

Everything that is not a plain GET with the right secret and a fresh answer is ``None``: then the Flask view
decides.  So nothing is refused here, and nothing that only the slow path checks can be skipped.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Protocol

from marshmallow import ValidationError
from werkzeug.http import HTTP_STATUS_CODES

from middleware.logs import masked
from middleware.lookup.card import Hit, Miss
from middleware.lookup.trace import Trace
from middleware.model.call import LookupQuery
from middleware.tenants.secrets import verify
from middleware.tenants.tenant import Tenant
from middleware.web.answers import NO_STORE, common_headers, lookup_answer, presented_secret, request_id
from middleware.web.head import PlainGet
from middleware.web.lines import Lines
from middleware.web.requests import write_line
from middleware.web.schemas.query import read_query

ROUTE = "/<tenant_id:customer>/lookup"
_TARGET = re.compile(r"/([a-z0-9][a-z0-9-]{0,62})/lookup\?(.*)")
_STATUS = {int(status): f"{status} {HTTP_STATUS_CODES[status].upper()}" for status in HTTPStatus if status < 500}


class Customers(Protocol):
    """Knows customers without waiting (``Tenants``)."""

    def peek(self, tenant_id: str) -> Tenant | None:
        """Return the customer if his file was looked at a moment ago."""


class Lookups(Protocol):
    """Knows answers without waiting (``LookupService``)."""

    def ready(self, tenant: Tenant, query: LookupQuery, trace: Trace) -> Hit | Miss | None:
        """Return the answer that needs neither a CRM nor any waiting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """An answer but for what the server adds; a body of ``None`` is none at all (204)."""

    status: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


class FastPath:
    """One per process, for one thread; never blocks."""

    def __init__(self, *, tenants: Customers, lookups: Lookups, key: bytes, lines: Lines) -> None:
        self._tenants = tenants
        self._lookups = lookups
        self._key = key
        self._lines = lines

    def answer(self, request: PlainGet) -> Finished | None:
        """Return the answer, or ``None`` when the slow path must give it."""
        target = _TARGET.fullmatch(request.target)
        tenant = self._tenants.peek(target[1]) if target else None
        authorization = request.headers.get("authorization", "")
        if target is None or tenant is None or not verify(tenant, "insights", presented_secret(authorization)):
            return None
        identity = request_id(request.headers.get("x-request-id", ""))
        trace = Trace(id=identity)
        try:
            query = read_query(target[2], tenant)
        except ValidationError:
            return None
        result = self._lookups.ready(tenant, query, trace)
        if result is None:
            return None
        answer = lookup_answer(result, tenant)
        timing = trace.server_timing()
        self._lines.offer(partial(self._log, tenant.id, query, result, answer.status, trace))
        own = (("Content-Type", answer.content_type), ("Content-Length", str(len(answer.body))))
        headers = (*(own if answer.content_type else ()), *common_headers(identity, timing), NO_STORE)
        return Finished(status=_STATUS[answer.status], headers=headers, body=answer.body)

    def _log(self, customer: str, query: LookupQuery, result: Hit | Miss, status: int, trace: Trace) -> None:
        write_line(
            method="GET",
            route=ROUTE,
            status=status,
            seconds=0.0,  # less than the line shows
            request_id=trace.id,
            customer=customer,
            outcome=type(result).__name__.lower(),
            cache=trace.cache,
            number=masked(str(query.number), self._key),
        )
