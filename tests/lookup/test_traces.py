"""What is kept of a lookup, for people who ask why a caller was not recognised."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from middleware.errors import StorageError
from middleware.lookup import traces
from middleware.lookup.card import Busy, Failed, Hit, Miss, Result, TimedOut
from middleware.lookup.trace import Trace
from middleware.lookup.traces import TraceLog
from tests.lookup.zoo import Desk, Hanging, Zoo, tenant_of

NUMBER = "+46701740605"
DAY = 86_400.0


class Moment:
    """A clock that a test sets."""

    now = 1_772_366_400.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def moment() -> Moment:
    return Moment()


@pytest.fixture
def kept(tmp_path: Path, moment: Moment) -> Iterator[TraceLog]:
    log = TraceLog(tmp_path / "traces.db", key=b"k", now=moment)
    yield log
    log.flush()


def add(kept: TraceLog, id: str = "1", number: str = NUMBER, cache: str = "miss", result: Result | None = None) -> None:
    trace = Trace(id=id, cache=cache)
    with trace.span("contact", "crm") as span:
        span.note = "found"
    kept.add(trace, "acme", number, result or Hit(body=b'{"displayName": "Ada Webb"}'), trace.took)


def test_lookup_is_found_by_its_id_its_customer_and_its_number(kept: TraceLog) -> None:
    """Customer Care has an id, a customer or a caller's number, and any of them leads to the trace."""
    add(kept, "1")
    add(kept, "2", number="+46701740699")
    assert [trace.id for trace in kept.list()] == ["2", "1"]
    assert [trace.id for trace in kept.list(trace_id="1")] == ["1"]
    assert [trace.id for trace in kept.list(customer="acme", number=NUMBER)] == ["1"]
    assert kept.list(customer="other") == []
    (step,) = (step for step in kept.list(trace_id="1")[0].steps["steps"] if step["source"])
    assert (step["name"], step["source"], step["note"]) == ("contact", "crm", "found")


def test_trace_holds_neither_number_nor_name(kept: TraceLog, tmp_path: Path) -> None:
    """Who reads the file learns nobody's number and no name."""
    add(kept)
    kept.flush()
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"contact" in stored
    assert NUMBER[1:].encode() not in stored
    assert b"Ada" not in stored


@pytest.mark.parametrize(
    ("result", "outcome", "reason"),
    [
        (Hit(body=b"{}"), "hit", None),
        (Hit(body=b"{}", is_partial=True), "partial hit", None),
        (Hit(body=b"{}", is_stale=True), "stale hit", None),
        (Miss(reason="Nobody."), "miss", "Nobody."),
        (
            Failed(reason="CRMAuthError"),
            "failed",
            "The CRM failed: it refuses the credentials, or a right is missing (CRMAuthError).",
        ),
        (Busy(), "busy", None),
        (TimedOut(), "timed out", None),
    ],
)
def test_every_outcome_has_its_words(kept: TraceLog, result: Result, outcome: str, reason: str | None) -> None:
    """A trace tells a miss from a failure, and why."""
    add(kept, result=result)
    (trace,) = kept.list()
    assert (trace.outcome, trace.reason) == (outcome, reason)


def test_traces_are_bounded_in_number_and_age(kept: TraceLog, moment: Moment, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file does not grow for ever: the oldest go, and those of last week."""
    monkeypatch.setattr(traces, "MAX_KEPT", 3)
    for number in range(5):
        add(kept, str(number))
    assert [trace.id for trace in kept.list()] == ["4", "3", "2"]
    moment.now += 8 * DAY
    add(kept, "new")
    assert [trace.id for trace in kept.list()] == ["new"]


def test_flood_of_cached_answers_displaces_no_other_trace(kept: TraceLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a flood the traces of hits from the cache are left out, and those that explain something are kept."""
    monkeypatch.setattr(TraceLog, "_write_for_ever", lambda _self: None)
    add(kept, "slow")
    for number in range(3 * traces.MAX_WAITING):
        add(kept, f"hit-{number}", cache="fresh")
    add(kept, "miss")
    ids = [trace.id for trace in kept.list(limit=10_000)]
    assert {"slow", "miss"} < set(ids)
    assert len(ids) <= traces.MAX_HITS + 1


def test_processes_share_the_file(kept: TraceLog, tmp_path: Path, moment: Moment) -> None:
    """What one process has answered, another one can explain."""
    add(kept)
    kept.flush()
    other = TraceLog(tmp_path / "traces.db", key=b"k", now=moment)
    assert [trace.id for trace in other.list(number=NUMBER)] == ["1"]


def test_broken_file_costs_traces_and_no_answer(tmp_path: Path, moment: Moment) -> None:
    """A file that cannot be written fails no lookup; who wants to read it is told."""
    (tmp_path / "traces.db").write_bytes(b"no database " * 1000)
    log = TraceLog(tmp_path / "traces.db", key=b"k", now=moment)
    add(log)
    log.flush()
    with pytest.raises(StorageError, match=r"traces\.db"):
        log.list()


def test_traces_are_written_without_being_asked_for(kept: TraceLog, tmp_path: Path) -> None:
    """A server that runs on writes its traces by itself, within a moment."""
    add(kept)
    assert kept._thread
    for _ in range(1000):
        try:
            with sqlite3.connect(tmp_path / "traces.db") as database:
                if database.execute("SELECT count(*) FROM trace").fetchone()[0]:
                    break
        except sqlite3.OperationalError:
            pass
        kept._thread.join(0.01)
    else:
        pytest.fail("nothing was written")


def test_step_that_is_not_over_is_in_the_trace(desk: Desk) -> None:
    """A lookup that timed out shows which CRM was asked, and that it has not answered."""
    hanging = Hanging()
    desk.ask(tenant_of(Zoo(contacts=hanging)), patience=0.05)
    (step,) = (step for step in desk.trace.document()["steps"] if step["source"])
    assert (step["name"], step["source"], step["took"]) == ("contact", "zoo0", None)
    assert "contact;" not in desk.trace.server_timing(1.0)
    hanging.release.set()


def test_machine_without_threads_costs_no_answer(kept: TraceLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be started, traces wait for one, and the lookup is answered."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        add(kept, "1")
    add(kept, "2")
    assert kept._thread
    assert {trace.id for trace in kept.list()} == {"1", "2"}


@pytest.mark.parametrize(
    ("result", "cache", "is_whole"),
    [
        (Hit(body=b"{}"), "miss", True),
        (Miss(reason="Nobody."), "miss", True),
        (Hit(body=b"{}", is_partial=True), "miss", False),
        (Hit(body=b"{}", is_stale=True), "stale", False),
        (Hit(body=b"{}"), "revalidate", False),
        (TimedOut(), "miss", False),
    ],
)
def test_what_may_still_come_is_waited_for(kept: TraceLog, result: Result, cache: str, is_whole: bool) -> None:
    """The row of a lookup that has found all is made at once; another one's has what came until it is written."""
    trace = Trace(id="1", cache=cache)
    kept._start = lambda: None  # type: ignore[method-assign]  # the test is the thread
    kept.add(trace, "acme", NUMBER, result, trace.took)
    trace.left_out.append("late")
    kept.flush()
    assert kept.list()[0].steps["left_out"] == ([] if is_whole else ["late"])


def test_a_step_that_goes_on_is_waited_for(kept: TraceLog) -> None:
    """An answer from one CRM does not end the trace while another is asked; the order stays that of the lookups."""
    kept._start = lambda: None  # type: ignore[method-assign]
    first, second = Trace(id="first"), Trace(id="second")
    with first.span("contact"):
        kept.add(first, "acme", NUMBER, Hit(body=b"{}"), first.took)
        kept.add(second, "acme", NUMBER, Hit(body=b"{}"), second.took)
    assert {trace.id: len(trace.steps["steps"]) for trace in kept.list()} == {"first": 2, "second": 1}
