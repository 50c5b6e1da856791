"""A budget that all machines share, in Redis.

Hand-written: pyrate-limiter's ``RedisBucket`` goes by the clocks of the machines and does not count a request that
another process has dated a millisecond later (docs/adr/0007-budgets.rst has figures).  This is the ring of
:class:`middleware.crm.budget.Ledger` as a list, by Redis's own clock, in one step.
"""

from __future__ import annotations

from typing import Any

from middleware.crm.budget import Budget, Lane
from middleware.shared_store import SharedStore

# KEYS: the moments of the latest requests (microseconds), the newest first
# ARGV: the lane's limit, the budget's requests and microseconds; answers 0, or the microseconds until there is a place
_TAKE = """
local t = redis.call('TIME')
local now, span = t[1] * 1000000 + t[2], tonumber(ARGV[3])
if redis.call('TYPE', KEYS[1]).ok ~= 'list' then redis.call('DEL', KEYS[1]) end
local oldest = tonumber(redis.call('LINDEX', KEYS[1], ARGV[1] - 1) or 0)
if oldest then
    local wait = oldest + span - now
    if wait > 0 and wait <= span then return wait end
end
redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
redis.call('LTRIM', KEYS[1], 0, ARGV[2] - 1)
redis.call('PEXPIRE', KEYS[1], math.ceil(span / 1000))
return 0
"""


class RedisBudget:
    """One account's budget: every lane counts the same requests, up to a limit of its own."""

    def __init__(self, store: SharedStore, name: str) -> None:
        self._store = store
        self._key = f"m8crm:budget:{name}"

    def take(self, budget: Budget, lane: Lane) -> float | None:
        """Take one request: 0, or the seconds until there is one; ``None`` when Redis cannot say."""
        span = round(budget.per.total_seconds() * 1_000_000)

        def take(client: Any) -> float:
            return float(client.eval(_TAKE, 1, self._key, budget.limit(lane), budget.requests, span)) / 1_000_000

        return self._store.call(take, None)
