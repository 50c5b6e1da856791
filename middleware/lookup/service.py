"""The way a number takes to an answer.

1. The contact's number: the caller's, or the called one when the caller is the customer himself.
2. What no CRM can know (withheld, internal, own, impossible) is a miss at once.
3. A fresh answer is given as the bytes it was serialised to once.
4. Otherwise every source of the customer is asked, each in its own bounded slots; callers with the same
   question share one search.  The first source in order of priority that has the contact wins.
5. At the deadline the contact is answered with the activities that have come.  What is late fills the cache.

An error, a full slot and a time-out are results of their own and are never kept or shown as a miss.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future
from threading import BoundedSemaphore, Lock

from middleware.crm.threads import DaemonPool
from middleware.generations import Generations
from middleware.lookup.cache import AnswerCache, Key
from middleware.lookup.card import Busy, Failed, Hit, Miss, Result, TimedOut
from middleware.lookup.search import Dump, Search, query_number
from middleware.lookup.trace import Trace
from middleware.model.call import LookupQuery
from middleware.model.deadline import Clock, Deadline
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Source, Tenant


class LookupService:
    """Answers lookups; one per process, shared by its threads."""

    def __init__(self, *, dump: Dump, generations: Generations, clock: Clock = time.monotonic) -> None:
        self._dump = dump
        self._generations = generations
        self._clock = clock
        self._cache = AnswerCache(clock=clock)
        self._pool = DaemonPool("lookup")
        self._lock = Lock()
        self._flights: dict[Key, Search] = {}
        self._slots: dict[tuple[str, str, int], BoundedSemaphore] = {}

    def lookup(self, tenant: Tenant, query: LookupQuery, deadline: Deadline, trace: Trace) -> Result:
        """Return what is known of the caller before ``deadline``."""
        number = query_number(tenant, query)
        if number is None:
            return Miss(reason="The number is the customer's own.")
        sources = [s for s in tenant.sources if Search.is_askable(s, number, query.numeric_id)]
        if not sources:
            return Miss(reason=_why_not_asked(tenant, number))
        searches = [self._start(tenant, source, number, query.numeric_id, trace) for source in sources]
        return self._best(searches, deadline)

    def _start(
        self, tenant: Tenant, source: Source, number: PhoneNumber, numeric_id: str | None, trace: Trace
    ) -> Search | Hit | Miss | Busy:
        """Return the cached answer, or the search that is on its way, or a new one, or that all slots are taken."""
        key = (tenant.id, tenant.revision, source.name, str(number), numeric_id or "")
        generation = self._generations.current(tenant.id, str(number))
        cached = self._cache.get(key, generation)
        trace.cache = "hit" if cached else "miss"
        if cached:
            return cached
        flight = (*key, str(generation))
        with self._lock:
            if flight in self._flights:
                return self._flights[flight]
            slots = self._slots_of(tenant, source)
            if not slots.acquire(blocking=False):
                return Busy()
            search = Search(
                tenant=tenant,
                source=source,
                number=number,
                numeric_id=numeric_id,
                dump=self._dump,
                pool=self._pool,
                trace=trace,
                clock=self._clock,
            )
            self._flights[flight] = search

        def land(finished: Future[Result]) -> None:
            self._keep(tenant, key, generation, finished.result())
            with self._lock:
                self._flights.pop(flight, None)
            slots.release()

        search.finished.add_done_callback(land)
        self._pool.submit(search.run)
        return search

    def _best(self, searches: Sequence[Search | Hit | Miss | Busy], deadline: Deadline) -> Result:
        """Return the first hit in order of priority; without one, a failure before a miss: it may hide a contact."""
        results: list[Result] = []
        for search in searches:
            result = _result_by(search, deadline) if isinstance(search, Search) else search
            if isinstance(result, Hit):
                return result
            results.append(result)
        for kind in (TimedOut, Failed, Busy):
            for result in results:
                if isinstance(result, kind):
                    return result
        return results[0]

    def _keep(self, tenant: Tenant, key: Key, generation: int, result: Result) -> None:
        config = tenant.lookup
        if isinstance(result, Hit):
            # a card that lacks a part is asked for again soon
            fresh = min(config.cache_miss, config.cache_hit) if result.is_partial else config.cache_hit
            self._cache.put(key, result, generation=generation, fresh=fresh)
        elif isinstance(result, Miss):
            self._cache.put(key, result, generation=generation, fresh=config.cache_miss)

    def _slots_of(self, tenant: Tenant, source: Source) -> BoundedSemaphore:
        count = tenant.lookup.slots
        return self._slots.setdefault((tenant.id, source.name, count), BoundedSemaphore(count))


def _result_by(search: Search, deadline: Deadline) -> Result:
    try:
        return search.finished.result(timeout=deadline.remaining)
    except TimeoutError:
        return search.partial()


def _why_not_asked(tenant: Tenant, number: PhoneNumber) -> str:
    if not tenant.sources:
        return "No CRM is connected."
    return f"The number is {number.kind.value}: no CRM is asked."
