"""Tells every process of this machine that a cached answer is no longer true.

A file of counters is mapped into each process: whoever changes what a lookup would find (a delivered call,
a manual refresh) counts the number's slot up; a cached answer is good only while its slot stands where it
stood when the CRM was asked.  Hand-written: reading it costs a microsecond on the hot path, where a
database or a socket would cost a hundred.  Two numbers may share a slot; that costs one more CRM call.
"""

from __future__ import annotations

import fcntl
import mmap
import struct
import zlib
from pathlib import Path

SLOTS = 1 << 16
_SLOT = struct.Struct("=Q")


class Generations:
    """The counters in ``path``; made when missing, shared by all processes that open it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path
        with path.open("a+b") as file:
            file.truncate(SLOTS * _SLOT.size)
            self._map = mmap.mmap(file.fileno(), SLOTS * _SLOT.size)

    def current(self, tenant_id: str, number: str) -> int:
        """Return the count of the number's slot."""
        return int(_SLOT.unpack_from(self._map, self._offset(tenant_id, number))[0])

    def bump(self, tenant_id: str, number: str) -> None:
        """Make every cached answer for the number untrue, in all processes."""
        offset = self._offset(tenant_id, number)
        with self._path.open("rb") as lock:  # opened anew each time: flock then excludes threads, too
            fcntl.flock(lock, fcntl.LOCK_EX)
            _SLOT.pack_into(self._map, offset, self.current(tenant_id, number) + 1)

    def close(self) -> None:
        """Unmap the file."""
        self._map.close()

    @staticmethod
    def _offset(tenant_id: str, number: str) -> int:
        return zlib.crc32(f"{tenant_id}\0{number}".encode(errors="replace")) % SLOTS * _SLOT.size
