"""When to try again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

SHORTEST = timedelta(seconds=5)
LONGEST = timedelta(hours=10)
GIVE_UP_AFTER = timedelta(days=3)  # since the first attempt
UNREADABLE_ATTEMPTS = 5  # an answer nobody can read is tried this often
MAX_CRASHES = 3
PARK_LOOK = timedelta(hours=1)
PARK_FOR = timedelta(days=30)
MIN_RETRY_AFTER, MAX_RETRY_AFTER = timedelta(seconds=1), timedelta(hours=1)


def backoff(failures: int, random: Callable[[], float]) -> timedelta:
    """Return the wait after so many failures in a row (from 1): full jitter below 5 s, 20 s, 80 s … 10 h."""
    most: timedelta = min(LONGEST, SHORTEST * float(4 ** min(failures, 10)))
    return max(SHORTEST, most * random())


def clamp_retry_after(wait: timedelta | None) -> timedelta:
    """Return the wait a CRM asked for, within reason."""
    return min(max(SHORTEST if wait is None else wait, MIN_RETRY_AFTER), MAX_RETRY_AFTER)
