"""Redis (or Valkey), shared by the processes of all machines, and never waited for.

Everything that is kept there can be done without: whoever asks says what to do otherwise.  A Redis that
refuses, is silent, cannot be found, answers nonsense, is full or read-only is logged once, by the error's class,
and then left alone for a second: an outage costs one call in a second its 50 ms, and the others nothing.

What stands for a number there is made with the installation's key (``installation_key.py``).  A machine with
another key would not hear what the others say, and would go on showing what is no longer true: it finds the others'
fingerprint and leaves Redis alone.
"""

from __future__ import annotations

import hmac
import math
import socket
import time
from collections.abc import Callable
from concurrent.futures import Future
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, TypeVar

import structlog

from middleware.errors import ConfigError, place_of
from middleware.model.deadline import Clock

TIMEOUT = 0.05  # seconds to connect, and to wait for an answer
PAUSE = 1.0  # seconds for which a Redis that failed is left alone
CONNECTIONS = 16  # per process; a call takes well under a millisecond of one
OWNER = "m8crm:owner"  # the fingerprint of the key
OWNED_FOR = 60.0  # seconds after which it is looked at again: Redis may have been emptied

# ARGV: fingerprint; 1 when it is the one that stands there, or is the first.  A full Redis takes EXPIRE, but no SET.
_OWN = """
local owner = redis.pcall('GET', KEYS[1])
if owner == ARGV[1] then
    redis.call('EXPIRE', KEYS[1], 86400)
    return 1
end
if type(owner) == 'string' then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'EX', 86400)
return 1
"""

log = structlog.get_logger("m8crm.redis")
T = TypeVar("T")
D = TypeVar("D")


class KeysDiffer(Exception):  # noqa: N818 - what the log says
    """The machines that use this Redis have another key."""


class SharedStore:
    """One per process; nothing is opened before the first call, which comes after the fork."""

    def __init__(self, url: str, *, key: bytes, clock: Clock = time.monotonic) -> None:
        self.url = url
        self._fingerprint = hmac.digest(key, b"fingerprint", "sha256")[:8].hex().encode()
        self._owned_until = -math.inf
        self._is_difference_told = False
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
            self._assert_own()
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

    def _assert_own(self) -> None:
        if self._clock() < self._owned_until:
            return
        answer = self._redis.eval(_OWN, 1, OWNER, self._fingerprint)
        if answer == 0:
            raise KeysDiffer
        if answer != 1:
            raise ValueError("nonsense")
        self._owned_until = self._clock() + OWNED_FOR

    def _failed(self, error: Exception) -> None:
        with self._lock:
            is_news, self._down_until = self._down_until is None, self._clock() + PAUSE
            self._owned_until = -math.inf  # whoever comes back may be another one
            differ = isinstance(error, KeysDiffer)
            was_told, self._is_difference_told = self._is_difference_told, differ
        if differ:
            if not was_told:
                log.error("keys_differ", todo="give all machines that share this Redis the same file 'key'")
        elif is_news:
            log.warning("redis_is_down", error=type(error).__name__, place=place_of(error))

    def _worked(self) -> None:
        if self._down_until is not None:
            with self._lock:
                is_news, self._down_until = self._down_until is not None, None
            if is_news:
                log.info("redis_is_back")


def connect(url: str, **options: Any) -> Any:
    """Return a client that waits 50 ms and never tries twice; raises :class:`ConfigError` for a bad URL.

    Its own defaults wait 4 s for a Redis that refuses, 25 s for a silent one, and for a name without end.
    """
    try:
        from redis import Redis  # noqa: PLC0415 - an extra
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415
    except ImportError:
        raise ConfigError("M8CRM_REDIS_URL", ["needs the extra: pip install 'm8crm[redis]'"]) from None
    waiting = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "retry": Retry(NoBackoff(), 0)}
    try:
        redis = Redis.from_url(url, protocol=2, **waiting, **options)
    except ValueError:  # its message would show the password
        problem = "is no Redis URL: redis://[[user]:password@]host[:port][/db], rediss://… or unix://…"
        raise ConfigError("M8CRM_REDIS_URL", [problem]) from None
    pool = redis.connection_pool
    pool.connection_class = _impatient(pool.connection_class)
    return redis


def _impatient(connection_class: Any) -> Any:
    """Return the class with a time limit for all of connecting: it has none for looking the name up."""
    threads = BoundedSemaphore(CONNECTIONS)  # that may hang at the same time

    def connect(self: Any) -> Any:
        connected: Future[socket.socket] = Future()

        def run() -> None:
            try:
                connected.set_result(connection_class._connect(self))
            except Exception as error:
                connected.set_exception(error)
            finally:
                threads.release()

        if not threads.acquire(blocking=False):
            raise TimeoutError("enough threads look for Redis")
        try:
            Thread(target=run, name="redis-connect", daemon=True).start()
        except RuntimeError:  # the machine has no thread left
            threads.release()
            raise
        try:
            return connected.result(TIMEOUT)
        except TimeoutError:
            connected.add_done_callback(_close)
            raise

    return type(connection_class.__name__, (connection_class,), {"_connect": connect})


def _close(connected: Future[socket.socket]) -> None:
    """Close what nobody waits for any more."""
    if not connected.exception():
        connected.result().close()
