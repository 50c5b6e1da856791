"""Answers and searches, shared by all processes of all machines through Redis.

One flight per question: the first who asks leads it and searches, the others look every 20 ms whether the answer,
or the failure, is there.  A leader renews his lease and tells what he would answer by now: what he has decided the
others answer, too, though some CRM has not ended; the rest is for those whose deadline comes.  When he dies, the
others go on within a second.  Whatever fails, a search is simply run: Redis saves work and is never needed.

Numbers stand in nothing that Redis's logs, or a list of its keys, show: only their keyed digests do.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from threading import Event, Lock
from typing import Any

from middleware.crm.threads import DaemonPool
from middleware.generations import Generations
from middleware.lookup import shared_scripts as scripts
from middleware.lookup.cache import Kept
from middleware.lookup.card import Busy, Failed, Hit, Miss, Result, TimedOut
from middleware.lookup.inquiry import Inquiry
from middleware.lookup.news import CHANNEL, News, dump_news
from middleware.model.deadline import Deadline
from middleware.shared_store import PAUSE, SharedStore

LEASE = 1.0  # seconds after which the others go on without a leader who has died
POLL = 0.02  # seconds between two looks of those who wait
TELL = 0.1  # seconds after which a leader tells how far he is
OUTCOME = 3.0  # seconds for which those who wait can learn of a failure
MAX_BYTES = 1024 * 1024  # of an answer; no card comes near
MAX_UNTOLD = 10_000  # changed numbers that Redis has not heard of
PREFIX = "m8crm:answers"  # another one when the layout changes: old and new processes run side by side for a while


class SharedAnswers:
    """The second tier of the cache and the flights; a key is tenant id, revision, number, and whatever else."""

    def __init__(self, store: SharedStore, generations: Generations) -> None:
        self._store = store
        self._generations = generations
        self._news = News(store, generations)
        self._pool = DaemonPool("redis")
        self._lock = Lock()
        self._untold: dict[tuple[str, str], object] = {}
        self._is_closed = Event()

    def ask(
        self,
        inquiry: Inquiry,
        begin: Callable[[], None],
        keep: Callable[[Result], Kept | None],
        deadline: Deadline,
        *,
        arrived: Callable[[Kept], None] = lambda _kept: None,
    ) -> Result:
        """Return the shared answer, or what the inquiry finds, here or in the process that asked first.

        ``begin`` has it search.  ``keep`` says for how long a result is shared.  ``arrived`` is told of an answer
        that came from elsewhere, with the seconds it is still good for; one that is not fresh any more arrives
        before the search begins.  The trace's ``joined`` is the lookup that is waited for.
        """
        tenant_id, revision, number, *rest = inquiry.question.key
        place = _place(tenant_id, self._generations.digest(tenant_id, number))
        field = f"{revision}:{self._generations.digest(*rest)}"
        token = _token(inquiry.trace.id)
        self._news.start()
        has_waited = 0
        while not deadline.is_over:
            seen: _Seen | None = self._run(scripts.ASK, place, field, token, _ms(LEASE), has_waited, read=_read)
            if seen and seen.known:
                arrived(seen.known)
            if seen and seen.leader:
                inquiry.trace.joined = seen.leader
            if seen and seen.word == b"wait":
                inquiry.elsewhere = seen.result if isinstance(seen.result, Hit) else None
                has_waited = 1
                time.sleep(min(POLL, deadline.remaining))
                continue
            if seen and seen.result:
                return seen.result
            inquiry.trace.joined = ""  # whoever was waited for did not ask for this one
            begin()
            is_leader = seen is not None and seen.word == b"lead"
            if is_leader:
                return self._lead(place, field, token, inquiry, keep)
            inquiry.wait()
            return inquiry.result
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
        digest = self._generations.digest(tenant_id, number) if number else None

        def action(redis: Any) -> bool:
            places = [_place(tenant_id, digest)] if digest else redis.scan_iter(f"{PREFIX}:{tenant_id}:*", count=1000)
            for place in places:
                redis.unlink(place)  # with the flights: what is under way is not kept
            redis.publish(CHANNEL, dump_news("forgotten", tenant_id, digest))
            return True

        return self._store.call(action, False)

    def close(self) -> None:
        """Stop listening, and close the connections."""
        self._is_closed.set()
        self._news.close()
        self._store.close()

    def _lead(
        self, place: str, field: str, token: bytes, inquiry: Inquiry, keep: Callable[[Result], Kept | None]
    ) -> Result:
        told = b""
        while not inquiry.wait(TELL):
            so_far = _dump_so_far(inquiry)
            self._run(scripts.RENEW, place, field, token, _ms(LEASE), b"" if so_far == told else so_far)
            told = so_far
        result = inquiry.result
        kept = keep(result)
        spans = (kept.fresh, kept.revalidate, kept.stale) if kept else (0, 0, 0)
        self._run(scripts.FINISH, place, field, token, *map(_ms, spans), dump_result(result), _ms(OUTCOME))
        return result

    def _change(self, tenant_id: str, number: str) -> bool:
        digest = self._generations.digest(tenant_id, number)
        news = dump_news("changed", tenant_id, digest)
        return self._run(scripts.CHANGE, _place(tenant_id, digest), CHANNEL, news) is not None

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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """What :data:`shared_scripts.ASK` says: the flight's leader and result, and what was kept, for how long still."""

    word: bytes
    leader: str
    result: Result | None
    known: Kept | None


def _read(seen: list[Any]) -> _Seen:
    word, token, encoded, fresh, revalidate, stale, older = seen
    known, result = None, parse_result(encoded)
    answer = parse_result(older)
    if isinstance(answer, Hit | Miss):
        known = Kept(result=answer, fresh=fresh / 1000, revalidate=revalidate / 1000, stale=stale / 1000)
    if word == b"answer":
        result = answer
    return _Seen(word=word, leader=token[32:].decode().strip(), result=result, known=known)


def _dump_so_far(inquiry: Inquiry) -> bytes:
    """Return how far the inquiry is, and what it would answer by now."""
    so_far = inquiry.so_far()
    encoded = dump_result(so_far.hit) if so_far else b""
    if so_far is None or not encoded:
        return b""
    return (b"d" if so_far.is_decided else b"p") + encoded


def _token(trace_id: str) -> bytes:
    return (secrets.token_hex(16) + trace_id).encode(errors="replace")[: scripts.TOKEN].ljust(scripts.TOKEN)


def _place(tenant_id: str, digest: str) -> str:
    return f"{PREFIX}:{tenant_id}:{digest}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
