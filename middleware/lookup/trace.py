"""Where the time of a lookup went."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from middleware.model.deadline import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One step: ``begin`` seconds after the trace began, ``took`` seconds, and how it ended."""

    name: str
    begin: float
    took: float
    note: str = ""


@dataclass(slots=True)
class Trace:
    """The steps of one lookup, in the order they ended; appended to by several threads."""

    clock: Clock = time.monotonic
    spans: list[Span] = field(default_factory=list)
    began: float = field(init=False)
    cache: str = "none"  # none, hit, miss

    def __post_init__(self) -> None:
        self.began = self.clock()

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        """Record the enclosed step; an exception is noted by its class and goes on."""
        begin = self.clock()
        note = ""
        try:
            yield
        except BaseException as error:
            note = type(error).__name__
            raise
        finally:
            self.spans.append(Span(name=name, begin=begin - self.began, took=self.clock() - begin, note=note))

    def server_timing(self) -> str:
        """Return the spans as a ``Server-Timing`` header (milliseconds), the whole time last."""
        parts = [f"{span.name};dur={span.took * 1000:.1f}" for span in tuple(self.spans)]
        return ", ".join([*parts, f"total;dur={(self.clock() - self.began) * 1000:.1f}"])
