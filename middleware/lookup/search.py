"""One question to one CRM: the contact first, then its activities side by side, in threads of their own.

A search goes on when its caller's deadline has passed, so that what is late still fills the cache; its own
time is ``HARD_DEADLINE``.  It holds its customer's slot until the last of its threads has returned.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from typing import Any

import structlog

from middleware.crm.base import ACTIVITY_METHODS, Context
from middleware.crm.context import build_context
from middleware.crm.threads import DaemonPool
from middleware.errors import CRMError, RateLimitedError, place_of
from middleware.lookup.assemble import assemble, choose
from middleware.lookup.card import Card, Failed, Hit, Miss, Result, TimedOut
from middleware.lookup.trace import Trace
from middleware.lookup.verify import verified_contacts
from middleware.model.call import LookupQuery
from middleware.model.contact import Contact, Link
from middleware.model.deadline import Clock, Deadline
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Source, Tenant

HARD_DEADLINE = timedelta(seconds=10)
MAX_ITEMS = 200  # of what an adapter yields; a CRM that pages for ever ends here

log = structlog.get_logger("m8crm.lookup")
Dump = Callable[[Card, bool], bytes]


@dataclass(slots=True)
class Search:
    """``finished`` brings the whole answer; until then :meth:`partial` is what there is."""

    tenant: Tenant
    source: Source
    number: PhoneNumber
    numeric_id: str | None
    dump: Dump
    pool: DaemonPool
    trace: Trace
    clock: Clock = time.monotonic
    finished: Future[Result] = field(default_factory=Future)
    _contact: Contact | None = None
    _parts: dict[str, Future[list[object]]] = field(default_factory=dict)

    @classmethod
    def is_askable(cls, source: Source, number: PhoneNumber, numeric_id: str | None) -> bool:
        """Whether the adapter can be asked at all: by number, or by an id where it knows ids."""
        return number.is_diallable or bool(_id_of(number, numeric_id) and source.adapter.can("find_contact_by_id"))

    def run(self) -> None:
        """Search, and set ``finished``; never raises, whatever the adapter does."""
        try:
            result = self._search()
        except BaseException as error:  # an adapter may even raise SystemExit
            result = self._failure(error)
        self.finished.set_result(result)

    def partial(self) -> Hit | Failed | TimedOut:
        """Return the card with the activities that have come so far, if the contact is known."""
        if self._contact is None:
            return TimedOut()
        try:
            return self._hit(self._contact)
        except Exception as error:
            return self._failure(error, step="partial")

    def _search(self) -> Result:
        deadline = Deadline.after(HARD_DEADLINE, self.clock)
        ctx = build_context(self.source.adapter, region=self.tenant.region, deadline=deadline)
        with self.trace.span("contact"):
            contact = self._find_contact(ctx)
        if contact is None:
            return Miss(reason="Nobody in the CRM has this number.")
        adapter = self.source.adapter
        parts = {
            name: self.pool.submit(self._part, name, contact, ctx) for name in ACTIVITY_METHODS if adapter.can(name)
        }
        self._parts, self._contact = parts, contact
        wait(parts.values())
        return self._hit(contact)

    def _find_contact(self, ctx: Context) -> Contact | None:
        adapter, numeric_id = self.source.adapter, _id_of(self.number, self.numeric_id)
        if numeric_id and adapter.can("find_contact_by_id"):
            contact = adapter.find_contact_by_id(numeric_id, ctx)
            if contact is not None or not self.number.is_diallable:
                return contact
        found = list(islice(adapter.find_contacts(self.number, ctx), MAX_ITEMS))
        contacts = verified_contacts(found, self.number, self.tenant.region)
        return choose(contacts, self.tenant.lookup.several) if contacts else None

    def _part(self, name: str, contact: Contact, ctx: Context) -> list[object]:
        method: Callable[[Contact, Context], Iterable[object]] = getattr(self.source.adapter, name)
        try:
            with self.trace.span(name.removeprefix("find_")):
                return list(islice(method(contact, ctx), MAX_ITEMS))
        except BaseException as error:
            self._failure(error, step=name)
            raise

    def _hit(self, contact: Contact) -> Hit:
        done = [part for part in self._parts.values() if part.done() and part.exception() is None]
        activities = [activity for part in done for activity in part.result()]
        card = assemble(contact, activities, self._links(contact))
        body = self.dump(card, self.tenant.lookup.deprecated_names)
        return Hit(body=body, is_partial=len(done) < len(self._parts))

    def _links(self, contact: Contact) -> Iterable[Link]:
        adapter = self.source.adapter
        return tuple(adapter.create_links(contact)) if adapter.can("create_links") else ()

    def _failure(self, error: BaseException, step: str = "find_contact") -> Failed:
        fields: dict[str, Any] = {"customer": self.tenant.id, "source": self.source.name, "step": step}
        if isinstance(error, CRMError):
            log.warning("crm_failed", error=type(error).__name__, **fields)
        else:  # only the class and the place: the message may hold a number
            log.error("adapter_bug", error=type(error).__name__, place=place_of(error), **fields)
        retry_after = error.retry_after if isinstance(error, RateLimitedError) else None
        return Failed(reason=type(error).__name__, retry_after=retry_after)


def query_number(tenant: Tenant, query: LookupQuery) -> PhoneNumber | None:
    """Return the number that is the contact's; ``None`` when it is the customer's own (specs/README.md)."""
    user = query.user
    ids = {user.id, user.email, user.mobile_phone} - {None} if user else set()
    for number in (query.number, query.to_number):
        if number is not None and number.e164 not in tenant.own_numbers and number.raw not in ids:
            return number
    return None


def _id_of(number: PhoneNumber, numeric_id: str | None) -> str | None:
    return numeric_id or number.opaque_id
