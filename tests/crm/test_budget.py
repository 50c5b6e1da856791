"""How many requests an account may receive, with an injected clock, real processes and a real disk."""

from __future__ import annotations

import multiprocessing
import threading
from datetime import timedelta
from pathlib import Path

import pytest

from middleware.crm.budget import Budget, Lane, Ledger

TEN = Budget(10, timedelta(seconds=10))


class Now:
    """A moment that only the test moves."""

    def __init__(self) -> None:
        self.now = 1_772_366_400.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def now() -> Now:
    return Now()


@pytest.fixture(params=["memory", "file"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, now: Now) -> Ledger:
    return Ledger(tmp_path / "acme" if request.param == "file" else None, now=now)


def used_up(ledger: Ledger, lane: Lane, budget: Budget = TEN) -> int:
    """Take as often as ``lane`` is let."""
    count = 0
    while ledger.take(budget, lane) == 0:
        count += 1
    return count


@pytest.mark.parametrize(
    ("text", "requests", "seconds"),
    [("100/10s", 100, 10), ("5/s", 5, 1), ("600/m", 600, 60), (" 3 / 0.5 s ", 3, 0.5), ("100000/d", 100_000, 86_400)],
)
def test_a_budget_is_read_as_people_write_it(text: str, requests: int, seconds: float) -> None:
    """Requests per second, minute, hour, day or several of them."""
    assert Budget.parse(text) == Budget(requests, timedelta(seconds=seconds))


@pytest.mark.parametrize("text", ["", "100", "0/s", "5/0s", "-1/s", "1/99d", "fast", "1/2/s", None, 7, "1/s\n2/s"])
def test_what_is_no_budget_says_how_to_write_one(text: object) -> None:
    """Anything else is refused with words for the hoster."""
    with pytest.raises(ValueError, match=r"write requests|must be"):
        Budget.parse(text)


def test_no_window_holds_more_than_the_budget(ledger: Ledger, now: Now) -> None:
    """However the window is laid, it never has more requests, and a place is free when its request leaves it."""
    begin, sent = now.now, []
    for _ in range(400):
        if ledger.take(TEN, Lane.LOOKUP) == 0:
            sent.append(now.now)
        now.now += 0.1
    assert all(sum(moment <= other < moment + 9.99 for other in sent) <= 10 for moment in sent)
    assert len(sent) == 40
    assert sent[0] == begin


def test_what_is_used_is_counted_without_using_more(ledger: Ledger, now: Now) -> None:
    """Requests count for as long as their window, also when the ring has gone round, and asking costs none."""
    assert ledger.used(TEN) == 0
    for _ in range(13):
        ledger.take(TEN, Lane.LOOKUP)
        now.now += 1
    assert [ledger.used(TEN), ledger.used(TEN)] == [9, 9]
    now.now += 4
    assert ledger.used(TEN) == 5
    assert ledger.used(Budget(20, timedelta(seconds=10))) == 0, "another budget begins anew"


def test_the_wait_is_as_long_as_it_takes(ledger: Ledger, now: Now) -> None:
    """Whoever is refused is told when the oldest request leaves the window."""
    ledger.take(TEN, Lane.LOOKUP)
    now.now += 4
    used_up(ledger, Lane.LOOKUP)
    assert ledger.take(TEN, Lane.LOOKUP) == pytest.approx(6)
    now.now += 6
    assert ledger.take(TEN, Lane.LOOKUP) == 0
    assert ledger.take(TEN, Lane.LOOKUP) == pytest.approx(4)


def test_lower_lanes_leave_a_reserve(ledger: Ledger) -> None:
    """A full backlog still leaves lookups a fifth of the window, and a synchronisation leaves both a half."""
    assert used_up(ledger, Lane.SYNC) == 5
    assert used_up(ledger, Lane.CALLS) == 3
    assert used_up(ledger, Lane.LOOKUP) == 2


def test_lookups_may_use_it_all(ledger: Ledger, now: Now) -> None:
    """The reserve is for lookups, not from them; the others wait for their share."""
    assert used_up(ledger, Lane.LOOKUP) == 10
    assert ledger.take(TEN, Lane.SYNC) == pytest.approx(10)


def test_the_smallest_budget_starves_no_lane(ledger: Ledger, now: Now) -> None:
    """One request per time is one for every lane."""
    for lane in Lane:
        assert used_up(ledger, lane, Budget(1, timedelta(seconds=1))) == 1
        now.now += 1


def test_a_changed_budget_holds_at_once(ledger: Ledger) -> None:
    """After a reload the new figure counts, and the pause stays."""
    used_up(ledger, Lane.LOOKUP)
    ledger.pause(30)
    assert used_up(ledger, Lane.LOOKUP, Budget(3, timedelta(seconds=10))) == 3
    assert ledger.paused() == pytest.approx(30)


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_clock_that_jumps_stops_nobody(ledger: Ledger, now: Now, jump: float) -> None:
    """When the clock is set, neither budget nor pause hold longer than they should."""
    used_up(ledger, Lane.LOOKUP)
    ledger.pause(3600)
    now.now += jump
    assert ledger.paused() == 0
    assert ledger.take(TEN, Lane.LOOKUP) == 0


def test_the_longer_pause_holds(ledger: Ledger, now: Now) -> None:
    """A second 429 never shortens what the first one asked for."""
    assert ledger.paused() == 0
    ledger.pause(30)
    ledger.pause(5)
    assert ledger.paused() == pytest.approx(30)
    now.now += 29
    assert ledger.paused() == pytest.approx(1)
    now.now += 1
    assert ledger.paused() == 0


def test_a_pause_is_seen_by_other_processes(tmp_path: Path, now: Now) -> None:
    """What one process is told holds for all of the machine, and for one that starts later."""
    Ledger(tmp_path / "acme", now=now).pause(30)
    assert Ledger(tmp_path / "acme", now=now).paused() == pytest.approx(30)


def test_a_file_that_was_cut_or_spoilt_is_no_error(tmp_path: Path, now: Now) -> None:
    """Rubbish in the ledger costs the memory of a window and nothing more."""
    path = tmp_path / "acme"
    for rubbish in (b"", b"x", b"\xff" * 40, b"\x00" * 500):
        path.write_bytes(rubbish)
        ledger = Ledger(path, now=now)
        assert ledger.paused() == 0
        assert used_up(ledger, Lane.LOOKUP) <= 10


def test_a_disk_that_fails_leaves_each_process_its_own_budget(tmp_path: Path, now: Now) -> None:
    """A ledger that cannot be written still counts, still pauses and never raises."""
    ledger = Ledger(tmp_path / "no" / "folder" / "acme", now=now)
    assert used_up(ledger, Lane.LOOKUP) == 10
    ledger.pause(30)
    assert ledger.paused() == pytest.approx(30)


def test_a_process_that_froze_with_the_ledger_in_its_hand_holds_up_nobody(tmp_path: Path, now: Now) -> None:
    """A lock that is never given back is waited for a moment only."""
    import fcntl

    path = tmp_path / "acme"
    with path.open("w+b") as frozen:
        fcntl.flock(frozen, fcntl.LOCK_EX)
        assert Ledger(path, now=now).take(TEN, Lane.LOOKUP) == 0


def _take_all(path: Path, begin: threading.Barrier, results: multiprocessing.Queue[int]) -> None:
    ledger, budget = Ledger(path, now=lambda: 1_772_366_400.0), Budget(200, timedelta(minutes=1))
    begin.wait(30)
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(used_up(ledger, Lane.LOOKUP, budget))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    results.put(sum(counts))


def test_processes_and_threads_share_one_budget(tmp_path: Path) -> None:
    """Four processes with three threads each send exactly the budget together, not one more and not one less."""
    spawn = multiprocessing.get_context("spawn")
    begin, results = spawn.Barrier(4), spawn.Queue()
    processes = [spawn.Process(target=_take_all, args=(tmp_path / "acme", begin, results)) for _ in range(4)]
    for process in processes:
        process.start()
    counts = [results.get(timeout=50) for _ in processes]
    for process in processes:
        process.join(30)
    assert sum(counts) == 200
