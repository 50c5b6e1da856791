"""Spares a CRM that is down, and those who would wait for it.

Hand-written: pybreaker holds its lock during a call (ten parallel calls of 0.3 s took 3 s); circuitbreaker and
purgatory let every waiting call through as a trial.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from threading import Lock

from middleware.errors import BreakerOpenError
from middleware.model.deadline import Clock, Deadline

FAILURES = 5  # in a row, before it opens
PAUSE = 5.0  # seconds until the first trial; doubled by every trial that fails
LONGEST = 60.0
GRACE = 1.0  # seconds after its deadline in which a trial still reports


class Breaker:
    """Lets calls through while it is closed, and one trial at a time while it is open.

    A ticket is given to every call; the result of one that was given before the breaker last changed is ignored.
    It opens after ``failures`` in a row.  ``changed`` is told for how many seconds it has just opened, or 0 when it
    closes; it must be quick.
    """

    def __init__(
        self,
        *,
        clock: Clock = time.monotonic,
        failures: float = FAILURES,
        changed: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._patience = failures
        self._changed = changed
        self._lock = Lock()  # held for an assignment, never during a call
        self._ticket = 0
        self._failures = 0
        self._pause = 0.0  # while it is open
        self._next_trial = 0.0

    def enter(self, deadline: Deadline) -> int:
        """Return the call's ticket, or raise :class:`BreakerOpenError` at once."""
        ticket = self._ticket  # read first: should the breaker open now, the ticket is an old one
        if not self._pause:
            return ticket
        with self._lock:
            now = self._clock()
            if self._pause:
                if now < self._next_trial:
                    wait = timedelta(seconds=self._next_trial - now)
                    raise BreakerOpenError("the CRM has failed time and again: not asked for a while", retry_after=wait)
                self._ticket += 1
                self._next_trial = now + deadline.remaining + GRACE  # another trial, should this one never return
            return self._ticket

    def succeeded(self, ticket: int) -> None:
        """Close: the CRM has answered."""
        if not self._failures and not self._pause:
            return
        with self._lock:
            if ticket == self._ticket:
                if self._pause:
                    self._changed(0.0)
                self._failures, self._pause = 0, 0.0

    def failed(self, ticket: int) -> None:
        """Open after enough failures in a row, or for longer after a trial."""
        with self._lock:
            if ticket != self._ticket:
                return
            self._failures += 1
            if self._pause or self._failures >= self._patience:
                self._pause = min(max(2 * self._pause, PAUSE), LONGEST)
                self._next_trial = self._clock() + self._pause
                self._ticket += 1
                self._changed(self._pause)

    def abandoned(self, ticket: int) -> None:
        """Let another call be the trial: this one was never sent."""
        with self._lock:
            if self._pause and ticket == self._ticket:
                self._ticket += 1
                self._next_trial = self._clock()
