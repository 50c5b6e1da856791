"""What happened in one lookup, and where its time went."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import timedelta
from operator import attrgetter
from typing import Any

import orjson

from middleware.model.deadline import Clock, Deadline

MAX_PARTS = 50  # requests of a step that are kept: an adapter may page for long
_CACHE_WORDS = {  # of ``Trace.cache``, for people
    "none": "not asked",
    "miss": "nothing there, the CRM was asked",
    "fresh": "answered from it",
    "revalidate": "answered from it, and the CRM was asked again",
    "stale": "answered from it, since the CRM gave no answer",
    "shared": "answered from Redis",
}


def cache_words(cache: str, outcome: str) -> str:
    """Return for people what the cache had (``Trace.cache``) for a lookup that ended so (``outcome_of``)."""
    if cache == "stale" and outcome != "stale hit":
        return "an old answer, in case that the CRM gave none"
    return _CACHE_WORDS.get(cache, cache)


@dataclass(slots=True, kw_only=True, eq=False)
class Span:
    """One step: ``begin`` seconds after the trace began, ``took`` seconds, and how it ended.

    ``source`` is the CRM that was asked, ``queued`` how long the step waited before it began: for a thread, a
    request for its turn in the account's budget.  ``parts`` are a step's requests; their names hold nothing of
    what was asked for (:func:`middleware.crm.watch.name_of`).
    """

    name: str
    begin: float
    took: float | None = None  # None while it goes on
    note: str = ""
    source: str = ""
    queued: float = 0.0
    parts: list[Span] = field(default_factory=list)

    def waited(self, seconds: float) -> None:
        """Say that it waited so long for its turn and begins now."""
        self.queued += seconds
        self.begin += seconds

    def document(self, level: int = 0) -> list[dict[str, Any]]:
        """Return the step and below it its parts, in milliseconds."""
        told = {
            "name": self.name,
            "source": self.source,
            "level": level,
            "begin": _milliseconds(self.begin),
            "queued": _milliseconds(self.queued),
            "took": None if self.took is None else _milliseconds(self.took),
            "note": self.note,
        }
        return [told, *(part for span in tuple(self.parts) for part in span.document(level + 1))]


class Trace:
    """The steps of one lookup, in the order they began; appended to by several threads.

    ``cache`` is what the cache had: ``none`` (not asked), ``fresh``, ``revalidate``, ``stale``, ``miss``
    or ``shared`` (fresh in Redis).
    ``joined`` is the id of the lookup that asked the CRM for this one, too.  ``left_out`` says in words what
    is missing in the answer, and why, ``dropped`` what was there and is not shown; ``remarks`` what an adapter's
    author should know, where somebody asked for that.  ``known_at`` is when the caller had shown who he is, and
    ``asked_at`` when the cache had been asked (seconds); two numbers, since most lookups end there.
    """

    joined = ""
    left: float | None = None  # seconds of the budget that were left
    known_at = 0.0
    asked_at: float | None = None

    # not a dataclass: those take three times as long to make, and every fast answer makes one
    def __init__(self, id: str = "", *, cache: str = "none", clock: Clock = time.monotonic) -> None:
        self.began = clock()
        self.clock = clock
        self.id = id
        self.cache = cache
        self.spans: list[Span] = []
        self.left_out: list[str] = []
        self.dropped: list[str] = []
        self.remarks: list[str] = []

    def span(
        self, name: str, source: str = "", queued: float = 0.0, *, within: Span | None = None, least: float = 0.0
    ) -> AbstractContextManager[Span]:
        """Record the enclosed step; an exception is noted by its class and goes on.

        A step that takes less than ``least`` seconds and does not fail is not worth being told, nor are more than
        ``MAX_PARTS`` within another.
        """
        span = Span(name=name, begin=self.took, source=source, queued=queued)
        spans = self.spans if within is None else within.parts
        if within is None or len(spans) < MAX_PARTS:
            spans.append(span)
        return _Recording(self, span, spans, least)

    def add(self, name: str, begin: float, note: str = "") -> None:
        """Record a step that is just over."""
        self.spans.append(Span(name=name, begin=begin, took=self.took - begin, note=note))

    def deadline(self, budget: timedelta) -> Deadline:
        """Return the end of ``budget``, counted from the trace's beginning: what the request has waited counts."""
        return Deadline(self.began + budget.total_seconds(), self.clock)

    @property
    def took(self) -> float:
        """Seconds since the trace began."""
        return self.clock() - self.began

    def server_timing(self, took: float) -> str:
        """Return the finished spans as a ``Server-Timing`` header (milliseconds), last the whole that ``took`` (s)."""
        if not self.spans:  # as of every fast answer
            return f"cache;desc={self.cache}, total;dur={took * 1000:.1f}"
        parts = [f"{span.name};dur={span.took * 1000:.1f}" for span in tuple(self.spans) if span.took is not None]
        return ", ".join([f"cache;desc={self.cache}", *parts, f"total;dur={took * 1000:.1f}"])

    def document(self, took: float | None = None) -> dict[str, Any]:
        """Return what people and the console are shown; moments in milliseconds, ``took`` of what goes on is null.

        ``took`` is how long the lookup took (seconds), now by default.  A step's requests stand below it, at
        ``level`` 1.
        """
        took = self.took if took is None else took
        spans = [*self._first(took), *sorted(self.spans, key=lambda span: span.begin)]
        spans += self._last(took, spans)
        return {
            "cache": self.cache,
            "joined": self.joined or None,
            "budget_left": None if self.left is None else _milliseconds(self.left),
            "steps": [step for span in spans for step in span.document()],
            "left_out": list(self.left_out),
            "dropped": list(self.dropped),
            "remarks": list(self.remarks),
        }

    def packed(self, took: float) -> str:
        """Return what :func:`unpacked` makes the document of; making that here would hold up lookups."""
        return orjson.dumps((took, *_kept(self))).decode()

    def _first(self, took: float) -> list[Span]:
        """Return the steps before any CRM is asked."""
        authentication = Span(name="authentication", begin=0.0, took=self.known_at)
        asked_at = took if self.asked_at is None else self.asked_at
        cache = Span(name="cache", begin=self.known_at, took=max(asked_at - self.known_at, 0.0))
        return [*([authentication] if self.known_at else []), *([cache] if self.cache != "none" else [])]

    def _last(self, took: float, spans: Sequence[Span]) -> list[Span]:
        """Return what came after the last step that the answer waited for; what began later is for the cache."""
        if self.asked_at is None and self.cache != "none":  # the cache was all
            return []
        ends = [span.begin + (took if span.took is None else span.took) for span in spans if span.begin <= took]
        end = min(took, max(ends, default=0.0))
        return [Span(name="answer", begin=end, took=took - end)]


class _Recording(AbstractContextManager[Span]):  # a generator takes three times as long
    """Fills in a span when its step ends."""

    __slots__ = ("_least", "_span", "_spans", "_trace")

    def __init__(self, trace: Trace, span: Span, spans: list[Span], least: float) -> None:
        self._trace, self._span, self._spans, self._least = trace, span, spans, least

    def __enter__(self) -> Span:
        return self._span

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        span = self._span
        span.took = self._trace.took - span.begin
        if kind:
            span.note = f"{span.note}, {kind.__name__}" if span.note else kind.__name__
        elif self._least and span.took < self._least and span in self._spans:
            self._spans.remove(span)


_KEPT = ("cache", "joined", "left", "spans", "left_out", "dropped", "known_at", "asked_at", "remarks")
_kept = attrgetter(*_KEPT)


def unpacked(text: str) -> dict[str, Any]:
    """Return the document (:meth:`Trace.document`) of a trace that was packed."""
    took, *values = orjson.loads(text)
    trace = Trace()
    for name, value in zip(_KEPT, values, strict=True):
        setattr(trace, name, value)
    trace.spans = [_span(**span) for span in values[_KEPT.index("spans")]]
    return trace.document(took)


def _span(parts: list[dict[str, Any]], **facts: Any) -> Span:
    return Span(parts=[_span(**part) for part in parts], **facts)


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
