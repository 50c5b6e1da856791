"""A CRM made of recorded answers: takes the place of the transport below ``ctx.http``, and keeps what was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import requests

from middleware.crm.transport import Answer
from middleware.errors import CRMResponseError, CRMTimeoutError, CRMUnavailableError
from middleware.testing.conformance.exchanges import READS, Asked, Book, Exchange

MAX_REQUESTS = 60  # of one method; whoever sends more never stops
PIECE = 65_536  # bytes of a file that is read as it is sent


class EndlessError(BaseException):
    """The adapter sends requests without end; no ``Exception``, so that no adapter swallows it."""


class UnansweredError(BaseException):
    """No exchange has the method and the path of a request; no ``Exception``, so that no adapter swallows it."""


class FakeClock:
    """A clock that moves only when a CRM keeps us waiting."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        """Return monotonic seconds."""
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the CRM does with a request."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: Literal["timeout", "reset"] | None = None

    @classmethod
    def of(cls, exchange: Exchange) -> Reply:
        """Return the recorded answer."""
        return cls(status=exchange.status, body=exchange.body, headers=exchange.headers)

    @property
    def json(self) -> Any:
        """The JSON of the answer; ``None`` if there is none."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    def with_json(self, value: Any) -> Reply:
        """Return the same answer with other JSON."""
        return replace(self, body=json.dumps(value).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A request that reached the CRM, what it is like among the exchanges, and how it was answered."""

    url: str
    asked: Asked
    exchange: Exchange | None
    reply: Reply

    @property
    def is_write(self) -> bool:
        """Whether it changes anything in the CRM."""
        return not (self.exchange.is_read if self.exchange else self.asked.method in READS)

    def __str__(self) -> str:
        return f"{self.asked.method} /{'/'.join(self.asked.segments)}"


# says what becomes of the request at a place (from 0), which is like this exchange, if like any
Answering = Callable[[int, Exchange | None], Reply | None]


def as_recorded(_place: int, exchange: Exchange | None) -> Reply | None:
    """Answer as the exchange does."""
    return Reply.of(exchange) if exchange else None


def in_turn(replies: Sequence[Reply]) -> Answering:
    """Return what gives ``replies`` in their order whatever is asked, and the last of them from then on."""
    return lambda place, _exchange: replies[min(place, len(replies) - 1)] if replies else None


def with_reply(place: int, reply: Reply, before: Sequence[Sent]) -> Answering:
    """Return what answers as ``before``, but the request at ``place`` (from 0) with ``reply``."""
    replies = [sent.reply for sent in before]
    replies[place] = reply
    return in_turn(replies)


@dataclass(slots=True)
class Wire:
    """Sends nothing anywhere; see :class:`middleware.crm.session.Sender`."""

    book: Book
    clock: FakeClock
    answering: Answering
    sent: list[Sent] = field(default_factory=list)

    def send(self, request: requests.PreparedRequest, crm: str, host: str, seconds: float, max_bytes: int) -> Answer:
        """Answer from the exchanges, or as ``answering`` wants it."""
        body = _text_of(request.body)
        headers = {name: _text_of(value) for name, value in request.headers.items()}
        asked = Asked.parse(request.method or "GET", request.url or "", body, headers)
        exchange = self.book.find(asked)
        reply = self.answering(len(self.sent), exchange)
        if reply is None:
            raise UnansweredError(f"{asked.method} {_target(request.url or '')}")
        self.sent.append(Sent(url=request.url or "", asked=asked, exchange=exchange, reply=reply))
        if len(self.sent) > MAX_REQUESTS:
            raise EndlessError(str(self.sent[-1]))
        if reply.failure == "timeout":
            self.clock.now += seconds
            raise CRMTimeoutError(f"{host} did not answer in time")
        if reply.failure == "reset":
            raise CRMUnavailableError(f"{host} could not be reached (recv_error)")
        if len(reply.body) > max_bytes:
            raise CRMResponseError(f"{host} answered more than {max_bytes} bytes")
        head = [f"HTTP/1.1 {reply.status} x", *(f"{name}: {value}" for name, value in reply.headers.items())]
        return Answer(request, [line.encode("latin-1") for line in head], reply.body)


def _target(url: str) -> str:
    return "/" + url.rsplit("://", maxsplit=1)[-1].partition("/")[2]


def _text_of(body: Any) -> str:
    if hasattr(body, "read"):
        body = b"".join(iter(lambda: body.read(PIECE), b""))
    return body.decode("utf-8", "replace") if isinstance(body, bytes) else str(body or "")
