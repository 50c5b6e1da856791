"""When to try again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from middleware.inbox.queue import LEASE

SHORTEST = timedelta(seconds=5)
LONGEST = timedelta(hours=10)
LONGEST_OF_LANE = timedelta(minutes=1)  # when a CRM is back, calls of now should not wait for long
LONGEST_OF_OUTAGE = timedelta(minutes=10)  # of a call that met a CRM which was down: it is not late for hours, too
GIVE_UP_AFTER = timedelta(days=3)  # since the first attempt
UNREADABLE_ATTEMPTS = 5  # an answer nobody can read is tried this often
MAX_CRASHES = 3
PARK_LOOK = timedelta(hours=1)
PARK_FOR = timedelta(days=30)
MIN_RETRY_AFTER, MAX_RETRY_AFTER = timedelta(seconds=1), timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """``attempt``: what all requests of one may take together; ``lease``: then another worker goes on with it."""

    attempt: timedelta = timedelta(seconds=10)
    lease: timedelta = LEASE

    @property
    def note(self) -> timedelta:
        """Return in what time it must be noted how an attempt ended; else it is in doubt, and its lane waits."""
        return (self.lease - self.attempt) * 0.75


def backoff(failures: int, random: Callable[[], float], *, longest: timedelta = LONGEST) -> timedelta:
    """Return the wait after so many failures in a row (from 1): full jitter below 5 s, 20 s, 80 s … 10 h."""
    most: timedelta = min(longest, SHORTEST * float(4 ** min(failures, 10)))
    return max(SHORTEST, most * random())


def lane_backoff(failures: int, random: Callable[[], float]) -> timedelta:
    """Return for how long a CRM is left alone that has failed so many times in a row: at most a minute."""
    return backoff(failures, random, longest=LONGEST_OF_LANE)


def clamp_retry_after(wait: timedelta | None) -> timedelta:
    """Return the wait a CRM asked for, within reason."""
    return min(max(SHORTEST if wait is None else wait, MIN_RETRY_AFTER), MAX_RETRY_AFTER)
