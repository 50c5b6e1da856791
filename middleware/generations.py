"""Tells every process of this machine that a cached answer is no longer true.

A file of counters is mapped into each process: whoever changes what a lookup would find counts up; a cached
answer is good only while the counters stand where they stood when the CRM was asked.  There are two kinds:
a number whose CRM record *changed* (a delivered call) is asked for again, though its old answer may still be
shown when the CRM fails; one that is *forgotten* must never be shown again.  Hand-written: reading costs a
microsecond on the hot path, where a database or a socket would cost a hundred.  Two numbers may share a
counter; that costs one more CRM call.
"""

from __future__ import annotations

import fcntl
import mmap
import zlib
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

SLOTS = 1 << 16
_SIZE = 8  # bytes of a counter


class Generation(NamedTuple):
    """Where the counters of one number stand."""

    changed: int
    forgotten: int

    def is_after(self, other: Generation) -> bool:
        """Whether something has happened to the number since ``other``."""
        return self != other and self.changed >= other.changed and self.forgotten >= other.forgotten


class Generations:
    """The counters in ``path``; made when missing, shared by all processes that open it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with path.open("a+b") as file:
            file.truncate(SLOTS * _SIZE)
            self._map = mmap.mmap(file.fileno(), SLOTS * _SIZE)
        self._counters = memoryview(self._map).cast("Q")

    def current(self, tenant_id: str, number: str) -> Generation:
        """Return where the number's counters stand."""
        counters, (changed, everything, customer, own) = self._counters, _slots(tenant_id, number)
        return Generation(counters[changed], counters[everything] + counters[customer] + counters[own])

    def bump(self, tenant_id: str, number: str) -> None:
        """Have the CRM asked for the number again, in all processes."""
        self._count("changed", tenant_id, number)

    def forget(self, tenant_id: str | None = None, number: str | None = None) -> None:
        """Make every cached answer for the number, for the customer or at all unusable, in all processes."""
        self._count(*(("of", tenant_id, *([number] if number else [])) if tenant_id else ("all",)))

    def close(self) -> None:
        """Unmap the file."""
        self._counters.release()
        self._map.close()

    def _count(self, *what: str) -> None:
        with self._path.open("rb") as lock:  # opened anew each time: flock then excludes threads, too
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._counters[_slot(*what)] += 1


@lru_cache(maxsize=4096)  # the same callers call again
def _slots(tenant_id: str, number: str) -> tuple[int, int, int, int]:
    return _slot("changed", tenant_id, number), _slot("all"), _slot("of", tenant_id), _slot("of", tenant_id, number)


def _slot(*what: str) -> int:
    return zlib.crc32("\0".join(what).encode(errors="replace")) % SLOTS
