"""Counts of several processes add up, and cost nobody an answer."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from middleware.metrics.counts import KEPT_FOR, SUM, Counts
from middleware.metrics.names import BREAKER_OPEN_UNTIL, EVENTS, LOOKUP_SECONDS, LOOKUPS
from middleware.settings import ROOT

ACCEPTED = (EVENTS.name, ("acme", "cdr", "accepted"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.db"


def test_processes_add_up_and_leave_nothing_behind(path: Path) -> None:
    """What processes counted is summed, a killed one's too, and no file stays for each of them."""
    code = (
        "import os, sys; from pathlib import Path; from middleware.metrics.counts import Counts;"
        "from middleware.metrics.names import EVENTS; counts = Counts(Path(sys.argv[1]));"
        "[counts.add(EVENTS, 'acme', 'cdr', 'accepted') for _ in range(100)]; counts.publish(); os.kill(os.getpid(), 9)"
    )
    children = [subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT) for _ in range(3)]
    assert [child.wait(50) for child in children] == [-9, -9, -9]
    counts = Counts(path)
    counts.add(EVENTS, "acme", "cdr", "accepted")
    assert counts.read()[ACCEPTED] == 301
    assert {file.name for file in path.parent.iterdir()} <= {"metrics.db", "metrics.db-wal", "metrics.db-shm"}


def test_threads_lose_no_count(path: Path) -> None:
    """Threads that count at the same moment, while others publish, lose none."""
    counts = Counts(path)

    def count() -> None:
        for _ in range(2_000):
            counts.looked_up("acme", "hit", "fresh", 0.002)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        counts.publish()
    for thread in threads:
        thread.join()
    read = counts.read()
    assert read[LOOKUPS.name, ("acme", "hit", "fresh")] == 8_000
    assert read[LOOKUP_SECONDS.name, ("fresh", "0.005")] == 8_000
    assert read[LOOKUP_SECONDS.name, ("fresh", SUM)] == pytest.approx(16.0)


@pytest.mark.parametrize(("seconds", "bucket"), [(0.0, "0.001"), (0.001, "0.001"), (0.0011, "0.005"), (9.0, "+Inf")])
def test_a_bucket_has_what_is_at_most_its_bound(path: Path, seconds: float, bucket: str) -> None:
    """A value on a bound belongs to that bound's bucket, and one beyond all to the last."""
    counts = Counts(path)
    counts.looked_up("acme", "hit", "miss", seconds)
    assert counts.read()[LOOKUP_SECONDS.name, ("miss", bucket)] == 1


def test_a_gauge_is_what_was_said_last(path: Path) -> None:
    """A gauge is replaced and not added up, whichever process says it."""
    for value in (7.0, 0.0, 5.0):
        counts = Counts(path)
        counts.set(BREAKER_OPEN_UNTIL, value, "acme", "crm")
        counts.publish()
    assert Counts(path).read() == {(BREAKER_OPEN_UNTIL.name, ("acme", "crm")): 5.0}


def test_counts_wait_for_a_database_that_refuses(path: Path) -> None:
    """What could not be written is not lost, nor is it counted twice."""
    counts = Counts(path)
    path.mkdir()
    counts.add(EVENTS, "acme", "cdr", "accepted")
    counts.publish()
    counts.publish()
    path.rmdir()
    counts.add(EVENTS, "acme", "cdr", "accepted")
    assert counts.read()[ACCEPTED] == 2


def test_what_was_refused_is_tried_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever counted last need not count again, not even a lookup, which others publish."""
    monkeypatch.setattr("middleware.metrics.counts.BATCH_EVERY", 0.01)
    counts = Counts(path)
    path.mkdir()
    counts.looked_up("acme", "hit", "fresh", 0.002)
    counts.publish()
    path.rmdir()
    while not Counts(path).read():  # pytest's time-out ends it
        pass


def test_what_nothing_adds_to_is_forgotten(path: Path) -> None:
    """A customer who is gone is not exposed for ever."""
    now = [1_000_000.0]
    counts = Counts(path, now=lambda: now[0])
    counts.add(EVENTS, "gone", "cdr", "accepted")
    counts.publish()
    now[0] += KEPT_FOR.total_seconds() + 1
    counts.add(EVENTS, "acme", "cdr", "accepted")
    assert counts.read() == {ACCEPTED: 1}


def test_counting_reaches_the_disk_by_itself(path: Path) -> None:
    """Whoever counts need not publish: a thread does."""
    counts = Counts(path)
    published = threading.Event()
    publish = counts.publish

    def noticed() -> None:
        publish()
        published.set()

    counts.publish = noticed  # type: ignore[method-assign]
    counts.add(EVENTS, "acme", "cdr", "accepted")
    assert published.wait(20)
    with sqlite3.connect(path) as database:
        assert database.execute("SELECT value FROM metric").fetchall() == [(1.0,)]
    database.close()


def test_without_a_path_nothing_is_kept() -> None:
    """Parts that are built without counts pay nothing for them and start no thread."""
    counts, before = Counts(), set(threading.enumerate())
    counts.add(EVENTS, "acme", "cdr", "accepted")
    counts.set(BREAKER_OPEN_UNTIL, 1.0, "acme", "crm")
    counts.looked_up("acme", "hit", "fresh", 0.002)
    assert set(threading.enumerate()) <= before
    assert not counts._lookups
    counts.publish()
    assert counts.read() == {}
