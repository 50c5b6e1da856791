"""One question to all sources of a customer, shared by everybody who asks it meanwhile.

Nobody waits on a thread: whoever brings something, a search or an alarm, answers those whose moment has come.
Until 60 % of a caller's budget sources are taken in their order of priority, afterwards the best that is
there.  At the deadline a contact is answered with the activities that have come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from threading import Lock

from middleware.errors import StorageError
from middleware.generations import Generation
from middleware.lookup.alarms import Alarm
from middleware.lookup.assemble import assemble
from middleware.lookup.cache import Key
from middleware.lookup.card import Busy, Failed, Found, Hit, Miss, Result, TimedOut
from middleware.lookup.search import HARD_DEADLINE, Search, Tools, failure
from middleware.lookup.slots import Bulkheads, Slot
from middleware.lookup.trace import Trace
from middleware.model.activity import Call
from middleware.model.deadline import Deadline
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Source, Tenant

Flight = tuple[Key, Generation]
PRIORITY_WINDOW = 0.6  # of the budget
OWN_CALLS_PATIENCE = 0.2  # seconds that a card waits for the calls of our own inbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A number, or an id that was typed, and the sources to ask who has it.

    ``generation`` is the number's before a CRM was asked, ``older`` an answer that is good enough meanwhile.
    """

    tenant: Tenant
    number: PhoneNumber
    numeric_id: str | None
    sources: Sequence[Source]
    key: Key
    generation: Generation
    older: Hit | Miss | None = None

    @property
    def flight(self) -> Flight:
        """What those share who ask the same."""
        return self.key, self.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class SoFar:
    """An answer while the searches go on: everybody's when it is decided, else for those whose deadline comes."""

    hit: Hit
    is_decided: bool


@dataclass(slots=True, kw_only=True, eq=False)
class Waiter:
    """Somebody who has until ``deadline``; ``done`` is called with his answer, once, on whatever thread has it."""

    deadline: Deadline
    trace: Trace
    done: Callable[[Result], None]
    alarms: Sequence[Alarm]


@dataclass(slots=True, kw_only=True, eq=False)
class Inquiry:
    """The searches that answer one question; ``result`` is the whole answer, once it ``is_finished``.

    A *place* is a source's in the order of priority.  ``land`` is told of the end before anybody who waits.
    """

    question: Question
    trace: Trace
    tools: Tools
    land: Callable[[Inquiry, Result], None]
    is_finished: bool = False
    result: Result = field(default_factory=TimedOut)
    elsewhere: Hit | None = None  # what another process, which is waited for, would answer at a deadline
    overdue: Deadline = field(init=False)  # by then every adapter should have come back
    _searches: list[tuple[Search, Slot] | None] = field(default_factory=list)  # None is busy
    _results: dict[int, Found | Result] = field(default_factory=dict)
    _own_calls: Future[Sequence[Call]] | None = None
    _window: Deadline | None = None
    _older: Hit | Miss | None = None  # good enough to be answered at once
    _is_let_go: bool = False
    _is_ending: bool = False
    _waiters: list[Waiter] = field(default_factory=list)
    _lock: Lock = field(default_factory=Lock)  # of all that changes above
    _end: Lock = field(default_factory=Lock)  # held until then; an Event takes many times as long, and few wait
    _made: tuple[object, Hit | Failed] | None = None  # the latest answer, and what it was made of
    _making: Lock = field(default_factory=Lock)

    def __post_init__(self) -> None:
        self.overdue = Deadline.after(HARD_DEADLINE + timedelta(seconds=1), self.tools.clock)
        self._end.acquire()

    def wait(self, seconds: float = -1.0) -> bool:
        """Return whether the inquiry is finished after so many ``seconds``, or wait until it is."""
        if self._end.acquire(timeout=seconds):
            self._end.release()
        return self.is_finished

    def start(self, bulkheads: Bulkheads) -> None:
        """Ask every source that has a slot left."""
        question = self.question
        tenant, number, numeric_id = question.tenant, question.number, question.numeric_id
        for source in question.sources:
            slot = bulkheads.of(tenant, source).take()
            search = Search(tenant, source, number, numeric_id, self.trace, self.tools)
            self._searches.append((search, slot) if slot else None)
        if self._is_let_go:
            self.let_go()
        self._ask_for_own_calls()
        for place, taken in enumerate(self._searches):
            if taken is None:
                self._report(place, Busy())
                continue
            search, slot = taken
            try:
                search.start(slot, partial(self._report, place))
            except RuntimeError as error:  # the machine has no thread left
                slot.give_back()
                self._report(place, failure(error, tenant, search.source.name, "start"))

    def _ask_for_own_calls(self) -> None:
        question = self.question
        tenant, number = question.tenant, question.number
        is_likely = question.generation.changed or self.tools.is_history_shared  # else none was logged for the number
        if tenant.lookup.own_calls and is_likely and not question.numeric_id:  # an id may be somebody else's
            with suppress(RuntimeError):
                self._own_calls = self.tools.pool.submit(self.tools.own_calls, tenant, number)

    def answer(self, deadline: Deadline, trace: Trace, done: Callable[[Result], None]) -> None:
        """Have ``done`` called with the answer that is right for a caller who has until ``deadline``.

        Raises ``RuntimeError`` when the machine has no thread left for the alarms; ``done`` is not called then.
        """
        moments = [self._window_of(deadline), deadline] if len(self.question.sources) > 1 else [deadline]
        alarms = [self.tools.alarms.set(moment, self.look) for moment in moments]
        with self._lock:
            self._waiters.append(Waiter(deadline=deadline, trace=trace, done=done, alarms=alarms))
            is_something_there = bool(self._results) or self._is_over
        if is_something_there or deadline.is_over:  # else whoever brings the first thing looks, or the alarm
            self.look()

    def look(self) -> None:
        """Answer those who wait and whose moment has come."""
        with self._lock:
            if not self._waiters:
                return
            founds = self._decided(self._window)
            is_everybodys = founds is not None or self._is_over
            ready = [waiter for waiter in self._waiters if is_everybodys or waiter.deadline.is_over]
            self._waiters = [waiter for waiter in self._waiters if waiter not in ready]
        for waiter in ready:
            for alarm in waiter.alarms:
                alarm.ring = None
            try:
                result = self._answer_now(waiter.trace, founds)
            except Exception as error:  # whoever waits must be told
                result = failure(error, self.question.tenant, "all", "answer")
            waiter.done(result)

    def _answer_now(self, trace: Trace, founds: dict[int, Found] | None) -> Result:
        if self._older and not self.is_finished:
            trace.cache = "revalidate"
            return self._older
        founds = self._partial() if founds is None else founds
        if not isinstance(self.result, Hit) or self.result.is_partial:  # else nothing is
            trace.left_out += self._left_out(founds)
        trace.dropped += self._dropped(founds)
        if self.is_finished:
            return self.result
        self.let_go()  # what is still missing is for the cache
        return self._finish(founds) if founds else self.elsewhere or TimedOut()

    def so_far(self) -> SoFar | None:
        """Return what those who wait in other processes may be given by now."""
        window = self._window or self._window_of(Deadline.after(self.question.tenant.lookup.budget, self.tools.clock))
        with self._lock:
            decided = self._decided(window)
        founds = self._partial() if decided is None else decided
        answer = self._finish(founds) if founds else None
        return SoFar(hit=answer, is_decided=decided is not None) if isinstance(answer, Hit) else None

    def let_go(self) -> None:
        """Have the searches go on as late ones: nobody waits for them."""
        self._is_let_go = True
        for taken in self._searches:
            if taken:
                taken[1].make_late()

    def offer(self, older: Hit | Miss) -> None:
        """Give everybody who waits an answer that is good enough while the searches, which begin now, bring another."""
        self.let_go()
        self._older = older
        self.look()

    @property
    def has_begun(self) -> bool:
        """Whether a source was asked here, and not elsewhere."""
        return bool(self._searches)

    def give_up(self) -> None:
        """Go on without the adapters that have not come back; their threads are lost until they do."""
        for place, taken in enumerate(self._searches):
            if taken and place not in self._results:
                taken[1].give_up()
                self._report(place, Failed(reason="CRMTimeoutError"))

    def end(self, result: Result) -> None:
        """Give everybody who waits the whole answer; what comes after the first one is too late."""
        with self._lock:
            if self._is_ending:
                return
            self._is_ending = True
        self.land(self, result)
        self.result = result
        self.is_finished = True
        self._end.release()
        self.look()

    @property
    def _is_over(self) -> bool:
        return self.is_finished or self._older is not None

    def _report(self, place: int, result: Found | Result) -> None:
        with self._lock:
            if place in self._results:
                return
            self._results[place] = result
            is_last = len(self._results) == len(self._searches)
        if is_last:
            self.end(self._conclusion())
        else:
            self.look()

    def _window_of(self, deadline: Deadline) -> Deadline:
        """Return when priority ends: those who join later do not begin to wait anew."""
        spare = self.question.tenant.lookup.budget.total_seconds() * (1 - PRIORITY_WINDOW)
        window = replace(deadline, at=deadline.at - spare)
        if self._window is None or window.at < self._window.at:
            self._window = window
        return self._window

    def _decided(self, window: Deadline | None) -> dict[int, Found] | None:
        """Return what is answered without waiting for the rest, or ``None`` while that cannot be told."""
        if window and window.is_over:
            return self._founds() or None
        if self.question.tenant.lookup.merge:
            return None
        for place in range(len(self._searches)):
            result = self._results.get(place)
            if isinstance(result, Found):
                return {place: result}
            if result is None:
                return None
        return None

    def _founds(self) -> dict[int, Found]:
        """Return what is to be shown of what the sources have brought, by place."""
        return self._chosen({p: found for p, found in self._results.items() if isinstance(found, Found)})

    def _chosen(self, founds: dict[int, Found]) -> dict[int, Found]:
        best = sorted(founds) if self.question.tenant.lookup.merge else sorted(founds)[:1]
        return {place: founds[place] for place in best}

    def _partial(self) -> dict[int, Found]:
        """Return the best that is there at the deadline."""
        founds = self._founds()
        if founds and not self.question.tenant.lookup.merge:
            return founds
        for place, taken in enumerate(self._searches):
            part = taken[0].partial() if taken and place not in self._results else None
            if part:
                founds[place] = part
        return self._chosen(founds)

    def _missed(self, founds: Mapping[int, Found]) -> list[int]:
        """Return the places whose contact would have been shown, or shown, too, if it had come."""
        everybody = not founds or self.question.tenant.lookup.merge
        places = range(len(self._searches) if everybody else min(founds))
        return [place for place in places if not isinstance(self._results.get(place), Found | Miss)]

    def _left_out(self, founds: Mapping[int, Found]) -> list[str]:
        """Return in words what the answer lacks."""
        words = []
        for place in sorted({*self._missed(founds), *founds}):
            result, taken, name = self._results.get(place), self._searches[place], self.question.sources[place].name
            if isinstance(result, Failed):
                words.append(f"{name}: {result.words}")
            elif isinstance(result, Busy):
                words.append(f"{name}: all slots are taken")
            elif taken:
                words += [f"{name}: {part}" for part in taken[0].missing()]
        return words

    def _dropped(self, founds: Mapping[int, Found]) -> list[str]:
        """Return in words who has the contact, too, and was not wanted."""
        if not founds:
            return []
        chosen = self.question.sources[min(founds)].name
        others = [p for p, result in sorted(self._results.items()) if isinstance(result, Found) and p not in founds]
        return [f"{self.question.sources[place].name}: its contact, since {chosen} has one" for place in others]

    def _conclusion(self) -> Result:
        """Return the answer when every source has ended; a failure may hide a contact and outranks a miss."""
        founds = self._founds()
        if founds:
            if self._own_calls:
                wait([self._own_calls], OWN_CALLS_PATIENCE)
            return self._finish(founds)
        for kind in (TimedOut, Failed, Busy, Miss):
            for place in sorted(self._results):
                result = self._results[place]
                if isinstance(result, kind):
                    return result
        raise AssertionError("a question has a source")

    def _finish(self, founds: Mapping[int, Found]) -> Hit | Failed:
        """Return the answer; made once for all who wait, for making it takes long when a card is large."""
        tenant = self.question.tenant
        is_partial = bool(self._missed(founds)) or any(found.is_partial for found in founds.values())
        with self._making:
            own_calls = self._own_calls_now()
            made_of = (founds, own_calls, is_partial)
            if self._made and self._made[0] == made_of:
                return self._made[1]
            try:
                with self.trace.span("assembly"):
                    card = assemble([found.card for found in founds.values()], own_calls)
                    body = self.tools.dump(card, tenant.lookup.deprecated_names)
                answer: Hit | Failed = Hit(body=body, is_partial=is_partial)
            except Exception as error:
                answer = failure(error, tenant, self.question.sources[min(founds)].name, "assemble")
            self._made = made_of, answer
            return answer

    def _own_calls_now(self) -> Sequence[Call]:
        """Return the calls that we logged, if they are there: a card without them is better than none."""
        own = self._own_calls
        if own is None or not own.done():
            return ()
        error = own.exception()
        if error:
            self._own_calls = None  # told once
            if not isinstance(error, StorageError):  # the inbox and its workers tell of it
                failure(error, self.question.tenant, "own calls", "list")
            return ()
        return own.result()
