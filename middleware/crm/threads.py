"""Threads for calls that may never return.

Hand-written: ``ThreadPoolExecutor`` joins its threads at exit, so one hung CRM would hold up every restart.
These are daemons; there are as many as calls are under way, and idle ones are used again.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import ParamSpec, TypeVar

import structlog

from middleware.errors import place_of

IDLE_SECONDS = 60.0  # after which a thread without work ends

log = structlog.get_logger("m8crm")
P = ParamSpec("P")
T = TypeVar("T")


class _Idle:
    """A thread that waits for a ``call``; it has its own lock, since threads that share one wake each other."""

    __slots__ = ("call", "given")

    def __init__(self) -> None:
        self.call: Callable[[], None] | None = None
        self.given = threading.Lock()
        self.given.acquire()


class DaemonPool:
    """Runs every call at once: on an idle thread or a new one.  Whoever submits must bound how much he submits."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._idle: list[_Idle] = []  # the one that has just ended is taken first: its memory is at hand
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

        self.start(call)
        return future

    def start(self, call: Callable[[], None]) -> None:
        """Do what :meth:`submit` does for a call of which nobody waits for the result."""
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        if idle:
            idle.call = call
            idle.given.release()
        else:
            threading.Thread(target=self._work, args=(call,), name=self._name, daemon=True).start()

    def _work(self, call: Callable[[], None] | None) -> None:
        me = _Idle()
        while call:
            try:
                call()
            except BaseException as error:  # a thread that dies ends the process; whoever waits has a deadline
                log.error("call_broken", pool=self._name, error=type(error).__name__, place=place_of(error))
            call = None  # a thread that waits holds nothing of the last call
            with self._lock:
                self._idle.append(me)
            call = self._next(me)

    def _next(self, me: _Idle) -> Callable[[], None] | None:
        if not me.given.acquire(timeout=IDLE_SECONDS):
            with self._lock:
                if me in self._idle:  # else a call was promised this thread while it gave up
                    self._idle.remove(me)
                    return None
            me.given.acquire()
        call, me.call = me.call, None
        return call
