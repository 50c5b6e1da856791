"""``Names``: finds customers by a part of their id or name, among ten thousand, without waiting for their files."""

from __future__ import annotations

import re
import threading
import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from middleware.tenants.config import MAX_BYTES, TENANT_ID

READ_EVERY = 30.0  # seconds between two looks at all files
BREATH = 0.002  # seconds after each file that is read: lookups go first
_NAME = re.compile(rb"""^name[ \t]*=[ \t]*(?:"[^\n]*"|'[^\n]*')[^\n]*$""", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Matches:
    """The ids that match; ``is_whole`` unless names are still being read, and more may match soon."""

    ids: list[str]
    is_whole: bool


class Names:
    """The names of all customers, read by a thread of its own, each again when its file changes."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._names: dict[str, tuple[int, str]] = {}
        self._read_at = float("-inf")
        self._lock = threading.Lock()

    def find(self, text: str, ids: list[str]) -> Matches:
        """Return those of ``ids`` that have ``text`` in their id or name, whatever its case."""
        self._read_soon()
        wanted, known = text.strip().casefold(), self._names
        found = [one for one in ids if wanted in one or wanted in known.get(one, (0, ""))[1]]
        return Matches(ids=found, is_whole=all(one in known for one in ids))

    def read(self) -> None:
        """Read the names of all files that are new or have changed."""
        paths = [path for path in self._folder.glob("*.toml") if TENANT_ID.fullmatch(path.stem)]
        for path in paths:
            stamp = _stamp_of(path)
            if self._names.get(path.stem, (None, ""))[0] != stamp:
                self._names[path.stem] = (stamp, _name_of(path).casefold())
                time.sleep(BREATH)
        for gone in self._names.keys() - {path.stem for path in paths}:
            del self._names[gone]

    def _read_soon(self) -> None:
        now = self._clock()
        if now - self._read_at < READ_EVERY or not self._lock.acquire(blocking=False):
            return
        self._read_at = now
        try:
            threading.Thread(target=self._read_and_release, name="names", daemon=True).start()
        except RuntimeError:  # the machine has too many threads: ids alone are found
            self._lock.release()

    def _read_and_release(self) -> None:
        try:
            self.read()
        finally:
            self._lock.release()


def _stamp_of(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _name_of(path: Path) -> str:
    """Return the file's name for its customer, or nothing; the file as a whole is read elsewhere."""
    try:
        with path.open("rb") as file:
            line = _NAME.search(file.read(MAX_BYTES))
        return str(tomllib.loads(line[0].decode())["name"]) if line else ""
    except (OSError, ValueError):
        return ""
