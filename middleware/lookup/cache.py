"""Finished answers, kept as the bytes they were serialised to once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from threading import Lock
from typing import Literal

from cachetools import TLRUCache

from middleware.generations import Generation
from middleware.lookup.card import Hit, Miss
from middleware.model.deadline import Clock
from middleware.tenants.tenant import LookupConfig

MAX_BYTES = 64 * 1024 * 1024
_OVERHEAD = 500  # bytes that an entry costs beside its answer, roughly

Key = tuple[str, ...]  # tenant id and revision come first


# What a kept answer is good for (the words of RFC 5861): answered; answered while the CRM is asked again; answered
# only when the CRM fails.  Plain words, since an enumeration's take longer wherever a fast answer meets them.
Age = Literal["fresh", "revalidate", "stale"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An answer and until when, in seconds from the moment it was kept, it is of which age."""

    result: Hit | Miss
    fresh: float
    revalidate: float = 0.0
    stale: float = 0.0

    @property
    def seconds(self) -> float:
        """For how long the answer is kept at all."""
        return max(self.fresh, self.revalidate, self.stale)


def kept(result: object, config: LookupConfig) -> Kept | None:
    """Return how long ``result`` is kept; an error, a time-out and a full slot are not."""
    hit, miss = config.cache_hit.total_seconds(), config.cache_miss.total_seconds()
    if isinstance(result, Miss):
        return Kept(result=result, fresh=miss)
    if not isinstance(result, Hit) or result.is_stale:
        return None
    stale = hit + config.cache_stale.total_seconds()
    if result.is_partial:  # asked for again soon
        return Kept(result=result, fresh=min(hit, miss), stale=stale)
    return Kept(result=result, fresh=hit, revalidate=hit + config.cache_revalidate.total_seconds(), stale=stale)


@dataclass(frozen=True, slots=True)
class _Entry:
    kept: Kept
    generation: Generation
    at: float


def _size(entry: _Entry) -> int:
    return _OVERHEAD + (len(entry.kept.result.body) if isinstance(entry.kept.result, Hit) else 0)


class AnswerCache:
    """Hits and misses, bounded in bytes, each for its own time; errors cannot be put in."""

    def __init__(self, *, clock: Clock = time.monotonic, max_bytes: int = MAX_BYTES) -> None:
        self._clock = clock
        self._entries: TLRUCache[Key, _Entry] = TLRUCache(
            max_bytes, ttu=lambda _key, entry, now: now + entry.kept.seconds, timer=clock, getsizeof=_size
        )
        self._lock = Lock()

    def get(self, key: Key, generation: Generation) -> tuple[Hit | Miss, Age] | None:
        """Return the answer with its age, unless it is too old or was forgotten."""
        try:
            with self._lock:
                entry = self._entries[key]  # ``get`` looks twice
        except KeyError:
            return None
        if entry.generation.forgotten != generation.forgotten:
            return None
        age, kept = self._clock() - entry.at, entry.kept
        has_changed = entry.generation.changed != generation.changed
        if not has_changed and age < kept.fresh:
            return kept.result, "fresh"
        if not has_changed and age < kept.revalidate:
            return kept.result, "revalidate"
        return (kept.result, "stale") if age < kept.stale else None

    def put(self, key: Key, kept: Kept, generation: Generation) -> None:
        """Keep an answer, unless a newer one is kept; ``generation`` is the number's before the CRM was asked."""
        entry = _Entry(kept, generation, self._clock())
        if kept.seconds <= 0 or _size(entry) > self._entries.maxsize:
            return
        with self._lock:
            known = self._entries.get(key)
            if known is None or not known.generation.is_after(generation):
                self._entries[key] = entry
