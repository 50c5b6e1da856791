"""One question to one CRM: the contact first, then its activities side by side, in threads of their own.

A search goes on when its caller's deadline has passed, so that what is late still fills the cache; its own
time is ``HARD_DEADLINE``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
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
from middleware.lookup.alarms import Alarms
from middleware.lookup.assemble import choose, newest
from middleware.lookup.card import Card, Failed, Found, Miss, Result
from middleware.lookup.clean import clean_activity
from middleware.lookup.remarks import remarks_on_activities, remarks_on_contacts
from middleware.lookup.slots import Slot
from middleware.lookup.trace import Trace
from middleware.lookup.verify import MAX_ITEMS, find_verified, written_forms
from middleware.model.activity import ACTIVITY_TYPES, Activity, Call
from middleware.model.contact import Contact, Link
from middleware.model.deadline import Clock, Deadline
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Source, Tenant

HARD_DEADLINE = timedelta(seconds=10)

log = structlog.get_logger("m8crm.lookup")
Dump = Callable[[Card, bool], bytes]
OwnCalls = Callable[[Tenant, PhoneNumber], Sequence[Call]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What every search needs and no search owns."""

    dump: Dump
    own_calls: OwnCalls
    pool: DaemonPool
    alarms: Alarms
    remarks: bool = False  # whether somebody wants to know what is odd about what an adapter brings
    is_history_shared: bool = False  # whether calls are also logged by machines that we do not hear of
    clock: Clock = time.monotonic


@dataclass(slots=True)
class Search:
    """Asks one source; :meth:`partial` is what there is while it runs."""

    tenant: Tenant
    source: Source
    number: PhoneNumber
    numeric_id: str | None
    trace: Trace
    tools: Tools
    _contact: Contact | None = None
    _parts: dict[str, Future[list[Activity]]] = field(default_factory=dict)

    @classmethod
    def is_askable(cls, source: Source, number: PhoneNumber, numeric_id: str | None) -> bool:
        """Whether the adapter can be asked at all: by number, or by an id where it knows ids."""
        return number.is_diallable or bool(_id_of(number, numeric_id) and source.adapter.can("find_contact_by_id"))

    def start(self, slot: Slot, report: Callable[[Found | Result], None]) -> None:
        """Search on a thread of its own, report the end and give the slot back; whatever the adapter raises."""
        submitted = self.tools.clock()

        def run() -> None:
            try:
                result: Found | Result = self._search(queued=self.tools.clock() - submitted)
            except BaseException as error:  # an adapter may even raise SystemExit
                result = failure(error, self.tenant, self.source.name, "find_contact")
            self._leave(slot)
            report(result)

        self.tools.pool.submit(run)

    def _leave(self, slot: Slot) -> None:
        """Give the slot back, once the activities that have not come in time have, too."""
        pending = [part for part in self._parts.values() if not part.done()]
        if not pending:
            slot.give_back()
            return
        slot.give_up()
        for part in pending:
            part.add_done_callback(lambda _part: slot.give_back() if all(p.done() for p in pending) else None)

    def partial(self) -> Found | None:
        """Return the contact, if it is known, with the activities that have come so far."""
        if self._contact is None:
            return None
        try:
            return self._found(self._contact)
        except Exception as error:
            failure(error, self.tenant, self.source.name, "partial")
            return None

    def missing(self) -> list[str]:
        """Return what was asked for and is not there, in words."""
        if self._contact is None:
            return ["the contact is late"]
        parts = tuple(self._parts.items())
        late = [f"{_words(name)} late" for name, part in parts if not part.done()]
        failed = [(name, part.exception()) for name, part in parts if part.done()]
        return [*late, *(f"{_words(name)} failed ({type(error).__name__})" for name, error in failed if error)]

    def _search(self, queued: float) -> Found | Miss:
        deadline = Deadline.after(HARD_DEADLINE, self.tools.clock)
        ctx = build_context(
            self.source.adapter, region=self.tenant.region, deadline=deadline, account=self.source.account
        )
        contact = self._find_contact(ctx, queued)
        if contact is None:
            return Miss(reason="Nobody in the CRM has this number.")
        adapter, pool = self.source.adapter, self.tools.pool
        names = [name for name in ACTIVITY_METHODS if adapter.can(name)]
        parts = {name: pool.submit(self._part, name, contact, ctx, self.tools.clock()) for name in names}
        self._parts, self._contact = parts, contact
        wait(parts.values(), deadline.remaining)
        return self._found(contact)

    def _find_contact(self, ctx: Context, queued: float) -> Contact | None:
        adapter, numeric_id = self.source.adapter, _id_of(self.number, self.numeric_id)
        if numeric_id and adapter.can("find_contact_by_id"):
            with self.trace.span("contact by id", self.source.name, queued) as span:
                contact = adapter.find_contact_by_id(numeric_id, ctx)
                span.note = "found" if contact else "not found"
            if contact is not None or not self.number.is_diallable:
                return contact
        for form in written_forms(adapter, self.number):
            with self.trace.span("contact", self.source.name, queued) as span:
                contacts, count = find_verified(adapter, self.number, form, ctx)
                span.note = f"{form}: {len(contacts)} of {count} have the number"
            self._remark(remarks_on_contacts, contacts, count)
            if contacts:
                return choose(contacts, self.tenant.lookup.several)
        return None

    def _part(self, name: str, contact: Contact, ctx: Context, submitted: float) -> list[Activity]:
        method: Callable[[Contact, Context], Iterable[object]] = getattr(self.source.adapter, name)
        try:
            with self.trace.span(_words(name), self.source.name, self.tools.clock() - submitted) as span:
                items = list(islice(method(contact, ctx), MAX_ITEMS))
                span.note = str(len(items))
            self._remark(remarks_on_activities, _words(name), items)
            # cleaned here and now: at the deadline there is no time for it
            return [clean_activity(item) for item in newest(item for item in items if isinstance(item, ACTIVITY_TYPES))]
        except BaseException as error:
            failure(error, self.tenant, self.source.name, name)
            raise

    def _remark(self, remarks_on: Callable[..., list[str]], *brought: object) -> None:
        if not self.tools.remarks:
            return
        try:
            remarks = remarks_on(*brought)
        except Exception as error:  # what an adapter brings may be anything
            remarks = [f"what was brought cannot be read ({type(error).__name__})"]
        self.trace.remarks += (f"{self.source.name}: {remark}" for remark in remarks)

    def _found(self, contact: Contact) -> Found:
        done = [part for part in self._parts.values() if part.done() and part.exception() is None]
        activities = tuple(activity for part in done for activity in part.result())
        card = Card(contact=contact, activities=activities, links=tuple(self._links(contact)))
        return Found(card=card, is_partial=len(done) < len(self._parts))

    def _links(self, contact: Contact) -> Iterable[Link]:
        adapter = self.source.adapter
        return adapter.create_links(contact) if adapter.can("create_links") else ()


def failure(error: BaseException, tenant: Tenant, source: str, step: str) -> Failed:
    """Log what went wrong, without what it went wrong with, and return it as a result."""
    fields: dict[str, Any] = {"customer": tenant.id, "source": source, "step": step}
    if isinstance(error, CRMError):
        log.warning("crm_failed", error=type(error).__name__, **fields)
    else:  # only the class and the place: the message may hold a number
        log.error("adapter_bug", error=type(error).__name__, place=place_of(error), **fields)
    retry_after = error.retry_after if isinstance(error, RateLimitedError) else None
    return Failed(reason=type(error).__name__, retry_after=retry_after)


def _words(method: str) -> str:
    return method.removeprefix("find_")


def _id_of(number: PhoneNumber, numeric_id: str | None) -> str | None:
    return numeric_id or number.opaque_id
