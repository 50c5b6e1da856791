"""One question to all sources of a customer, shared by everybody who asks it meanwhile.

Until 60 % of a caller's budget sources are taken in their order of priority, afterwards the best that is
there.  At the deadline a contact is answered with the activities that have come.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass, field, replace
from functools import partial
from threading import Condition

from middleware.generations import Generation
from middleware.lookup.assemble import assemble
from middleware.lookup.cache import Age, Key
from middleware.lookup.card import Busy, Failed, Found, Hit, Miss, Result, TimedOut
from middleware.lookup.search import Search, Tools, failure
from middleware.lookup.slots import Bulkheads, Slot
from middleware.lookup.trace import Trace
from middleware.model.activity import Call
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Source, Tenant

PRIORITY_WINDOW = 0.6  # of the budget
OWN_CALLS_PATIENCE = 0.2  # seconds that a card waits for the calls of our own inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """Who has ``number``, or the id that was typed?  ``generation`` is the number's before a CRM was asked."""

    tenant: Tenant
    number: PhoneNumber
    numeric_id: str | None
    sources: Sequence[Source]
    key: Key
    generation: Generation


@dataclass(slots=True, kw_only=True)
class Inquiry:
    """The searches that answer one question; ``finished`` brings the whole answer."""

    question: Question
    trace: Trace
    tools: Tools
    finished: Future[Result] = field(default_factory=Future)
    _searches: list[tuple[Search, Slot] | None] = field(default_factory=list)  # in order of priority; None is busy
    _results: dict[int, Found | Result] = field(default_factory=dict)
    _own_calls: Future[Sequence[Call]] | None = None
    _window: Deadline | None = None
    _older: Hit | Miss | None = None  # good enough to be answered at once
    _is_let_go: bool = False
    _changed: Condition = field(default_factory=Condition)

    def start(self, bulkheads: Bulkheads) -> None:
        """Ask every source that has a slot left."""
        question = self.question
        tenant, number, numeric_id = question.tenant, question.number, question.numeric_id
        if tenant.lookup.own_calls and question.generation.changed:  # else no call was logged for the number
            self._own_calls = self.tools.pool.submit(self.tools.own_calls, tenant, number)
        for source in question.sources:
            slot = bulkheads.of(tenant, source).take()
            search = Search(tenant, source, number, numeric_id, self.trace, self.tools)
            self._searches.append((search, slot) if slot else None)
        if self._is_let_go:
            self.let_go()
        for place, taken in enumerate(self._searches):
            if taken:
                taken[0].start(partial(self._report, place))
            else:
                self._report(place, Busy())

    def wait(self, deadline: Deadline, trace: Trace) -> Result:
        """Return the answer that is right for a caller who has until ``deadline``."""
        window = self._window_of(deadline)
        with self._changed:
            while (found := self._decided(window)) is None and not self._is_over and not deadline.is_over:
                self._changed.wait(deadline.remaining if window.is_over else min(window.remaining, deadline.remaining))
        trace.left_out += self._left_out()
        if self.finished.done():
            return self.finished.result()
        if self._older:
            trace.cache = Age.REVALIDATE.value
            return self._older
        if found is None:
            found = self._partial()
        self.let_go()  # what is still missing is for the cache
        return self._finish(found) if found else TimedOut()

    def let_go(self) -> None:
        """Have the searches go on as late ones: nobody waits for them."""
        self._is_let_go = True
        for taken in self._searches:
            if taken:
                taken[1].make_late()

    def offer(self, older: Hit | Miss) -> None:
        """Give everybody who waits an answer that is good enough while the searches, which begin now, bring another."""
        self.let_go()
        with self._changed:
            self._older = older
            self._changed.notify_all()

    @property
    def has_begun(self) -> bool:
        """Whether a source was asked here, and not elsewhere."""
        return bool(self._searches)

    def end(self, result: Result) -> None:
        """Give everybody who waits the whole answer."""
        with self._changed:
            self.finished.set_result(result)
            self._changed.notify_all()

    @property
    def _is_over(self) -> bool:
        return self.finished.done() or self._older is not None

    def _report(self, place: int, result: Found | Result) -> None:
        taken = self._searches[place]
        if taken:
            taken[1].give_back()
        with self._changed:
            self._results[place] = result
            is_last = len(self._results) == len(self._searches)
            if not is_last:
                self._changed.notify_all()
        if is_last:
            self.end(self._conclusion())

    def _window_of(self, deadline: Deadline) -> Deadline:
        """Return when priority ends: those who join later do not begin to wait anew."""
        spare = self.question.tenant.lookup.budget.total_seconds() * (1 - PRIORITY_WINDOW)
        window = replace(deadline, at=deadline.at - spare)
        if self._window is None or window.at < self._window.at:
            self._window = window
        return self._window

    def _decided(self, window: Deadline) -> list[Found] | None:
        """Return what is answered without waiting for the rest, or ``None`` while that cannot be told."""
        if self.question.tenant.lookup.merge:
            return (self._founds() or None) if window.is_over else None
        for place in range(len(self._searches)):
            result = self._results.get(place)
            if isinstance(result, Found):
                return [result]
            if result is None and not window.is_over:
                return None
        return None

    def _founds(self) -> list[Found]:
        founds = [r for place in sorted(self._results) if isinstance(r := self._results[place], Found)]
        return founds if self.question.tenant.lookup.merge else founds[:1]

    def _partial(self) -> list[Found]:
        """Return the best that is there at the deadline."""
        founds = self._founds()
        if founds and not self.question.tenant.lookup.merge:
            return founds
        pending = [taken[0] for place, taken in enumerate(self._searches) if taken and place not in self._results]
        return [*founds, *filter(None, (search.partial() for search in pending))]

    def _left_out(self) -> list[str]:
        """Return in words what the answer lacks."""
        words = []
        for place, taken in enumerate(self._searches):
            result = self._results.get(place)
            name = self.question.sources[place].name
            if isinstance(result, Busy | Failed | TimedOut):
                words.append(f"{name}: {getattr(result, 'reason', 'all slots are taken')}")
            elif taken and not isinstance(result, Miss):
                words += [f"{name}: {part}" for part in taken[0].missing()]
        return words

    def _conclusion(self) -> Result:
        """Return the answer when every source has ended; a failure may hide a contact and outranks a miss."""
        results = [self._results[place] for place in sorted(self._results)]
        founds = self._founds()
        if founds and self._own_calls:
            wait([self._own_calls], OWN_CALLS_PATIENCE)
        if founds:
            best = results.index(founds[0])
            lacking = results if self.question.tenant.lookup.merge else results[:best]
            return self._finish(founds, lacks=any(not isinstance(r, Found | Miss) for r in lacking))
        for kind in (TimedOut, Failed, Busy, Miss):
            for result in results:
                if isinstance(result, kind):
                    return result
        raise AssertionError("a question has a source")

    def _finish(self, founds: Sequence[Found], *, lacks: bool = False) -> Hit | Failed:
        tenant = self.question.tenant
        try:
            card = assemble([found.card for found in founds], self._own_calls_now())
            body = self.tools.dump(card, tenant.lookup.deprecated_names)
        except Exception as error:
            return failure(error, tenant, self.question.sources[0].name, "assemble")
        return Hit(body=body, is_partial=lacks or any(found.is_partial for found in founds))

    def _own_calls_now(self) -> Sequence[Call]:
        """Return the calls that we logged, if they are there: a card without them is better than none."""
        own = self._own_calls
        return own.result() if own and own.done() and not own.exception() else ()
