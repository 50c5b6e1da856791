"""One question to one CRM: the contact first, then its activities side by side, in threads of their own.

A search goes on when its caller's deadline has passed, so that what is late still fills the cache; its own
time is ``HARD_DEADLINE``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from itertools import islice
from typing import Any

import structlog

from middleware.crm.base import ACTIVITY_METHODS, Context
from middleware.crm.context import build_context
from middleware.crm.session import Guard
from middleware.crm.threads import DaemonPool
from middleware.crm.watch import Watch
from middleware.errors import CRMError, IndexNotReadyError, RateLimitedError, place_of
from middleware.lookup.alarms import Alarms
from middleware.lookup.assemble import SAME_NUMBER, choose, newest
from middleware.lookup.card import Card, Failed, Found, Miss, Result
from middleware.lookup.clean import clean_activity
from middleware.lookup.indexed import Indexed, NoIndex, NumberIndex
from middleware.lookup.remarks import remarks_on_activities, remarks_on_contacts
from middleware.lookup.slots import Slot
from middleware.lookup.trace import Span, Trace
from middleware.lookup.verify import MAX_ITEMS, find_verified, has_number, written_forms
from middleware.model.activity import ACTIVITY_TYPES, Activity, Call
from middleware.model.contact import Contact, Link
from middleware.model.deadline import Clock, Deadline
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Source, Tenant

HARD_DEADLINE = timedelta(seconds=10)
INDEX_PAUSE = timedelta(seconds=30)  # until an index is asked again that could not tell

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
    index: NumberIndex = field(default_factory=NoIndex)
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
    _reading: Future[Contact | None] | None = None  # of the contact that the index has, as it is now
    _miss: str = "Nobody in the CRM has this number."

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

        self.tools.pool.start(run)

    def _leave(self, slot: Slot) -> None:
        """Give the slot back, once the activities that have not come in time have, too."""
        pending = [part for part in self._futures() if not part.done()]
        if not pending:
            slot.give_back()
            return
        slot.give_up()
        for part in pending:
            part.add_done_callback(lambda _part: slot.give_back() if all(p.done() for p in pending) else None)

    def partial(self) -> Found | None:
        """Return the contact, if it is known, with the activities that have come so far."""
        if self._contact is None or self._is_gone:
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
        if self._is_mirrored:
            error = self._reading.exception() if self._reading and self._reading.done() else None
            why = type(error).__name__ if error else "it was late"
            return [f"the contact as the CRM has it now ({why}): it is from the index", *self._late(parts)]
        return self._late(parts)

    @staticmethod
    def _late(parts: Iterable[tuple[str, Future[list[Activity]]]]) -> list[str]:
        parts = tuple(parts)
        late = [f"{_words(name)} late" for name, part in parts if not part.done()]
        failed = [(name, part.exception()) for name, part in parts if part.done()]
        return [*late, *(f"{_words(name)} failed ({type(error).__name__})" for name, error in failed if error)]

    def _search(self, queued: float) -> Found | Miss:
        deadline = Deadline.after(HARD_DEADLINE, self.tools.clock)
        ctx = build_context(
            self.source.adapter, region=self.tenant.region, deadline=deadline, account=self.source.account
        )
        for contact, is_mirrored in self._candidates(ctx, queued):
            found = self._about(contact, ctx, is_mirrored=is_mirrored)
            if found:
                return found
        return Miss(reason=self._miss)

    def _about(self, contact: Contact, ctx: Context, *, is_mirrored: bool) -> Found | None:
        """Return the contact with its activities; ``None`` if the index is wrong about him."""
        adapter, pool = self.source.adapter, self.tools.pool
        names = [name for name in ACTIVITY_METHODS if adapter.can(name)]
        is_read = is_mirrored and adapter.knows_contact_ids and adapter.can("find_contact_by_id")
        self._reading = pool.submit(self._read, contact, ctx, self.tools.clock()) if is_read else None
        parts = {name: pool.submit(self._part, name, contact, ctx, self.tools.clock()) for name in names}
        self._parts, self._contact = parts, contact
        if pending := self._futures():
            wait(pending, ctx.deadline.remaining)
        if self._is_gone:
            self._contact = None
            return None
        return self._found(contact)

    def _candidates(self, ctx: Context, queued: float) -> Iterator[tuple[Contact, bool]]:
        """Yield who it may be, the likeliest first, and whether that is only what the index says."""
        adapter, numeric_id = self.source.adapter, _id_of(self.number, self.numeric_id)
        if numeric_id and adapter.can("find_contact_by_id"):
            with self.trace.span("contact by id", self.source.name, queued) as span:
                contact = adapter.find_contact_by_id(numeric_id, self._watched(ctx, span))
                span.note = "found" if contact else "not found"
            if contact is not None:
                yield contact, False
            if contact is not None or not self.number.is_diallable:
                return
        indexed, is_final = Indexed(), False
        if self.source.index:
            with self.trace.span("index", self.source.name, queued) as span:
                indexed = self.tools.index.find(self.tenant, self.source, self.number)
                span.note = indexed.words
            left = list(indexed.contacts)
            while left:
                contact = choose(left, self.tenant.lookup.several)
                yield contact, True
                left = [other for other in left if other.id != contact.id]
            is_final = indexed.is_final and (not indexed.contacts or not adapter.is_searchable)
        if is_final:
            self._miss = f"Nobody in the CRM has this number, says its index ({indexed.words})."
        elif adapter.is_searchable:
            yield from self._searched(ctx, queued)
        else:
            raise IndexNotReadyError(indexed.words, retry_after=INDEX_PAUSE)

    def _searched(self, ctx: Context, queued: float) -> Iterator[tuple[Contact, bool]]:
        for form in written_forms(self.source.adapter, self.number):
            with self.trace.span("contact", self.source.name, queued) as span:
                contacts, count = find_verified(
                    self.source.adapter, self.number, form, self._watched(ctx, span, getattr(self.number, form))
                )
                span.note = f"{form}: {len(contacts)} of {count} have the number"
            self._remark(remarks_on_contacts, contacts, count)
            self._drop(count - len(contacts), f"of {count} contacts: they do not have the number")
            if contacts:
                several = self.tenant.lookup.several
                if several != "all":  # which names the others on the card
                    self._drop(len(contacts) - 1, f"more contacts with the number (several = {several})")
                yield choose(contacts, several), False
                return

    def _read(self, mirrored: Contact, ctx: Context, submitted: float) -> Contact | None:
        """Return the contact as the CRM has it now, ``None`` if it is gone or has the number no more."""
        try:
            with self.trace.span("contact by id", self.source.name, self.tools.clock() - submitted) as span:
                fresh = self.source.adapter.find_contact_by_id(mirrored.id, self._watched(ctx, span))
                is_same = fresh is not None and has_number(fresh, self.number, ctx.region)
                span.note = "as it is now" if is_same else "has the number no more" if fresh else "is gone"
        except BaseException as error:
            failure(error, self.tenant, self.source.name, "find_contact_by_id")
            raise
        others = tuple(field for field in mirrored.fields if field.title == SAME_NUMBER)
        return replace(fresh, fields=(*fresh.fields, *others)) if fresh and is_same else None

    def _futures(self) -> list[Future[Any]]:
        """Return all that is under way."""
        return [*self._parts.values(), *([self._reading] if self._reading else [])]

    @property
    def _fresh(self) -> Contact | None:
        """The contact that the index has, as it is now, if that is known."""
        reading = self._reading
        return reading.result() if reading and reading.done() and not reading.exception() else None

    @property
    def _is_mirrored(self) -> bool:
        """Whether the contact is only what the index has, though it could be read."""
        return self._reading is not None and self._fresh is None

    @property
    def _is_gone(self) -> bool:
        reading = self._reading
        return reading is not None and reading.done() and not reading.exception() and reading.result() is None

    def _part(self, name: str, contact: Contact, ctx: Context, submitted: float) -> list[Activity]:
        method: Callable[[Contact, Context], Iterable[object]] = getattr(self.source.adapter, name)
        try:
            with self.trace.span(_words(name), self.source.name, self.tools.clock() - submitted) as span:
                items = list(islice(method(contact, self._watched(ctx, span)), MAX_ITEMS))
                span.note = str(len(items))
            self._remark(remarks_on_activities, _words(name), items)
            activities = [item for item in items if isinstance(item, ACTIVITY_TYPES)]
            shown = newest(activities)
            self._drop(len(items) - len(activities), f"of {len(items)} {_words(name)}: they are no activities")
            self._drop(len(activities) - len(shown), f"of {len(items)} {_words(name)}: the latest ten are shown")
            return [clean_activity(item) for item in shown]  # here and now: at the deadline there is no time for it
        except BaseException as error:
            failure(error, self.tenant, self.source.name, name)
            raise

    def _watched(self, ctx: Context, step: Span, written: str = "") -> Context:
        """Return the context whose requests, by HTTP or any other way, are parts of the step."""
        watch = partial(self.trace.span, source=self.source.name, within=step)
        guard = partial(_watched_guard, ctx.guard, watch)
        return replace(ctx, http=ctx.http.watched(watch), written=written, guard=guard)

    def _drop(self, count: int, words: str) -> None:
        if count:
            self.trace.dropped.append(f"{self.source.name}: {count} {words}")

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
        contact = self._fresh or contact
        card = Card(contact=contact, activities=activities, links=tuple(self._links(contact)))
        return Found(card=card, is_partial=len(done) < len(self._parts) or self._is_mirrored)

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


@contextmanager
def _watched_guard(guard: Guard, watch: Watch) -> Iterator[None]:
    """Admit a request that is not sent by the session, and make it a step."""
    with watch("request"), guard():
        yield


def _words(method: str) -> str:
    return method.removeprefix("find_")


def _id_of(number: PhoneNumber, numeric_id: str | None) -> str | None:
    return numeric_id or number.opaque_id
