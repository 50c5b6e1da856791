"""The log lines of answers that are too quick to be logged one by one.

Writing a line costs more than a fast answer, and a blocked standard error must not block the answers: they
leave their facts here, and a thread of its own writes them, some in full and the rest as a count.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import structlog

log = structlog.get_logger("m8crm.web")
A_SECOND = 50  # lines that are written in full; more would cost the answers their speed
PAUSE = 0.1  # seconds between looks at what waits: to be woken for each line would take the processor from its answer

Line = tuple[Callable[..., None], tuple[object, ...]]


class Lines:
    """Takes facts without ever waiting for a reader, and writes them from a thread of its own."""

    def __init__(self, *, a_second: int = A_SECOND) -> None:
        self._a_second = a_second
        self._waiting: deque[Line] = deque()
        self._offered = 0  # counted by those who offer, ...
        self._told = 0  # ... and by the one thread: the difference is what was left out
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._is_broken = False  # no thread could be started, and that was told

    def offer(self, write: Callable[..., None], *facts: object) -> None:
        """Leave a line to be written by ``write(*facts)``; what is too much is only counted."""
        with self._lock:
            self._offered += 1
            if len(self._waiting) < self._a_second:  # nor would more be written
                self._waiting.append((write, facts))
            elif self._thread is not None:  # which is awake
                return
            if not self._wake.is_set():
                self._wake.set()
                if self._thread is None:  # not before: a thread does not survive a fork
                    self._start()

    def close(self) -> None:
        """Write what is left."""
        self._stop.set()
        self._wake.set()
        if self._thread:
            self._thread.join(2)  # standard error may be blocked for good

    def _start(self) -> None:
        thread = threading.Thread(target=self._run, name="lines", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:  # the machine has too many; the next line tries again
            self._wake.clear()
            if not self._is_broken:
                log.error("line_not_written", error=type(error).__name__)
            self._is_broken = True
        else:
            self._thread = thread

    def _run(self) -> None:
        began, written = time.monotonic(), 0
        while not self._stop.is_set():
            self._wake.wait()
            self._stop.wait(PAUSE)
            self._wake.clear()
            if time.monotonic() - began >= 1:
                began, written = time.monotonic(), 0
            while written < self._a_second and self._waiting:
                self._write(self._waiting.popleft())
                written += 1
            if written == self._a_second:
                self._wake.set()  # nobody needs to wake a thread that sleeps till the second is over
                self._stop.wait(max(0.0, began + 1 - time.monotonic()))
                self._count()
        while self._waiting and written < self._a_second:
            self._write(self._waiting.popleft())
            written += 1
        self._count()

    def _write(self, line: Line) -> None:
        self._told += 1
        write, facts = line
        try:
            write(*facts)
        except Exception as error:  # the thread must live on; what is told may not fail
            log.error("line_not_written", error=type(error).__name__)

    def _count(self) -> None:
        """Tell how many lines were left out, and drop them."""
        offered = self._offered
        self._waiting.clear()
        if offered > self._told:
            log.info("requests_counted", count=offered - self._told)
            self._told = offered
