"""How moments, spans and amounts are written on a page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup


def moment(at: datetime) -> Markup:
    """Return a moment, to the second, in UTC."""
    at = at.astimezone(UTC)
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(timespec="seconds"), f"{at:%Y-%m-%d %H:%M:%S}")


def span(seconds: float) -> str:
    """Return a span with the unit that fits: ``12 s``, ``5 min``, ``3 h``, ``2 d``."""
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def milliseconds(ms: float) -> str:
    """Return milliseconds, to the tenth below ten."""
    return f"{ms:.1f} ms" if ms < 10 else f"{ms:.0f} ms"


def size(count: float | None) -> str:
    """Return bytes with the unit that fits."""
    if count is None:
        return "unknown"
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


FILTERS: dict[str, Callable[..., Any]] = {
    "moment": moment,
    "span": span,
    "milliseconds": milliseconds,
    "size": size,
}
