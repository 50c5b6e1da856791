"""What happened in one lookup, and where its time went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from middleware.model.deadline import Clock, Deadline

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


@dataclass(slots=True, kw_only=True)
class Span:
    """One step: ``begin`` seconds after the trace began, ``took`` seconds, and how it ended.

    ``source`` is the CRM that was asked, ``queued`` how long the step waited for a thread.
    """

    name: str
    begin: float
    took: float | None = None  # None while it goes on
    note: str = ""
    source: str = ""
    queued: float = 0.0


@dataclass(slots=True)
class Trace:
    """The steps of one lookup, in the order they began; appended to by several threads.

    ``cache`` is what the cache had: ``none`` (not asked), ``fresh``, ``revalidate``, ``stale``, ``miss``
    or ``shared`` (fresh in Redis).
    ``joined`` is the id of the lookup that asked the CRM for this one, too.  ``left_out`` says in words what
    is not in the answer, and why; ``remarks`` what an adapter's author should know, where somebody asked for that.
    """

    id: str = ""
    clock: Clock = time.monotonic
    cache: str = "none"
    joined: str = ""
    left: float | None = None  # seconds of the budget that were left
    began: float = field(init=False)
    spans: list[Span] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.clock()

    @contextmanager
    def span(self, name: str, source: str = "", queued: float = 0.0) -> Iterator[Span]:
        """Record the enclosed step; an exception is noted by its class and goes on."""
        begin = self.clock()
        span = Span(name=name, begin=begin - self.began, source=source, queued=queued)
        self.spans.append(span)
        try:
            yield span
        except BaseException as error:
            span.note = type(error).__name__
            raise
        finally:
            span.took = self.clock() - begin

    def deadline(self, budget: timedelta) -> Deadline:
        """Return the end of ``budget``, counted from the trace's beginning: what the request has waited counts."""
        return Deadline(self.began + budget.total_seconds(), self.clock)

    @property
    def took(self) -> float:
        """Seconds since the trace began."""
        return self.clock() - self.began

    def server_timing(self) -> str:
        """Return the finished spans as a ``Server-Timing`` header (milliseconds), the whole time last."""
        if not self.spans:  # as of every fast answer
            return f"cache;desc={self.cache}, total;dur={self.took * 1000:.1f}"
        parts = [f"{span.name};dur={span.took * 1000:.1f}" for span in tuple(self.spans) if span.took is not None]
        return ", ".join([f"cache;desc={self.cache}", *parts, f"total;dur={self.took * 1000:.1f}"])

    def document(self) -> dict[str, Any]:
        """Return what people and the console are shown; moments in milliseconds, ``took`` of what goes on is null."""
        steps = [
            {
                "name": span.name,
                "source": span.source,
                "begin": _milliseconds(span.begin),
                "queued": _milliseconds(span.queued),
                "took": None if span.took is None else _milliseconds(span.took),
                "note": span.note,
            }
            for span in sorted(self.spans, key=lambda span: span.begin)
        ]
        return {
            "cache": self.cache,
            "joined": self.joined or None,
            "budget_left": None if self.left is None else _milliseconds(self.left),
            "steps": steps,
            "left_out": list(self.left_out),
            "remarks": list(self.remarks),
        }


def _milliseconds(seconds: float) -> float:
    return round(seconds * 1000, 1)
