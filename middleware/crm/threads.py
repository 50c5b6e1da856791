"""Threads for calls that may never return.

Hand-written: ``ThreadPoolExecutor`` joins its threads at exit, so one hung CRM would hold up every restart.
These are daemons; there are as many as calls are under way, and idle ones are used again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import ParamSpec, TypeVar

IDLE_SECONDS = 60.0  # after which a thread without work ends

P = ParamSpec("P")
T = TypeVar("T")


class DaemonPool:
    """Runs every call at once: on an idle thread or a new one.  Whoever submits must bound how much he submits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._idle = 0
        self._lock = threading.Lock()

    def submit(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Start the call; its future takes the result or whatever it raised, ``SystemExit`` included.

        Raises ``RuntimeError`` when a thread is needed and the machine has none left; the call is not run then.
        """
        future: Future[T] = Future()

        def call() -> None:
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)

        with self._lock:
            if self._idle:
                self._idle -= 1
                self._calls.put(call)
                return future
        threading.Thread(target=self._work, args=(call,), name=self._name, daemon=True).start()
        return future

    def _work(self, call: Callable[[], None] | None) -> None:
        while call:
            call()
            call = None  # a thread that waits holds nothing of the last call
            with self._lock:
                self._idle += 1
            call = self._next()

    def _next(self) -> Callable[[], None] | None:
        while True:
            try:
                return self._calls.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._idle:  # else a call was promised this thread while it gave up: it is in the queue
                        self._idle -= 1
                        return None
