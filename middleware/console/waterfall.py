"""Where the time of a lookup went, against the three seconds that M8Com waits (specs/001)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RULER = 3000.0  # milliseconds
_LEAST = 4.0  # of the drawing's 1000 units: a step of nothing is still seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A step: what it waited for a thread and what it took, in milliseconds and as places of a drawing 1000 wide."""

    label: str
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
    bars = [_bar(step, total, scale) for step in steps]
    end = min(total, max((bar.begin + bar.took for bar in bars), default=0.0))
    label = "everything else: cache, waiting, the card" if steps else "the cache"
    bars.append(_bar({"name": label, "begin": end, "took": total - end, "queued": 0}, total, scale))
    return Waterfall(
        bars=bars,
        marks=[round(second * 1000 * scale, 1) for second in range(1, int(max(RULER, total) / 1000) + 1)],
        budget_x=round(budget_ms * scale, 1) if budget_ms else None,
        total=total,
    )


def _bar(step: dict[str, Any], total: float, scale: float) -> Bar:
    begin, queued = step["begin"], step["queued"]
    took = max(total - begin, 0.0) if step["took"] is None else step["took"]
    return Bar(
        label=" · ".join(filter(None, (step.get("source"), step["name"]))),
        note=step.get("note", ""),
        begin=begin,
        queued=queued,
        took=took,
        is_over=step["took"] is not None,
        queue_x=round(max(begin - queued, 0.0) * scale, 1),
        x=round(min(begin * scale, 1000 - _LEAST), 1),
        width=round(max(took * scale, _LEAST), 1),
    )
