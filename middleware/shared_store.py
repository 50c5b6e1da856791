"""Redis (or Valkey), shared by the processes of all machines, and never waited for.

Everything that is kept there can be done without: whoever asks says what to do otherwise.  A Redis that
refuses, is silent, answers nonsense, is full or read-only is logged once, by the error's class, and then left
alone for a second: an outage costs one call in a second its 50 ms, and the others nothing.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from threading import BoundedSemaphore, Lock
from typing import Any, TypeVar

import structlog

from middleware.errors import ConfigError, place_of
from middleware.model.deadline import Clock

TIMEOUT = 0.05  # seconds to connect, and to wait for an answer
PAUSE = 1.0  # seconds for which a Redis that failed is left alone
CONNECTIONS = 16  # per process; a call takes well under a millisecond of one

log = structlog.get_logger("m8crm.redis")
T = TypeVar("T")
D = TypeVar("D")


class SharedStore:
    """One per process; nothing is opened before the first call, which comes after the fork."""

    def __init__(self, url: str, *, clock: Clock = time.monotonic) -> None:
        self.url = url
        self._redis = connect(url, max_connections=CONNECTIONS)
        self._clock = clock
        self._lock = Lock()
        self._connections = BoundedSemaphore(CONNECTIONS)
        self._down_until: float | None = None

    def call(self, action: Callable[[Any], T], otherwise: D) -> T | D:
        """Return what ``action`` makes of the client, or ``otherwise`` when Redis fails or has just failed."""
        if self.is_down or not self._connections.acquire(timeout=TIMEOUT):
            return otherwise
        try:
            if not self._may_try():
                return otherwise
            result = action(self._redis)
        except Exception as error:  # nonsense from the wire raises nearly anything
            self._failed(error)
            return otherwise
        finally:
            self._connections.release()
        self._worked()
        return result

    @property
    def is_down(self) -> bool:
        """Whether Redis has just failed and is left alone."""
        down_until = self._down_until
        return down_until is not None and self._clock() < down_until

    def close(self) -> None:
        """Close the connections, and leave Redis alone from now on."""
        self._down_until = math.inf
        self._redis.close()

    def _may_try(self) -> bool:
        with self._lock:
            if self.is_down:
                return False
            if self._down_until is not None:  # this call tries; meanwhile the others go on leaving Redis alone
                self._down_until = self._clock() + PAUSE
            return True

    def _failed(self, error: Exception) -> None:
        with self._lock:
            is_news, self._down_until = self._down_until is None, self._clock() + PAUSE
        if is_news:
            log.warning("redis_is_down", error=type(error).__name__, place=place_of(error))

    def _worked(self) -> None:
        if self._down_until is not None:
            with self._lock:
                is_news, self._down_until = self._down_until is not None, None
            if is_news:
                log.info("redis_is_back")


def connect(url: str, **options: Any) -> Any:
    """Return a client that waits 50 ms and never tries twice; raises :class:`ConfigError` for a bad URL.

    Its own defaults wait 4 s for a Redis that refuses and 25 s for a silent one.
    """
    try:
        from redis import Redis  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError:
        raise ConfigError("M8CRM_REDIS_URL", ["needs the extra: pip install 'm8crm[redis]'"]) from None
    waiting = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "retry": Retry(NoBackoff(), 0)}
    try:
        return Redis.from_url(url, protocol=2, **waiting, **options)
    except ValueError:  # its message would show the password
        problem = "is no Redis URL: redis://[[user]:password@]host[:port][/db], rediss://… or unix://…"
        raise ConfigError("M8CRM_REDIS_URL", [problem]) from None
