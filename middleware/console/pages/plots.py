"""Plots: lookups by outcome and how long they took, what senders sent, and what became of it."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from flask import abort, current_app, render_template, request
from flask.typing import ResponseReturnValue

from middleware.console.guard import needs
from middleware.console.plot import Plot, lines, stack
from middleware.console.roles import ALL, Role, Viewer
from middleware.console.section import Section
from middleware.metrics.history import DAY, TOTAL, Sample, quantile
from middleware.metrics.names import DELIVERY_ATTEMPTS, EVENTS, LOOKUP_SECONDS, LOOKUPS

section = Section("plots", __name__, title="Plots", roles=ALL)
# what stands lowest and has the first colour comes first; what is not here stands above, by name
_ORDER = {
    LOOKUPS.name: ("hit", "partial hit", "stale hit", "miss", "failed", "busy", "timed out"),
    EVENTS.name: ("accepted", "duplicate", "quarantined", "refused"),
    DELIVERY_ATTEMPTS.name: ("delivered", "retry", "wait", "parked", "dead", "paused", "ignored"),
}
ReadPast = Callable[..., list[Sample]]  # as ``Counts.read_past``
_QUANTILES = {"half of the lookups": 0.5, "95 of 100": 0.95, "99 of 100": 0.99}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """How far back a plot goes, in what steps, from samples of which span; all in seconds."""

    words: str
    seconds: int
    step: int
    span: int


WINDOWS = {
    "6h": Window(words="6 hours", seconds=6 * 3600, step=300, span=300),
    "2d": Window(words="2 days", seconds=2 * DAY, step=1800, span=300),
    "30d": Window(words="30 days", seconds=30 * DAY, step=6 * 3600, span=3600),
}


@section.get("")
@needs(ALL)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show the plots of a customer, or of all together."""
    parts = current_app.extensions["m8crm"]
    customer = request.args.get("customer", "").strip()
    if viewer.role is Role.CUSTOMER:
        customer = customer or viewer.customer or ""
    is_known = parts.tenants.get(customer) or parts.tenants.problem(customer)  # what was counted is there either way
    if customer and (not viewer.may_see(customer) or not is_known):
        abort(404)
    chosen = request.args.get("window", "")
    chosen = chosen if chosen in WINDOWS else "6h"
    try:
        plots = draw(parts.counts.read_past, customer or TOTAL, WINDOWS[chosen], parts.inbox.now())
    except sqlite3.Error:
        plots = []
    return render_template(
        "console/plots.html",
        section=section,
        customer=customer,
        windows=WINDOWS,
        chosen=chosen,
        plots=plots,
        is_customer=viewer.role is Role.CUSTOMER,
    )


def draw(read_past: ReadPast, customer: str, window: Window, now: datetime) -> list[Plot]:
    """Return the plots of a window that ends now."""
    samples = read_past(window.span, window.seconds, customer, step=window.step)
    last = int(now.timestamp()) // window.step * window.step
    begins = range(last - window.seconds + window.step, last + 1, window.step)
    moments = [datetime.fromtimestamp(begin, UTC) for begin in begins]
    stacks = {
        LOOKUPS.name: "Lookups by outcome",
        EVENTS.name: "Events that senders sent",
        DELIVERY_ATTEMPTS.name: "Attempts to write a call into a CRM, by outcome",
    }
    plots = []
    for i, (what, title) in enumerate(stacks.items()):
        found = _by_outcome(samples, what, begins, window.step)
        plots.append(stack(f"plot-{i}", title, moments, found, _colours(what, found)))
    took = _latencies(samples, begins, window.step)
    return [plots[0], lines("plot-took", "How long lookups took, in milliseconds", moments, took), *plots[1:]]


def _by_outcome(samples: Iterable[Sample], what: str, begins: range, step: int) -> dict[str, Sequence[float]]:
    found: dict[str, list[float]] = {}
    for sample in samples:
        if sample.what == what and (place := _place(sample, begins, step)) is not None:
            found.setdefault(sample.outcome, [0.0] * len(begins))[place] += sample.value
    order = _ORDER[what]
    known = {name: i for i, name in enumerate(order)}
    return {name: found[name] for name in sorted(found, key=lambda name: (known.get(name, len(order)), name))}


def _colours(what: str, found: Iterable[str]) -> dict[str, int]:
    order = _ORDER[what]
    return {name: order.index(name) if name in order else len(order) for name in found}


def _latencies(samples: Iterable[Sample], begins: range, step: int) -> dict[str, list[float | None]]:
    buckets = [[0.0] * (len(LOOKUP_SECONDS.bounds) + 1) for _ in begins]
    for sample in samples:
        if sample.what == LOOKUPS.name and (place := _place(sample, begins, step)) is not None:
            buckets[place][sample.bucket] += sample.value
    seconds = {name: [quantile(one, share) for one in buckets] for name, share in _QUANTILES.items()}
    return {name: [None if one is None else 1000 * one for one in values] for name, values in seconds.items()}


def _place(sample: Sample, begins: range, step: int) -> int | None:
    begin = sample.begin // step * step
    return begins.index(begin) if begin in begins else None
