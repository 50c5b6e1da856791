"""The past of what was counted: per customer and in total, and never more than is kept."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from middleware.metrics.counts import Counted, Counts
from middleware.metrics.history import DAY, SPANS, quantile
from middleware.metrics.names import BREAKER_OPEN_UNTIL, EVENTS, LOOKUP_SECONDS, LOOKUPS

BEGIN = 1_800_000_000.0  # a multiple of an hour


class Time:
    """A clock that is put on."""

    now = BEGIN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def counts(tmp_path: Path, time: Time) -> Iterator[Counts]:
    counted = Counts(tmp_path / "metrics.db", now=time)
    yield counted
    counted.publish()


def test_what_happened_is_kept_by_span(counts: Counts, time: Time) -> None:
    """A lookup is in its own five minutes and hour, of its customer and of the total, and in no other's."""
    counts.looked_up("acme", "hit", "fresh", 0.002)
    counts.looked_up("acme", "hit", "miss", 0.002)
    counts.publish()
    time.now += 300
    counts.looked_up("nova", "miss", "miss", 0.3)
    for span, begins in ((300, [BEGIN, BEGIN + 300]), (3600, [BEGIN, BEGIN])):
        total = [(s.begin, s.outcome, s.value) for s in counts.read_past(span, DAY)]
        assert total == [(begins[0], "hit", 2), (begins[1], "miss", 1)]
        assert [(s.outcome, s.value) for s in counts.read_past(span, DAY, "acme")] == [("hit", 2)]
    assert [s.outcome for s in counts.read_past(300, 0)] == ["miss"], "only what is asked for"


def test_longer_steps_have_what_their_spans_have(counts: Counts, time: Time) -> None:
    """Within a step what differs in nothing but its span is one number, and nothing of another step is in it."""
    for minutes in (0, 5, 55, 60):
        time.now = BEGIN + minutes * 60
        counts.looked_up("acme", "hit", "fresh", 0.002)
        counts.publish()
    assert [(s.begin, s.value) for s in counts.read_past(300, DAY, "acme", step=3600)] == [
        (BEGIN, 3),
        (BEGIN + 3600, 1),
    ]


def test_events_are_kept_by_outcome(counts: Counts) -> None:
    """Whoever sent them, events of one outcome are one number."""
    counts.add(EVENTS, "acme", "calllog", "accepted")
    counts.add(EVENTS, "acme", "pbx", "accepted", by=2)
    (sample,) = counts.read_past(300, DAY, "acme")
    assert (sample.what, sample.outcome, sample.value) == (EVENTS.name, "accepted", 3)


def test_what_is_old_is_removed(counts: Counts, time: Time, tmp_path: Path) -> None:
    """Whatever is counted for however long, no row outlives its span's time."""
    for day in range(40):
        time.now = BEGIN + day * DAY
        counts.looked_up(f"customer-{day}", "hit", "fresh", 0.001)
        counts.publish()
    with closing(sqlite3.connect(tmp_path / "metrics.db")) as database:
        for span, kept_for in SPANS.items():
            rows = database.execute("SELECT DISTINCT begin FROM history WHERE span = ?", (span,)).fetchall()
            assert len(rows) == kept_for // DAY + 1
            assert min(rows)[0] >= time.now - kept_for


def test_a_disk_that_refuses_loses_nothing(counts: Counts, tmp_path: Path) -> None:
    """What could not be written is written later."""
    (tmp_path / "metrics.db").mkdir()
    counts.looked_up("acme", "hit", "fresh", 0.001)
    counts.publish()
    (tmp_path / "metrics.db").rmdir()
    counts.looked_up("acme", "hit", "fresh", 0.001)
    (sample,) = counts.read_past(300, DAY, "acme")
    assert sample.value == 2


def test_a_customers_counts_are_his_alone(counts: Counts, time: Time) -> None:
    """Customers whose ids begin alike are told apart, and each count says when it changed last."""
    for customer in ("acme", "acme-2", "acm"):
        counts.looked_up(customer, "hit", "fresh", 0.001)
    counts.set(BREAKER_OPEN_UNTIL, 7, "acme", "hubspot")
    assert counts.read_customer("acme") == [
        Counted(name=BREAKER_OPEN_UNTIL.name, labels=("hubspot",), value=7, at=BEGIN),
        Counted(name=LOOKUPS.name, labels=("hit", "fresh"), value=1, at=BEGIN),
    ]


@pytest.mark.parametrize(
    ("buckets", "share", "seconds"),
    [
        ([100], 0.5, 0.0005),
        ([0, 100], 1.0, 0.005),
        ([50, 0, 50], 0.5, 0.001),
        ([50, 0, 50], 0.75, 0.0075),
        ([0] * len(LOOKUP_SECONDS.bounds) + [1], 0.5, 3.0),
        ([], 0.5, None),
    ],
)
def test_a_share_of_the_lookups_took_no_longer(buckets: list[float], share: float, seconds: float | None) -> None:
    """A quantile lies within the bucket of the lookup that it names, evenly; beyond the last bound it is that."""
    found = quantile(buckets, share)
    assert found == (None if seconds is None else pytest.approx(seconds))
