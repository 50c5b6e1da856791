"""A budget that all machines share, in Redis.

Imported only when a Redis is configured: pyrate-limiter takes a quarter of a second to import.
"""

from __future__ import annotations

import time
from typing import Any

from pyrate_limiter import Rate, RateItem, RedisBucket

from middleware.crm.budget import Budget, Lane, Now
from middleware.shared_store import SharedStore


class RedisBudget:
    """One account's budget: every lane counts the same requests, up to a limit of its own."""

    def __init__(self, store: SharedStore, name: str, *, now: Now = time.time) -> None:
        self._store = store
        self._key = f"m8crm:budget:{name}"
        self._now = now
        self._script: str | None = None
        self._tidied_at = 0.0

    def take(self, budget: Budget, lane: Lane) -> float | None:
        """Take one request: 0, or the seconds until there is one; ``None`` when Redis cannot say."""
        return self._store.call(lambda client: self._take(client, budget, lane), None)

    def _take(self, client: Any, budget: Budget, lane: Lane) -> float:
        now = self._now()
        rates = [Rate(budget.limit(lane), round(budget.per.total_seconds() * 1000))]
        # a bucket remembers its last refusal: each call has its own, the window is in Redis
        script, self._script = self._script, None  # loaded again after any failure: a Redis that restarts forgets it
        bucket = RedisBucket(rates, client, self._key, script) if script else RedisBucket.init(rates, client, self._key)
        item = RateItem("request", round(now * 1000))
        is_admitted = bucket.put(item)
        self._script = bucket.script_hash
        if is_admitted:
            self._tidy(client, bucket, budget, now)
        return 0.0 if is_admitted else max(1, int(bucket.waiting(item))) / 1000  # type: ignore[arg-type]  # not async

    def _tidy(self, client: Any, bucket: RedisBucket, budget: Budget, now: float) -> None:
        """Twice in a window, drop what has left it, and have Redis drop a window that nobody uses."""
        span = budget.per.total_seconds()
        if not 0 <= now - self._tidied_at < span / 2:
            self._tidied_at = now
            bucket.leak(round(now * 1000))
            client.pexpire(self._key, round(span * 2000))
