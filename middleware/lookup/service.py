"""The way a number takes to an answer.

1. The contact's number: the caller's, or the called one when the caller is the customer himself.
2. What no CRM can know (withheld, internal, own, impossible) is a miss at once.
3. A fresh answer is given as the bytes it was serialised to once; one that is a little older, too, while the
   CRM is asked again.
4. Otherwise every source of the customer is asked, each in its own bounded slots; callers with the same
   question share one inquiry, with Redis on all machines.  ``inquiry.py`` says which source wins.
5. At the deadline the contact is answered with the activities that have come; without one, or when the CRM
   fails, what was known before.  What is late fills the cache.

An error, a full slot and a time-out are results of their own and are never kept or shown as a miss.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import takewhile
from queue import SimpleQueue
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import structlog

from middleware.crm.threads import DaemonPool
from middleware.errors import place_of
from middleware.generations import Generations
from middleware.lookup.alarms import Alarms
from middleware.lookup.cache import MAX_BYTES, AnswerCache, Kept, kept
from middleware.lookup.card import Hit, Miss, Result, TimedOut
from middleware.lookup.indexed import NoIndex, NumberIndex
from middleware.lookup.inquiry import Flight, Inquiry, Question
from middleware.lookup.search import Dump, OwnCalls, Search, Tools, failure
from middleware.lookup.slots import Bulkheads
from middleware.lookup.trace import Trace
from middleware.model.call import LookupQuery
from middleware.model.deadline import Clock, Deadline
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Tenant

if TYPE_CHECKING:
    from middleware.lookup.shared import SharedAnswers


log = structlog.get_logger("m8crm.lookup")
R = TypeVar("R", bound=Result)
KeepTrace = Callable[[Trace, str, str, Result, float], None]  # of customer, contact's number; seconds that it took


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Of one process: bytes of kept answers, and searches that are waited for at the same time."""

    cache_bytes: int = MAX_BYTES
    searches: int = 256


class LookupService:
    """Answers lookups; one per process, shared by its threads."""

    def __init__(  # noqa: PLR0913 - all but two have defaults
        self,
        *,
        dump: Dump,
        generations: Generations,
        own_calls: OwnCalls = lambda _tenant, _number: (),
        index: NumberIndex = NoIndex(),  # noqa: B008 - holds nothing
        shared: SharedAnswers | None = None,
        keep_trace: KeepTrace = lambda _trace, _customer, _number, _result, _took: None,
        limits: Limits = Limits(),
        is_history_shared: bool = False,
        remarks: bool = False,
        clock: Clock = time.monotonic,
    ) -> None:
        self._generations = generations
        self._cache = AnswerCache(clock=clock, max_bytes=limits.cache_bytes)
        self._shared = shared
        self._keep_trace = keep_trace
        self._tools = Tools(
            dump=dump,
            own_calls=own_calls,
            pool=DaemonPool("lookup"),
            alarms=Alarms(),
            index=index,
            is_history_shared=is_history_shared,
            remarks=remarks,
            clock=clock,
        )
        self._bulkheads = Bulkheads(limits.searches)
        self._inquiries: dict[Flight, Inquiry] = {}
        self._lock = Lock()

    def lookup(self, tenant: Tenant, query: LookupQuery, deadline: Deadline, trace: Trace) -> Result:
        """Return what is known of the caller before ``deadline``; ``trace`` is filled and kept."""
        known = self.ready(tenant, query, trace)
        if not isinstance(known, Question):
            return known
        answer: SimpleQueue[Result] = SimpleQueue()
        self._ask(known, deadline, trace, answer.put)
        result = answer.get()
        return self._ended(trace, tenant, str(known.number), result, trace.took)

    def ready(self, tenant: Tenant, query: LookupQuery, trace: Trace) -> Hit | Miss | Question:
        """Return the answer that needs neither a CRM nor any waiting, or the question for :meth:`ask`."""
        number = query_number(tenant, query)
        if number is None:
            result = Miss(reason="The number is the customer's own.")
            return self._ended(trace, tenant, str(query.number), result, trace.took)
        text = str(number)
        generation = self._generations.current(tenant.id, text)
        key = (tenant.id, tenant.revision, text, query.numeric_id or "")
        known = self._cache.get(key, generation)
        if known and known[1] == "fresh":  # which says that the number is one to ask for
            trace.cache = known[1]
            return self._ended(trace, tenant, text, known[0], trace.took)
        sources = [s for s in tenant.sources if Search.is_askable(s, number, query.numeric_id)]
        if not sources:
            return self._ended(trace, tenant, text, Miss(reason=_why_not_asked(tenant, number)), trace.took)
        trace.cache = known[1] if known else "miss"
        trace.asked_at = trace.took
        return Question(
            tenant=tenant,
            number=number,
            numeric_id=query.numeric_id,
            sources=sources,
            key=key,
            generation=generation,
            older=known[0] if known and known[1] == "revalidate" else None,
        )

    def ask(self, question: Question, deadline: Deadline, trace: Trace, done: Callable[[Result], None]) -> None:
        """Have ``done``, which must not raise, called with the answer by the deadline, here or on any thread."""

        def end(result: Result) -> None:
            took = trace.took
            done(result)  # first: the answer need not wait for what is kept of it
            self._ended(trace, question.tenant, str(question.number), result, took)

        self._ask(question, deadline, trace, end)

    def _ask(self, question: Question, deadline: Deadline, trace: Trace, done: Callable[[Result], None]) -> None:
        def end(result: Result) -> None:
            if not isinstance(result, Hit | Miss):
                result = self._stale(question, trace) or result
            trace.left = deadline.remaining
            done(result)

        if deadline.is_over:  # the caller has hung up while the request waited
            end(TimedOut())
            return
        self._give_up_overdue()
        inquiry, is_new = self._inquiry(question, trace)
        try:
            if question.older:
                inquiry.let_go()
                end(question.older)
            else:
                inquiry.answer(deadline, trace, end)
        except RuntimeError as error:
            end(failure(error, question.tenant, "all", "wait"))
        finally:
            if is_new:  # last: its thread wakes at once, and would wait for this one
                self._start(inquiry)

    def change(self, tenant_id: str, number: str) -> None:
        """Have the CRM asked for the number again, everywhere; what is known is kept for the case that it fails."""
        if self._shared:
            self._shared.change(tenant_id, number)
        self._generations.bump(tenant_id, number)  # last: what Redis gives until now is not taken for the new

    def forget(self, tenant_id: str, number: str | None = None) -> bool:
        """Drop every kept answer for the number, or all of the customer's; tell whether Redis has done so, too."""
        is_done = self._shared is None or self._shared.forget(tenant_id, number)
        self._generations.forget(tenant_id, number)  # last: what Redis gives until now is not kept
        return is_done

    def _ended(self, trace: Trace, tenant: Tenant, number: str, result: R, took: float) -> R:
        try:
            self._keep_trace(trace, tenant.id, number, result, took)
        except Exception as error:  # no answer may hang on that, nor be given twice
            log.error("trace_not_kept", error=type(error).__name__, place=place_of(error))
        return result

    def _inquiry(self, question: Question, trace: Trace) -> tuple[Inquiry, bool]:
        """Return the inquiry that is on its way, or a new one, and whether it is one."""
        flight = question.flight
        with self._lock:
            if known := self._inquiries.get(flight):
                trace.joined = known.trace.id
                return known, False
            inquiry = Inquiry(question=question, trace=trace, tools=self._tools, land=self._land)
            self._inquiries[flight] = inquiry
            return inquiry, True

    def _start(self, inquiry: Inquiry) -> None:
        try:
            if self._shared:
                self._tools.pool.submit(self._inquire_with_others, self._shared, inquiry)
            else:
                inquiry.start(self._bulkheads)
        except Exception as error:  # whoever joins must not wait for nothing
            inquiry.end(failure(error, inquiry.question.tenant, "all", "start"))

    def _land(self, inquiry: Inquiry, result: Result) -> None:
        question = inquiry.question
        answer = kept(result, question.tenant.lookup) if inquiry.has_begun else None
        if answer:  # what came from elsewhere was put when it arrived
            self._cache.put(question.key, answer, question.generation)
        with self._lock:
            self._inquiries.pop(question.flight, None)

    def _give_up_overdue(self) -> None:
        """Free what adapters hold that do not come back; the oldest come first, so this looks at one inquiry more."""
        with self._lock:
            overdue = list(takewhile(lambda inquiry: inquiry.overdue.is_over, self._inquiries.values()))
        for inquiry in overdue:
            inquiry.give_up()

    def _inquire_with_others(self, shared: SharedAnswers, inquiry: Inquiry) -> None:
        """Ask the sources unless another process has the answer or is about to."""
        question, trace = inquiry.question, inquiry.trace
        asked_at = trace.took

        def begin() -> None:
            trace.add("Redis", asked_at, "the CRM is asked here")
            inquiry.start(self._bulkheads)

        def arrived(known: Kept) -> None:
            trace.add("Redis", asked_at, "an answer")
            self._cache.put(question.key, known, question.generation)
            if known.fresh > 0:
                trace.cache = "shared"
            elif known.revalidate > 0:
                inquiry.offer(known.result)

        def keep(found: Result) -> Kept | None:
            return kept(found, question.tenant.lookup)

        try:
            result = shared.ask(inquiry, begin, keep, inquiry.overdue, arrived=arrived)
        except Exception as error:
            result = failure(error, question.tenant, "redis", "ask")
        inquiry.end(result)

    def _stale(self, question: Question, trace: Trace) -> Hit | None:
        """Return what was known before, here or elsewhere, marked as such."""
        generation = self._generations.current(question.tenant.id, str(question.number))  # it may have been forgotten
        known = self._cache.get(question.key, generation)
        if known is None or not isinstance(known[0], Hit):
            return None
        trace.cache = "stale"
        return replace(known[0], is_stale=True)


def query_number(tenant: Tenant, query: LookupQuery) -> PhoneNumber | None:
    """Return the number that is the contact's; ``None`` when it is the customer's own (specs/README.md)."""
    user = query.user
    ids = {user.id, user.email, user.mobile_phone} - {None} if user else ()
    for number in (query.number, query.to_number):
        if number is not None and number.e164 not in tenant.own_numbers and number.raw not in ids:
            return number
    return None


def _why_not_asked(tenant: Tenant, number: PhoneNumber) -> str:
    if not tenant.sources:
        return "No CRM is connected."
    return f"The number is {number.kind.value}: no CRM is asked."
