"""The line of a key in a customer's file.

Hand-written, since neither tomllib nor tomlkit tells lines: the beginnings of the file are read, until one has the key.
So whatever quotes, tables and texts of several lines there are, they are understood as they are when the file is read.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

MAX_LINES = 2_000  # of a file in which lines are looked for, and
MAX_READINGS = 200  # how often its beginnings are read for that: a few ms each, in which nobody is answered
_ENTRY = re.compile(r"crm entry (\d+)[.:]\s*")


def with_lines(problems: Sequence[str], text: str) -> list[str]:
    """Return the problems, each of which begins with a dotted key, with the lines of those keys that are there."""
    lines = Lines(text)
    found = [(problem, lines.find(_path(problem))) for problem in problems]
    return [f"line {line}: {problem}" if line else problem for problem, line in found]


def _path(problem: str) -> list[str]:
    """Return the keys that a problem begins with: ``crm entry 2: requests.find_notes.path: …``."""
    entry = _ENTRY.match(problem)
    key = (problem[entry.end() :] if entry else problem).partition(": ")[0]
    keys = key.split(".") if re.fullmatch(r"[\w-]+(\.[^.:]+)*", key) else []
    return ["crm", str(int(entry[1]) - 1), *keys] if entry else keys


class Lines:
    """A file's lines, and what was read of its beginnings so far."""

    def __init__(self, text: str) -> None:
        self._lines = text.splitlines(keepends=True)
        self._read: dict[int, Any] = {}

    def find(self, path: Sequence[str]) -> int | None:
        """Return the line (from 1) where the key at ``path`` begins, or the nearest table around it that is there."""
        if len(self._lines) > MAX_LINES:
            return None
        for depth in range(len(path), 0, -1):
            if _has(self._beginning(len(self._lines)), path[:depth]):
                return self._start(self._first_with(path[:depth]), path[depth - 1])
        return None

    def _first_with(self, path: Sequence[str]) -> int:
        """Return how many lines it takes until the key is there."""
        without, enough = 0, len(self._lines)
        while enough - without > 1:
            middle = (without + enough) // 2
            readable = self._readable(middle, without)
            if readable > without and _has(self._beginning(readable), path):
                enough = readable
            else:
                without = middle
        return enough

    def _start(self, end: int, key: str) -> int:
        """Return where the statement begins that ends with line ``end``; within it, the line that has the key."""
        begin = self._readable(end - 1, 0)
        word = re.compile(rf"\b{re.escape(key)}\b")
        return next((place for place in range(begin, end) if word.search(self._lines[place])), begin) + 1

    def _readable(self, end: int, least: int) -> int:
        """Return the last line up to ``end`` with which a statement ends, or ``least``."""
        return next((place for place in range(end, least, -1) if self._beginning(place) is not None), least)

    def _beginning(self, end: int) -> Any:
        """Return the first lines as TOML; ``None`` where they end amid something, and when enough was read."""
        if end not in self._read and len(self._read) < MAX_READINGS:
            try:
                self._read[end] = tomllib.loads("".join(self._lines[:end]))
            except ValueError:
                self._read[end] = None
        return self._read.get(end)


def _has(document: Any, path: Sequence[str]) -> bool:
    for key in path:
        if isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        elif isinstance(document, dict) and key in document:
            document = document[key]
        else:
            return False
    return True
