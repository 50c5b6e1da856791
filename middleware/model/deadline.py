"""A moment after which nobody waits any more."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

Clock = Callable[[], float]  # monotonic seconds


@dataclass(frozen=True, slots=True)
class Deadline:
    """A monotonic moment, handed down from call to call and never restarted."""

    at: float
    clock: Clock = field(default=time.monotonic, compare=False)

    @classmethod
    def after(cls, span: timedelta, clock: Clock = time.monotonic) -> Deadline:
        """Return the deadline that lies ``span`` from now."""
        return cls(clock() + span.total_seconds(), clock)

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self.at - self.clock())

    @property
    def is_over(self) -> bool:
        """Whether the moment has passed."""
        return self.clock() >= self.at


@dataclass(frozen=True, slots=True)
class LongDeadline(Deadline):
    """The end of work that takes long, of which no single step may: each has ``step`` seconds."""

    step: float = 30.0

    @property
    def remaining(self) -> float:
        """Seconds left for the step that begins now, never negative."""
        return max(0.0, min(self.step, self.at - self.clock()))
