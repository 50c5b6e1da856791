"""Tells every process of this machine that a cached answer is no longer true.

A file of counters is mapped into each process: whoever changes what a lookup would find counts up; a cached
answer is good only while the counters stand where they stood when the CRM was asked.  There are two kinds:
a number whose CRM record *changed* (a delivered call) is asked for again, though its old answer may still be
shown when the CRM fails; one that is *forgotten* must never be shown again.  Hand-written: reading costs a
microsecond on the hot path, where a database or a socket would cost a hundred.  Two numbers may share a
counter; that costs one more CRM call.  A number's counters are found by a keyed digest of it, so that machines can
tell each other of the number without naming it.
"""

from __future__ import annotations

import fcntl
import mmap
import zlib
from functools import lru_cache
from hashlib import blake2b
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

    def __init__(self, path: Path, key: bytes) -> None:
        self._key = key
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with path.open("a+b") as file:
            file.truncate(SLOTS * _SIZE)
            self._map = mmap.mmap(file.fileno(), SLOTS * _SIZE)
        self._counters = memoryview(self._map).cast("Q")

    def digest(self, *what: str) -> str:
        """Return what stands for ``what`` on all machines that have the key, and tells others nothing."""
        return _digest(self._key, *what)

    def current(self, tenant_id: str, number: str) -> Generation:
        """Return where the number's counters stand."""
        counters, (changed, everything, customer, own) = self._counters, _slots(self._key, tenant_id, number)
        return Generation(counters[changed], counters[everything] + counters[customer] + counters[own])

    def bump(self, tenant_id: str, number: str) -> None:
        """Have the CRM asked for the number again, in all processes."""
        self.bump_digest(self.digest(tenant_id, number))

    def bump_digest(self, digest: str) -> None:
        """Do what :meth:`bump` does, for the number that has the digest."""
        self._count("changed", digest)

    def forget(self, tenant_id: str | None = None, number: str | None = None) -> None:
        """Make every cached answer for the number, for the customer or at all unusable, in all processes."""
        if tenant_id and number:
            self.forget_digest(self.digest(tenant_id, number))
        else:
            self._count(*(("of", tenant_id) if tenant_id else ("all",)))

    def forget_digest(self, digest: str) -> None:
        """Do what :meth:`forget` does, for the number that has the digest."""
        self._count("forgotten", digest)

    def close(self) -> None:
        """Unmap the file."""
        self._counters.release()
        self._map.close()

    def _count(self, *what: str) -> None:
        with self._path.open("rb") as lock:  # opened anew each time: flock then excludes threads, too
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._counters[_slot(*what)] += 1


@lru_cache(maxsize=4096)  # the same callers call again
def _slots(key: bytes, tenant_id: str, number: str) -> tuple[int, int, int, int]:
    digest = _digest(key, tenant_id, number)
    return _slot("changed", digest), _EVERYTHING, _slot_of(tenant_id), _slot("forgotten", digest)


@lru_cache(maxsize=4096)
def _slot_of(tenant_id: str) -> int:
    return _slot("of", tenant_id)


def _digest(key: bytes, *what: str) -> str:
    return blake2b("\0".join(("digest", *what)).encode(errors="replace"), key=key, digest_size=32).hexdigest()


def _slot(*what: str) -> int:
    return zlib.crc32("\0".join(what).encode(errors="replace")) % SLOTS


_EVERYTHING = _slot("all")
