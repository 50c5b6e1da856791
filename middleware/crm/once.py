"""What several methods of one lookup need is fetched once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar

T = TypeVar("T")


class Once:
    """Does each thing that bears a name once, and hands its result, or its failure, to everybody who asks."""

    def __init__(self) -> None:
        self._known: dict[str, Future[Any]] = {}
        self._lock = Lock()

    def __call__(self, name: str, work: Callable[[], T]) -> T:
        """Return what ``work`` returns; others who ask for ``name`` meanwhile wait for it."""
        mine: Future[T] = Future()
        with self._lock:
            future = self._known.setdefault(name, mine)
        if future is mine:
            try:
                mine.set_result(work())
            except BaseException as error:
                mine.set_exception(error)
        result: T = future.result()
        return result
