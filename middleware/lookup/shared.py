"""Answers and searches, shared by all processes of all machines through Redis.

One flight per question: the first who asks holds the flight's lock and searches, the others look every 20 ms
whether the answer, or the failure, is there.  The lock ends by itself when its holder dies, and is renewed while
he lives.  Whatever fails, a search is simply run: Redis saves work and is never needed.

Numbers do not stand in keys: they are visible in places where nobody looks for customers' data.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from threading import Event, Lock, Thread
from typing import Any

from middleware.crm.threads import DaemonPool
from middleware.lookup import shared_scripts as scripts
from middleware.lookup.cache import Kept, Key
from middleware.lookup.card import Hit, Miss, Result, TimedOut
from middleware.lookup.shared_codec import dump_result, parse_result
from middleware.lookup.shared_news import Change, News
from middleware.model.deadline import Deadline
from middleware.shared_store import TIMEOUT, SharedStore

LEASE = 1.0  # seconds after which the others go on without a leader who has died
POLL = 0.02  # seconds between two looks of those who wait
OUTCOME = 3.0  # seconds for which those who wait can learn of a failure
GENERATION = 3600.0  # seconds, longer than any search goes on
PREFIX = "m8crm"


@dataclass(frozen=True, slots=True)
class _Keys:
    """Where in Redis a question has its place."""

    field: str
    answers: str
    number: str  # its generation
    tenant: str  # its generation
    flight: str

    @classmethod
    def of(cls, key: Key) -> _Keys:
        tenant_id, revision, number, *rest = key
        field = f"{revision}:{_digest(*rest)}"
        place = f"{tenant_id}:{_digest(number)}"
        return cls(
            field=field,
            answers=f"{PREFIX}:answers:{place}",
            number=f"{PREFIX}:generation:{place}",
            tenant=f"{PREFIX}:generation:{tenant_id}",
            flight=f"{PREFIX}:flight:{place}:{field}",
        )

    def outcome(self, token: str) -> str:
        return f"{PREFIX}:outcome:{token}"


class SharedAnswers:
    """The second tier of the cache and the flights; a key is tenant id, revision, number, and whatever else."""

    def __init__(self, store: SharedStore, news: News, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._news = news
        self._sleep = sleep
        self._pool = DaemonPool("redis")
        self._lock = Lock()
        self._led: dict[str, str] = {}  # flights of this process and what they must hold
        self._has_led = Event()
        self._renewal: Thread | None = None

    def get(self, key: Key) -> Kept | None:
        """Return what is kept, with the seconds it is still good for; they may be over."""
        self._news.start()
        keys = _Keys.of(key)
        found = self._run(scripts.GET, [keys.answers], [keys.field])
        return _kept(found) if found else None

    def put(self, key: Key, kept: Kept) -> None:
        """Keep an answer for all machines; whoever does must know that the number is still in its generation."""
        keys, body = _Keys.of(key), dump_result(kept.result)
        if body:
            self._run(scripts.PUT, [keys.answers], [keys.field, *_milliseconds(kept), body])

    def ask(
        self,
        key: Key,
        search: Callable[[], Result],
        keep: Callable[[Result], Kept | None],
        deadline: Deadline,
        *,
        arrived: Callable[[Kept], None] = lambda _kept: None,
    ) -> Result:
        """Return the shared answer, or what ``search`` finds, here or in the process that asked first.

        ``keep`` says for how long a result is shared; ``arrived`` is told of an answer that came from elsewhere,
        with the seconds it is still good for.
        """
        keys, token, leader = _Keys.of(key), secrets.token_hex(16), ""
        self._news.start()
        while deadline.remaining > TIMEOUT:
            seen = self._run(
                scripts.ASK,
                [keys.answers, keys.number, keys.tenant, keys.flight, keys.outcome(leader)],
                [keys.field, token, _ms(LEASE)],
            )
            match seen:
                case [b"answer", *answer]:
                    kept = _kept(answer)
                    arrived(kept)
                    return kept.result
                case [b"outcome", outcome] if result := parse_result(outcome):
                    return result
                case [b"lead", stamp]:
                    return self._lead(keys, token, stamp.decode(), search, keep)
                case [b"wait", of]:
                    leader = of.decode()
                    self._sleep(min(POLL, deadline.remaining))
                case _:
                    return search()
        return TimedOut() if leader else search()

    def change(self, tenant_id: str, number: str) -> bool:
        """Have all machines ask the CRM again; tell whether Redis took it.

        What is known stays good for the case that the CRM fails.
        """
        return self._tell(scripts.CHANGE, Change("changed", tenant_id, number))

    def forget(self, tenant_id: str, number: str | None = None) -> bool:
        """Remove the number's answers, or all of the customer's, on all machines; tell whether Redis took it."""
        if number is None:
            return self._forget_tenant(tenant_id)
        return self._tell(scripts.FORGET, Change("forgotten", tenant_id, number))

    def _tell(self, script: str, change: Change) -> bool:
        assert change.tenant_id
        assert change.number
        keys = _Keys.of((change.tenant_id, "", change.number))
        args = [secrets.token_hex(8), _ms(GENERATION), self._news.channel, change.dump()]
        return self._run(script, [keys.answers, keys.number], args) is not None

    def _forget_tenant(self, tenant_id: str) -> bool:
        generation = f"{PREFIX}:generation:{tenant_id}"
        news = Change("forgotten", tenant_id, None).dump()

        def begin(redis: Any) -> bool:
            redis.set(generation, secrets.token_hex(8), px=_ms(GENERATION))  # what is under way is not kept
            return True

        def step(cursor: int) -> Callable[[Any], int]:
            def action(redis: Any) -> int:
                found, keys = redis.scan(cursor, match=f"{PREFIX}:answers:{tenant_id}:*", count=1000)
                if keys:
                    redis.unlink(*keys)
                return int(found)

            return action

        cursor: int | None = 0 if self._store.call(begin, False) else None
        while cursor is not None:
            cursor = self._store.call(step(cursor), None)
            if cursor == 0:
                return self._store.call(lambda redis: redis.publish(self._news.channel, news), None) is not None
        return False

    def _lead(
        self, keys: _Keys, token: str, stamp: str, search: Callable[[], Result], keep: Callable[[Result], Kept | None]
    ) -> Result:
        holds = f"{token}.{stamp}"
        result: Result | None = None
        with self._renewed(keys.flight, holds):
            try:
                result = search()
            finally:
                kept = None if result is None else keep(result)
                args = [keys.field, holds, stamp, *_milliseconds(kept), dump_result(kept.result) if kept else b""]
                outcome = [b"" if result is None else dump_result(result), _ms(OUTCOME)]
                places = [keys.answers, keys.number, keys.tenant, keys.flight, keys.outcome(token)]
                # nobody who has his answer waits for Redis
                self._pool.submit(self._run, scripts.FINISH, places, [*args, *outcome])
        return result

    @contextmanager
    def _renewed(self, flight: str, holds: str) -> Iterator[None]:
        with self._lock:
            self._led[flight] = holds
            self._has_led.set()
            if self._renewal is None or not self._renewal.is_alive():
                self._renewal = Thread(target=self._renew, name="redis-lease", daemon=True)
                self._renewal.start()
        try:
            yield
        finally:
            with self._lock:
                if self._led.get(flight) == holds:
                    del self._led[flight]
                if not self._led:
                    self._has_led.clear()

    def _renew(self) -> None:
        while True:
            self._has_led.wait()
            time.sleep(LEASE / 3)
            with self._lock:
                led = dict(self._led)
            if led:
                self._run(scripts.RENEW, list(led), [_ms(LEASE), *led.values()])

    def _run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        return self._store.call(lambda redis: redis.register_script(script)(keys=keys, args=args), None)


def _digest(*parts: str) -> str:
    return sha256("\0".join(parts).encode(errors="replace")).hexdigest()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _milliseconds(kept: Kept | None) -> list[int]:
    return [_ms(kept.fresh), _ms(kept.revalidate), _ms(kept.stale)] if kept else [0, 0, 0]


def _kept(found: list[Any]) -> Kept:
    fresh, revalidate, stale, body = found
    result = parse_result(body)
    assert isinstance(result, Hit | Miss)  # the script has looked at its letter
    return Kept(result=result, fresh=fresh / 1000, revalidate=revalidate / 1000, stale=stale / 1000)
