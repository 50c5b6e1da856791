"""Answers and searches, shared by all processes of all machines through Redis.

One flight per question: the first who asks leads it and searches, the others look every 20 ms whether the answer,
or the failure, is there.  A leader renews his lease; when he dies, the others go on within a second.  Whatever
fails, a search is simply run: Redis saves work and is never needed.

Numbers do not stand in keys: those are visible in places where nobody looks for customers' data.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from datetime import timedelta
from hashlib import sha256
from threading import Event, Lock
from typing import Any

from middleware.crm.threads import DaemonPool
from middleware.generations import Generations
from middleware.lookup import shared_scripts as scripts
from middleware.lookup.cache import Kept, Key
from middleware.lookup.card import Busy, Failed, Hit, Miss, Result, TimedOut
from middleware.lookup.news import CHANNEL, News, dump_news
from middleware.model.deadline import Deadline
from middleware.shared_store import PAUSE, SharedStore

LEASE = 1.0  # seconds after which the others go on without a leader who has died
POLL = 0.02  # seconds between two looks of those who wait
OUTCOME = 3.0  # seconds for which those who wait can learn of a failure
MAX_BYTES = 1024 * 1024  # of an answer; no card comes near
MAX_UNTOLD = 10_000
PREFIX = "m8crm:answers"  # another one when the layout changes: old and new processes run side by side for a while


class SharedAnswers:
    """The second tier of the cache and the flights; a key is tenant id, revision, number, and whatever else."""

    def __init__(self, store: SharedStore, generations: Generations) -> None:
        self._store = store
        self._news = News(store, generations)
        self._pool = DaemonPool("redis")
        self._lock = Lock()
        self._untold: dict[tuple[str, str], object] = {}
        self._is_closed = Event()

    def ask(
        self,
        key: Key,
        search: Callable[[], Future[Result]],
        keep: Callable[[Result], Kept | None],
        deadline: Deadline,
        *,
        arrived: Callable[[Kept], None] = lambda _kept: None,
    ) -> Result:
        """Return the shared answer, or what ``search`` finds, here or in the process that asked first.

        ``keep`` says for how long a result is shared.  ``arrived`` is told of an answer that came from elsewhere,
        with the seconds it is still good for; one that is not fresh any more arrives before the search begins.
        """
        tenant_id, revision, number, *rest = key
        place, field, token = _place(tenant_id, number), f"{revision}:{_digest(*rest)}", secrets.token_hex(16)
        self._news.start()
        has_waited = 0
        while not deadline.is_over:
            seen = self._run(scripts.ASK, place, field, token, _ms(LEASE), has_waited, read=_read)
            if seen is None:
                return search().result()
            word, result, known = seen
            if known:
                arrived(known)
            if word == b"lead":
                return self._lead(place, field, token, search(), keep)
            if word == b"wait":
                has_waited = 1
                time.sleep(min(POLL, deadline.remaining))
                continue
            return search().result() if result is None else result
        return TimedOut()

    def change(self, tenant_id: str, number: str) -> None:
        """Have all machines ask the CRM again, when Redis is down as soon as it is back.

        What is known stays good for the case that the CRM fails.
        """
        if self._change(tenant_id, number):
            return
        with self._lock:
            is_being_told = bool(self._untold)
            if len(self._untold) < MAX_UNTOLD:
                self._untold[tenant_id, number] = object()
        if not is_being_told:
            self._pool.submit(self._tell)

    def forget(self, tenant_id: str, number: str | None = None) -> bool:
        """Remove the number's answers, or all of the customer's, on all machines; tell whether Redis took it."""

        def action(redis: Any) -> bool:
            places = [_place(tenant_id, number)] if number else redis.scan_iter(f"{PREFIX}:{tenant_id}:*", count=1000)
            for place in places:
                redis.unlink(place)  # with the flights: what is under way is not kept
            redis.publish(CHANNEL, dump_news("forgotten", tenant_id, number))
            return True

        return self._store.call(action, False)

    def close(self) -> None:
        """Stop listening, and close the connections."""
        self._is_closed.set()
        self._news.close()
        self._store.close()

    def _lead(
        self, place: str, field: str, token: str, searching: Future[Result], keep: Callable[[Result], Kept | None]
    ) -> Result:
        while not wait([searching], LEASE / 3).done:
            self._run(scripts.RENEW, place, field, token, _ms(LEASE))
        result = searching.result()
        kept = keep(result)
        spans = (kept.fresh, kept.revalidate, kept.stale) if kept else (0, 0, 0)
        self._run(scripts.FINISH, place, field, token, *map(_ms, spans), dump_result(result), _ms(OUTCOME))
        return result

    def _change(self, tenant_id: str, number: str) -> bool:
        news = dump_news("changed", tenant_id, number)
        return self._run(scripts.CHANGE, _place(tenant_id, number), CHANNEL, news) is not None

    def _tell(self) -> None:
        """Tell what Redis was not told while it was down: it would go on giving the answers from before."""
        while not self._is_closed.wait(PAUSE):
            for place, mark in tuple(self._untold.items()):
                if not self._change(*place):
                    break
                with self._lock:
                    if self._untold[place] is mark:  # else it has changed once more meanwhile
                        del self._untold[place]
                    if not self._untold:
                        return

    def _run(self, script: str, place: str, *args: Any, read: Callable[[Any], Any] = bool) -> Any:
        return self._store.call(lambda redis: read(redis.register_script(script)([place], args)), None)


def dump_result(result: Result) -> bytes:
    """Return the result as bytes: a letter, and what it holds; nothing when it is too large to share.

    Hand-written: a body is not copied into JSON, and nothing that is read can do more than be a result.
    """
    if isinstance(result, Hit):
        encoded = (b"p" if result.is_partial else b"h") + result.body
    elif isinstance(result, Miss):
        encoded = b"m" + result.reason.encode(errors="replace")
    elif isinstance(result, Failed):
        seconds = None if result.retry_after is None else result.retry_after.total_seconds()
        encoded = b"f" + json.dumps([result.reason, seconds]).encode()
    else:
        encoded = b"b" if isinstance(result, Busy) else b"t"
    return encoded if len(encoded) <= MAX_BYTES else b""


def parse_result(encoded: bytes) -> Result | None:
    """Return the result, or ``None`` for what :func:`dump_result` never writes."""
    kind, content = encoded[:1], encoded[1:]
    if kind in (b"h", b"p"):
        return Hit(body=content, is_partial=kind == b"p")
    if kind == b"m":
        return Miss(reason=content.decode(errors="replace"))
    if kind == b"f":
        return _parse_failed(content)
    known: dict[bytes, Result] = {b"b": Busy(), b"t": TimedOut()}
    return known.get(encoded)


def _parse_failed(content: bytes) -> Failed | None:
    try:
        reason, seconds = json.loads(content)
        return Failed(reason=str(reason), retry_after=None if seconds is None else timedelta(seconds=seconds))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None


def _read(seen: list[Any]) -> tuple[bytes, Result | None, Kept | None]:
    """Return what :data:`shared_scripts.ASK` says, with the result and, if it was kept, for how long still."""
    word, *spans, encoded = seen
    result = parse_result(encoded)
    if word == b"outcome" or not isinstance(result, Hit | Miss):
        return word, result, None
    fresh, revalidate, stale = (span / 1000 for span in spans)
    return word, result, Kept(result=result, fresh=fresh, revalidate=revalidate, stale=stale)


def _place(tenant_id: str, number: str) -> str:
    return f"{PREFIX}:{tenant_id}:{_digest(number)}"


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
