"""Hears from Redis what happened to a number on other machines.

Redis keeps no news for those who are away: whoever comes back takes it that everything was forgotten.
"""

from __future__ import annotations

import json
import time
from contextlib import closing
from threading import Event, Lock, Thread
from typing import Any

from middleware.generations import Generations
from middleware.shared_store import PAUSE, TIMEOUT, SharedStore, connect

CHANNEL = "m8crm:news"
SILENCE = 3.0  # seconds without an answer, after which the connection is given up


def dump_news(what: str, tenant_id: str, digest: str | None) -> str:
    """Return what is told: the digest's number, or all of the customer's, has ``changed`` or is ``forgotten``."""
    return json.dumps([what, tenant_id, digest])


class News:
    """One per process; its thread listens from the first answer on that could become untrue elsewhere."""

    def __init__(self, store: SharedStore, generations: Generations) -> None:
        self._store = store
        self._generations = generations
        self._lock = Lock()
        self._thread: Thread | None = None
        self._is_heard = Event()
        self._is_closed = Event()
        self._may_have_missed = False

    def start(self) -> None:
        """Listen from now on; what was kept while Redis was down may have become untrue without our hearing it."""
        if self._thread or self._is_closed.is_set():
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
        """Have the thread end, within a second; nobody waits for it."""
        self._is_closed.set()

    def _listen(self) -> None:
        while not self._is_closed.is_set():
            try:
                with closing(connect(self._store.url, max_connections=1)) as redis, closing(redis.pubsub()) as channel:
                    channel.subscribe(CHANNEL)
                    self._hear(channel)
            except Exception:  # noqa: S110 - the store tells the log when Redis is down
                pass
            self._is_closed.wait(PAUSE)

    def _hear(self, channel: Any) -> None:
        heard_at = time.monotonic()
        while not self._is_closed.is_set() and time.monotonic() - heard_at < SILENCE:
            message = channel.get_message(timeout=PAUSE)
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
            what, tenant_id, digest = json.loads(data)
        except (ValueError, TypeError):
            what, tenant_id, digest = "forgotten", None, None  # whatever it was, it was news
        if digest and what == "changed":
            self._generations.bump_digest(digest)
        elif digest:
            self._generations.forget_digest(digest)
        else:
            self._generations.forget(tenant_id)
