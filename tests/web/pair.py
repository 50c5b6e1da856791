"""One application behind gunicorn's own worker and behind ours, whose answers must be the same bytes."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from middleware.lookup.inquiry import Question
from middleware.lookup.service import LookupService
from middleware.web.fast import Asked, FastPath
from middleware.web.fast_events import Sent
from middleware.web.guesses import Guesses
from middleware.web.head import Plain
from tests.web.serving import Address, exchange

SECRET = "<insights>"  # stands for the customer's secret: it is new in every run
RESETS = 20  # gunicorn's own closes behind a request that it refuses without reading on: its answer may be lost then
_LAST = re.compile(rb"(?s)Connection: [a-z-]+\r\n(?!.*Connection: )")


class Stock(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's own worker, but for the second answer that it writes where a body that nobody read is broken."""

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        try:
            return bool(super()._keepalive_after(conn, keepalive))
        except Exception:
            return False


@dataclass
class Counting:
    """A fast path that counts its answers; one that ``is_slow`` lets everybody wait for them."""

    fast: FastPath
    is_slow: bool = False
    answers: int = 0

    def read(self, request: Plain, body: bytes = b"", peer: str = "") -> Asked | Sent | None:
        """Return what is asked."""
        return self.fast.read(request, body, peer)

    def ready(self, asked: Asked | Sent, server: str) -> bytes | None:
        """Return the answer that is ready."""
        found = None if self.is_slow else self.fast.ready(asked, server)
        self.answers += found is not None
        return found

    def begin(self, asked: Asked | Sent, done: Callable[[Any], None]) -> None:
        """Look up, and wait for nothing; or store."""
        self.answers += 1
        if isinstance(asked, Sent) or isinstance(asked.known, Question):
            self.fast.begin(asked, done)
        else:
            done(asked.known)

    def told(self, asked: Asked | Sent, result: Any, server: str) -> bytes:
        """Return the answer."""
        return self.fast.told(asked, result, server)


@dataclass
class Pair:
    """One application behind gunicorn's own worker and behind ours, once with and once without ready answers."""

    stock: Address
    inline: Address
    waiting: Address
    secrets: Mapping[str, str]
    counting: Counting
    counting_waiting: Counting
    lookups: LookupService
    guesses: Guesses

    def raw(self, request: bytes) -> bytes:
        """Return the request with the secrets in their places: ``<key>`` in its head."""
        for name, secret in self.secrets.items():
            request = request.replace(f"<{name}>".encode(), secret.encode())
        return request


def normal(answer: bytes, request: bytes) -> bytes:
    """Return an answer without what differs from one time to the next."""
    answer = re.sub(rb"\r\nDate: [^\r]*", b"\r\nDate: -", answer)
    answer = re.sub(rb";dur=[0-9.]+", b";dur=-", answer)
    # gunicorn's own page says what it saw first, and that depends on the packets
    answer = re.sub(rb"\r\nContent-Length: \d+(?=\r\n\r\n<html>)", b"", answer)
    answer = re.sub(rb"(?s)</h1>.*?</body>", b"</h1></body>", answer)

    def identity(match: re.Match[bytes]) -> bytes:
        return match[0] if match[1] in request else b"\r\nX-Request-Id: new"

    return re.sub(rb"\r\nX-Request-Id: ([0-9a-f]{16})(?=\r)", identity, answer)


def assert_same(pair: Pair, request: bytes, cuts: list[int] = [], *, is_whole: bool = True) -> bytes:  # noqa: B006 - read only
    """Hold that both workers answer the same; ``cuts`` are where the request is cut into packets for ours.

    Behind a request that may not be whole ours says that it closes; gunicorn's own notices when it reads on, and may
    have asked for the rest.
    """
    request = pair.raw(request)
    expected = exchange(pair.stock, request)
    if b"cache;desc=miss" in expected or b'"status": "' in expected:  # by now the answer, or the event, is kept
        expected = exchange(pair.stock, request)
    edges = [0, *sorted(cut % (len(request) + 1) for cut in cuts), len(request)]
    pieces = [request[begin:end] for begin, end in pairwise(edges) if begin < end]
    answers = [exchange(address, *pieces) for address in (pair.inline, pair.waiting)]
    for _ in range(RESETS):
        first, second, third = (_comparable(answer, request, is_whole=is_whole) for answer in (expected, *answers))
        if first == second:
            break
        expected = exchange(pair.stock, request)
    assert first == second == third
    return first


def _comparable(answer: bytes, request: bytes, *, is_whole: bool) -> bytes:
    answer = normal(answer, request)
    return answer if is_whole else _LAST.sub(b"", answer.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""))
