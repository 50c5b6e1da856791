"""Where the time of a lookup went, against the three seconds that M8Com waits (specs/001)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RULER = 3000.0  # milliseconds
_LEAST = 4.0  # of the drawing's 1000 units: a step of nothing is still seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A step, or at ``level`` 1 a request of the step above it: what it waited before it began and what it took.

    In milliseconds, and as places of a drawing 1000 wide.
    """

    label: str
    level: int
    note: str
    begin: float
    queued: float
    took: float
    is_over: bool
    queue_x: float
    x: float
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Waterfall:
    """The steps in the order they began; ``marks`` are the seconds, ``budget_x`` is where the customer's time ends."""

    bars: list[Bar]
    marks: list[float]
    budget_x: float | None
    total: float


def draw(told: dict[str, Any], budget_ms: float | None = None) -> Waterfall:
    """Return the drawing of a kept trace (``KeptTrace.document``)."""
    total = float(told["ms"])
    scale = 1000 / max(RULER, total)
    steps = [step for step in told["steps"] if step["begin"] <= total]  # those begun later are for the cache
    return Waterfall(
        bars=[_bar(step, total, scale) for step in steps],
        marks=[round(second * 1000 * scale, 1) for second in range(1, int(max(RULER, total) / 1000) + 1)],
        budget_x=round(budget_ms * scale, 1) if budget_ms else None,
        total=total,
    )


def _bar(step: dict[str, Any], total: float, scale: float) -> Bar:
    begin, queued, level = step["begin"], step["queued"], step.get("level", 0)
    took = max(total - begin, 0.0) if step["took"] is None else step["took"]
    return Bar(
        label=step["name"] if level else " · ".join(filter(None, (step.get("source"), step["name"]))),
        level=level,
        note=step.get("note", ""),
        begin=begin,
        queued=queued,
        took=took,
        is_over=step["took"] is not None,
        queue_x=round(max(begin - queued, 0.0) * scale, 1),
        x=round(min(begin * scale, 1000 - _LEAST), 1),
        width=round(max(took * scale, _LEAST), 1),
    )
