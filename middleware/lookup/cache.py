"""Finished answers, kept as the bytes they were serialised to once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock

from cachetools import TLRUCache

from middleware.lookup.card import Hit, Miss
from middleware.model.deadline import Clock

MAX_BYTES = 64 * 1024 * 1024
_OVERHEAD = 400  # bytes that an entry costs beside its answer, roughly

Key = tuple[str, ...]  # tenant id and revision come first


@dataclass(frozen=True, slots=True)
class _Entry:
    result: Hit | Miss
    generation: int
    seconds: float


def _size(entry: _Entry) -> int:
    return _OVERHEAD + (len(entry.result.body) if isinstance(entry.result, Hit) else 0)


class AnswerCache:
    """Hits and misses, bounded in bytes, each for its own time; errors cannot be put in."""

    def __init__(self, *, clock: Clock = time.monotonic, max_bytes: int = MAX_BYTES) -> None:
        self._entries: TLRUCache[Key, _Entry] = TLRUCache(
            max_bytes, ttu=lambda _key, entry, now: now + entry.seconds, timer=clock, getsizeof=_size
        )
        self._lock = Lock()

    def get(self, key: Key, generation: int) -> Hit | Miss | None:
        """Return the answer if it is fresh and nothing has happened to the number since it was made."""
        with self._lock:
            entry = self._entries.get(key)
        return entry.result if entry and entry.generation == generation else None

    def put(self, key: Key, result: Hit | Miss, *, generation: int, fresh: timedelta) -> None:
        """Keep ``result``; ``generation`` is the number's as it stood before the CRM was asked."""
        entry = _Entry(result, generation, fresh.total_seconds())
        if entry.seconds > 0 and _size(entry) <= self._entries.maxsize:
            with self._lock:
                self._entries[key] = entry
