"""When the CRM is asked and when it is left alone, with an injected clock and many threads."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from middleware.crm.breaker import FAILURES, GRACE, LONGEST, PAUSE, Breaker
from middleware.errors import BreakerOpenError
from middleware.model.deadline import Deadline


class Clock:
    """Seconds that only the test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(clock=clock)


def enter(breaker: Breaker, clock: Clock, seconds: float = 10.0) -> int:
    return breaker.enter(Deadline.after(timedelta(seconds=seconds), clock))


def fail(breaker: Breaker, clock: Clock, times: int = FAILURES) -> None:
    for _ in range(times):
        breaker.failed(enter(breaker, clock))


def refusal(breaker: Breaker, clock: Clock) -> float:
    """Return for how many seconds the breaker refuses, as it says itself."""
    with pytest.raises(BreakerOpenError) as caught:
        enter(breaker, clock)
    assert caught.value.retry_after is not None
    return caught.value.retry_after.total_seconds()


def test_failures_in_a_row_open_it(breaker: Breaker, clock: Clock) -> None:
    """One failure too many, and the CRM is left alone; whoever asks is told for how long."""
    fail(breaker, clock, FAILURES - 1)
    enter(breaker, clock)
    fail(breaker, clock, 1)
    assert refusal(breaker, clock) == PAUSE
    clock.now += PAUSE - 1
    assert refusal(breaker, clock) == 1


def test_a_success_between_failures_keeps_it_closed(breaker: Breaker, clock: Clock) -> None:
    """Failures count only in a row: a CRM that answers now and then is asked."""
    for _ in range(10):
        fail(breaker, clock, FAILURES - 1)
        breaker.succeeded(enter(breaker, clock))


def test_one_trial_among_many_threads(breaker: Breaker, clock: Clock) -> None:
    """When the pause is over exactly one of fifty calls at once is let through, and all once it has succeeded."""
    fail(breaker, clock)
    clock.now += PAUSE
    start = threading.Barrier(50)

    def run(_: int) -> int | None:
        start.wait(30)
        try:
            return enter(breaker, clock)
        except BreakerOpenError:
            return None

    with ThreadPoolExecutor(50) as pool:
        (trial,) = [ticket for ticket in pool.map(run, range(50)) if ticket is not None]
        breaker.succeeded(trial)
        assert None not in list(pool.map(run, range(50)))


def test_each_failing_trial_doubles_the_pause(breaker: Breaker, clock: Clock) -> None:
    """A CRM that stays down is tried ever more rarely, but at least once a minute."""
    fail(breaker, clock)
    pauses = []
    for _ in range(6):
        pauses.append(refusal(breaker, clock))
        clock.now += pauses[-1]
        fail(breaker, clock, 1)
    assert pauses == [5, 10, 20, 40, 60, 60]
    assert LONGEST == 60


def test_after_recovery_it_begins_anew(breaker: Breaker, clock: Clock) -> None:
    """A trial that succeeds closes it: the next failures are the first of a row, the next pause is the shortest."""
    fail(breaker, clock)
    clock.now += PAUSE
    fail(breaker, clock, 1)
    clock.now += 2 * PAUSE
    breaker.succeeded(enter(breaker, clock))
    fail(breaker, clock)
    assert refusal(breaker, clock) == PAUSE


def test_an_abandoned_trial_lets_the_next_call_try(breaker: Breaker, clock: Clock) -> None:
    """A trial that was never sent costs nobody a pause."""
    fail(breaker, clock)
    clock.now += PAUSE
    breaker.abandoned(enter(breaker, clock))
    breaker.succeeded(enter(breaker, clock))
    enter(breaker, clock)


def test_an_abandoned_call_changes_nothing_while_it_is_closed(breaker: Breaker, clock: Clock) -> None:
    """A call that was never sent is neither a failure nor the end of a row of them."""
    fail(breaker, clock, FAILURES - 1)
    breaker.abandoned(enter(breaker, clock))
    fail(breaker, clock, 1)
    assert refusal(breaker, clock) == PAUSE


def test_a_trial_that_never_returns_is_replaced(breaker: Breaker, clock: Clock) -> None:
    """After the trial's own deadline another call tries; what the lost one reports later counts for nothing."""
    fail(breaker, clock)
    clock.now += PAUSE
    lost = enter(breaker, clock, seconds=3)
    assert refusal(breaker, clock) == 3 + GRACE
    clock.now += 3 + GRACE
    second = enter(breaker, clock, seconds=3)
    breaker.succeeded(lost)
    refusal(breaker, clock)
    breaker.succeeded(second)
    enter(breaker, clock)


@pytest.mark.parametrize("end", [Breaker.succeeded, Breaker.failed, Breaker.abandoned])
def test_what_was_sent_before_it_opened_decides_nothing(breaker: Breaker, clock: Clock, end: object) -> None:
    """A late result of a call from before neither closes the breaker nor makes its pause longer."""
    early = enter(breaker, clock)
    fail(breaker, clock)
    end(breaker, early)  # type: ignore[operator]
    assert refusal(breaker, clock) == PAUSE
