"""The line of a key in a customer's file.

Hand-written, since neither tomllib nor tomlkit tells lines: the beginnings of the file are read, until one has the key.
That is the own understanding of tomllib, whatever quotes, tables and strings of several lines there are.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

MAX_LINES = 5_000  # of a file in which lines are looked for: each costs some readings of it
_ENTRY = re.compile(r"crm entry (\d+)[.:]\s*")


def with_line(problem: str, text: str) -> str:
    """Return ``problem``, which begins with a dotted key, with the line of that key, if there is one."""
    path = _path(problem)
    lines = text.splitlines(keepends=True)
    if not path or len(lines) > MAX_LINES:
        return problem
    line = find_line(lines, path)
    return f"line {line}: {problem}" if line else problem


def _path(problem: str) -> list[str]:
    """Return the keys that a problem begins with: ``crm entry 2: requests.find_notes.path: …``."""
    entry = _ENTRY.match(problem)
    key = (problem[entry.end() :] if entry else problem).partition(": ")[0]
    keys = key.split(".") if re.fullmatch(r"[\w-]+(\.[^.:]+)*", key) else []
    return ["crm", str(int(entry[1]) - 1), *keys] if entry else keys


def find_line(lines: Sequence[str], path: Sequence[str]) -> int | None:
    """Return the line (from 1) where the key at ``path`` begins, or the nearest table around it that is there."""
    for depth in range(len(path), 0, -1):
        end = _first_with(lines, path[:depth])
        if end:
            return _start(lines, end, path[depth - 1])
    return None


def _first_with(lines: Sequence[str], path: Sequence[str]) -> int:
    """Return how many lines it takes until the key is there; 0 if it never is."""
    if not _has(_read(lines, len(lines)), path):
        return 0
    without, enough = 0, len(lines)
    while enough - without > 1:
        middle = (without + enough) // 2
        readable = next((end for end in range(middle, without, -1) if _read(lines, end) is not None), without)
        if readable > without and _has(_read(lines, readable), path):
            enough = readable
        else:
            without = middle
    return enough


def _start(lines: Sequence[str], end: int, key: str) -> int:
    """Return where the statement begins that ends with line ``end``; within it, the line that has the key."""
    begin = next(place for place in range(end - 1, -1, -1) if _read(lines, place) is not None)
    return next((place for place in range(begin, end) if re.search(rf"\b{re.escape(key)}\b", lines[place])), begin) + 1


def _read(lines: Sequence[str], end: int) -> Any:
    """Return the first lines as TOML; ``None`` where they end amid something."""
    try:
        return tomllib.loads("".join(lines[:end]))
    except ValueError:
        return None


def _has(document: Any, path: Sequence[str]) -> bool:
    for key in path:
        if isinstance(document, list) and key.isdecimal() and int(key) < len(document):
            document = document[int(key)]
        elif isinstance(document, dict) and key in document:
            document = document[key]
        else:
            return False
    return True
