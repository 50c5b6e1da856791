"""Ends a request at its deadline by shutting its socket down.

Hand-written: a time-out of ``requests`` restarts with every byte, so a CRM that drips its header or body
holds a thread as long as it likes.  Nothing on PyPI bounds the whole time of a ``requests`` call.
"""

from __future__ import annotations

import heapq
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from middleware.model.deadline import Deadline

_current = threading.local()


@dataclass(slots=True)
class Watch:
    """One request under watch, on the thread that sends it.

    ``was_reused`` tells whether it went out on a connection that an earlier request had opened.
    """

    sock: socket.socket | None = None
    is_owner: bool = False
    is_over: bool = False
    has_barked: bool = False
    was_reused: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hold(self, sock: socket.socket) -> None:
        """Tell which socket the request uses."""
        with self.lock:
            if self.has_barked:
                raise TimeoutError
            self.sock = sock

    def adopt(self, sock: socket.socket) -> bool:
        """Close the request's socket when the request ends: its connection has, and its answer is still read."""
        with self.lock:
            self.is_owner = self.sock is sock and not self.is_over
            return self.is_owner

    def end(self) -> None:
        """Let the socket go: nobody shuts it down any more."""
        with self.lock:
            self.is_over = True
            if self.sock is not None and self.is_owner:
                self.sock.close()
            self.sock = None

    def bark(self) -> None:
        """Shut the request's socket down, unless the request is over."""
        with self.lock:
            if self.is_over:
                return
            self.has_barked = True
            if self.sock is not None:
                with suppress(OSError):
                    self.sock.shutdown(socket.SHUT_RDWR)


class Watchdog:
    """One thread that wakes at each deadline."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Deadline, Watch]] = []
        self._order = count()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None

    @contextmanager
    def watch(self, deadline: Deadline) -> Iterator[Watch]:
        """Shut down the connection that this thread uses inside the block when ``deadline`` passes."""
        watch = Watch()
        _current.watch = watch
        with self._wake:
            if self._thread is None or not self._thread.is_alive():  # started late: threads do not survive a fork
                self._thread = threading.Thread(target=self._run, name="crm-watchdog", daemon=True)
                self._thread.start()
            entry = (deadline.at, next(self._order), deadline, watch)
            heapq.heappush(self._heap, entry)
            if self._heap[0] is entry:  # waking a thread costs more than all the rest
                self._wake.notify()
        try:
            yield watch
        finally:
            watch.end()
            _current.watch = None

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._heap:
                    self._wake.wait()
                    continue
                deadline, watch = self._heap[0][2:]
                if not watch.is_over and not deadline.is_over:
                    self._wake.wait(deadline.remaining)
                    continue
                heapq.heappop(self._heap)
            watch.bark()


class _Watched:
    """Tells the watch of this thread which socket its request uses.

    It keeps a second handle on the socket: the first one disappears into the TLS layer.
    """

    sock: socket.socket | None
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        sock: socket.socket = super()._new_conn()  # type: ignore[misc]  # of the connection class beside
        self._handle = socket.socket(fileno=os.dup(sock.fileno()))
        self._tell_watch()  # before the TLS handshake, which can be dripped as well
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:
            self._tell_watch(is_reused=True)
        super().request(*args, **kwargs)  # type: ignore[misc]

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        handle, self._handle = self._handle, None
        watch: Watch | None = getattr(_current, "watch", None)
        if handle is not None and not (watch is not None and watch.adopt(handle)):
            handle.close()

    def _tell_watch(self, *, is_reused: bool = False) -> None:
        watch: Watch | None = getattr(_current, "watch", None)
        if watch is not None and self._handle is not None and watch.sock is None:
            watch.was_reused = is_reused
            watch.hold(self._handle)


class _HTTP(_Watched, HTTPConnection):
    pass


class _HTTPS(_Watched, HTTPSConnection):
    pass


class WatchedHTTPPool(HTTPConnectionPool):
    """Connections that a watchdog can shut down."""

    ConnectionCls = _HTTP


class WatchedHTTPSPool(HTTPSConnectionPool):
    """Connections that a watchdog can shut down, with TLS."""

    ConnectionCls = _HTTPS
