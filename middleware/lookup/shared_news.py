"""Tells the other machines what happened to a number, and hears it from them.

Redis keeps no news for those who are away: whoever comes back takes it that everything was forgotten.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from threading import Event, Lock, Thread
from typing import Any, Literal, NamedTuple

from middleware.generations import Generations
from middleware.shared_store import PAUSE, TIMEOUT, SharedStore, connect

CHANNEL = "m8crm:news"
SILENCE = 3  # seconds without an answer, after which the connection is given up


class Change(NamedTuple):
    """What happened: to a number, to all of a customer's (no number), or to all (no customer either)."""

    kind: Literal["changed", "forgotten"]
    tenant_id: str | None
    number: str | None

    def dump(self) -> str:
        """Return the news as it is sent."""
        return json.dumps(self)


class News:
    """One per process; its thread listens from the first answer on that could become untrue elsewhere."""

    channel = CHANNEL

    def __init__(self, url: str, store: SharedStore, generations: Generations) -> None:
        self._url = url
        self._store = store
        self._generations = generations
        self._lock = Lock()
        self._thread: Thread | None = None
        self._is_heard = Event()
        self._is_closed = Event()
        self._may_have_missed = False

    def start(self) -> None:
        """Listen from now on: what is kept before Redis knows of us could become untrue without our hearing it."""
        if self._thread:
            return
        if not self._store.call(lambda redis: redis.ping(), False):
            self._may_have_missed = True
            return
        with self._lock:
            if self._thread is None:
                thread = Thread(target=self._listen, name="redis-news", daemon=True)
                thread.start()
                self._is_heard.wait(TIMEOUT)
                self._may_have_missed = True
                self._thread = thread

    def close(self) -> None:
        """End the thread within a second."""
        self._is_closed.set()
        if self._thread:
            self._thread.join(SILENCE)

    def _listen(self) -> None:
        while not self._is_closed.is_set():
            try:
                with closing(connect(self._url, max_connections=1)) as redis, closing(redis.pubsub()) as channel:
                    channel.subscribe(CHANNEL)
                    self._hear(channel)
            except Exception:  # noqa: S110 - the store tells the log when Redis is down
                pass
            self._is_closed.wait(PAUSE)

    def _hear(self, channel: Any) -> None:
        heard_at = time.monotonic()
        while not self._is_closed.is_set() and time.monotonic() - heard_at < SILENCE:
            message = channel.get_message(timeout=1.0)
            if message is None:
                channel.ping()  # a Redis that is gone without a word is silent like one without news
                continue
            heard_at = time.monotonic()
            if message["type"] == "subscribe":
                if self._may_have_missed:
                    self._generations.forget()
                self._is_heard.set()
            elif message["type"] == "message":
                self._take(message["data"])

    def _take(self, data: bytes) -> None:
        try:
            change = Change(*json.loads(data))
        except (ValueError, TypeError):
            change = Change("forgotten", None, None)  # whatever it was, it was news
        if change.kind == "changed" and change.tenant_id and change.number:
            self._generations.bump(change.tenant_id, change.number)
        else:
            self._generations.forget(change.tenant_id, change.number)
