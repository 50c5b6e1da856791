"""How many requests an account of a CRM may receive, and who may use them.

A budget is shared by every process of the machine, in a small file, and with Redis by every machine.
"""

from __future__ import annotations

import fcntl
import io
import math
import os
import re
import struct
import time
from bisect import bisect_right
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Protocol, TypeVar

Now = Callable[[], float]  # seconds since 1970: what processes and machines agree upon, unlike a monotonic clock

LONGEST_PAUSE = 3600.0  # a moment in the file that lies further away was written before the clock jumped
LOOK_EVERY = 0.1  # seconds between looks for a pause that another process has begun
PATIENCE = 50  # tries to lock the file, a millisecond apart: a frozen process must not freeze the others
_TEXT = re.compile(r"(\d{1,7})\s*/\s*(\d{1,5}(?:\.\d{1,3})?)?\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_HEAD = struct.Struct("=ddQQ")  # paused from, paused until, size of the ring, requests so far
_MOMENT = struct.Struct("=d")
_File = io.FileIO | io.BytesIO
T = TypeVar("T")


class Lane(Enum):
    """Who asks, the most urgent first; the value is the share of the budget that it may use up.

    A lower lane stops while there is still some left for those above it: a ringing phone is answered even
    when a backlog of calls is being written.
    """

    LOOKUP = 1.0
    CALLS = 0.8
    SYNC = 0.5


@dataclass(frozen=True, slots=True)
class Budget:
    """At most ``requests`` in any span of ``per``."""

    requests: int
    per: timedelta

    @classmethod
    def parse(cls, text: object) -> Budget:
        """Read ``"100/10s"`` (also ``/s``, ``/m``, ``/h``, ``/d``); raises ``ValueError`` that says how to write it."""
        match = _TEXT.fullmatch(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise ValueError('write requests per time, e.g. "100/10s", "600/m" or "100000/d"')
        budget = cls(int(match[1]), timedelta(seconds=float(match[2] or 1) * _SECONDS[match[3]]))
        if not budget.requests or not budget.per or budget.per > timedelta(days=31):
            raise ValueError("must be at least one request, in more than no time and at most 31 days")
        return budget

    def limit(self, lane: Lane) -> int:
        """Return how many requests of the window ``lane`` may use; every lane has at least one."""
        return max(1, math.floor(self.requests * lane.value))

    def __str__(self) -> str:
        return f"{self.requests}/{self.per.total_seconds():g}s"


class SharedBudget(Protocol):
    """A budget that machines share."""

    def take(self, budget: Budget, lane: Lane) -> float | None:
        """Take one request: 0, or the seconds until there is one; ``None`` when nobody can say."""


class Ledger:
    """The moments of an account's latest requests, and its pause; in ``path`` or, without one, in memory.

    Hand-written: pyrate-limiter's ``SQLiteBucket`` admitted 103 of 100 from four processes and takes 150 µs
    (300 µs with a lock that is right), its ``MultiprocessBucket`` wants a process of its own.  This is a ring:
    a request may go out when the one that many before it has left the window.  No handle is kept open, so
    that ten thousand accounts cost none.
    """

    def __init__(self, path: Path | None = None, *, now: Now = time.time) -> None:
        self._path = path
        self._now = now
        self._memory = io.BytesIO()
        self._lock = Lock()
        self._looked_at, self._until = -math.inf, -math.inf  # what is known of the pause, and since when

    def take(self, budget: Budget, lane: Lane, *, is_granted: bool = False) -> float:
        """Take one request: 0, or the seconds until there is one; one that ``is_granted`` is only noted."""

        def take(file: _File) -> float:
            now, size, span = self._now(), budget.requests, budget.per.total_seconds()
            begin, until, known, count = _read_head(file)
            count = count if known == size else 0  # a new budget begins a new ring
            limit = budget.limit(lane)
            if count >= limit and not is_granted:
                wait = _read_moment(file, (count - limit) % size) + span - now
                if 0 < wait <= span:
                    return wait
            _write_moment(file, count % size, now)
            _write_head(file, begin, until, size, count + 1)
            return 0.0

        return self._locked(take)

    def pause(self, seconds: float) -> None:
        """Begin a pause, unless a longer one is under way."""

        def pause(file: _File) -> None:
            now = self._now()
            until = now + max(seconds, self._left(file))
            _write_head(file, now, until, *_read_head(file)[2:])

        self._locked(pause)
        self._looked_at = -math.inf

    def paused(self) -> float:
        """Return the seconds that are left of the pause."""
        now = self._now()
        if not 0 <= now - self._looked_at < LOOK_EVERY:
            self._looked_at, self._until = now, now + self._read_pause()
        return max(0.0, self._until - now)

    def used(self, budget: Budget) -> int:
        """Return how many of the budget's requests lie in its window now."""
        if self._path is not None:
            with suppress(OSError), io.FileIO(self._path) as file:  # there is none before the first request
                return self._used(file, budget)
        return self._used(io.BytesIO(self._memory.getvalue()), budget)

    def _used(self, file: _File, budget: Budget) -> int:
        _, _, size, count = _read_head(file)
        if size != budget.requests:
            return 0
        begin = self._now() - budget.per.total_seconds()
        known = range(max(0, count - size), count)  # of a large budget: bisected, and not read
        return count - known.start - bisect_right(known, begin, key=lambda place: _read_moment(file, place % size))

    def _read_pause(self) -> float:
        left = self._left(io.BytesIO(self._memory.getvalue()))  # a copy: another thread may be writing
        if self._path is not None:
            with suppress(OSError), io.FileIO(self._path) as file:  # there is none before the first pause or request
                return max(left, self._left(file))
        return left

    def _left(self, file: _File) -> float:
        begin, until, _, _ = _read_head(file)
        now = self._now()
        return min(until - now, LONGEST_PAUSE) if begin <= now < until else 0.0

    def _locked(self, work: Callable[[_File], T]) -> T:
        """Do ``work`` alone among all threads and processes; a disk that fails leaves each process its own ledger."""
        with self._lock:
            if self._path is not None:
                with suppress(OSError), _open(self._path) as file:
                    _lock(file)  # until it is closed
                    return work(file)
            return work(self._memory)


def _open(path: Path) -> io.FileIO:
    return io.FileIO(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+")


def _lock(file: io.FileIO) -> None:
    for _ in range(PATIENCE):
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.001)
    return None  # unlocked, two processes may take the same place: one request too many


def _read_head(file: _File) -> tuple[float, float, int, int]:
    file.seek(0)
    read = file.read(_HEAD.size) or b""
    return _HEAD.unpack(read) if len(read) == _HEAD.size else (0.0, 0.0, 0, 0)


def _write_head(file: _File, begin: float, until: float, size: int, count: int) -> None:
    file.seek(0)
    file.write(_HEAD.pack(begin, until, size, count))


def _read_moment(file: _File, place: int) -> float:
    file.seek(_HEAD.size + place * _MOMENT.size)
    read = file.read(_MOMENT.size)
    return float(_MOMENT.unpack(read)[0]) if len(read) == _MOMENT.size else 0.0


def _write_moment(file: _File, place: int, moment: float) -> None:
    file.seek(_HEAD.size + place * _MOMENT.size)
    file.write(_MOMENT.pack(moment))
