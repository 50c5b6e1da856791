"""The load: requests at given moments, whatever happens (open loop).

A latency counts from the moment a request was *due*, so that a server that stands still for a second is charged
for all who would have called meanwhile (no coordinated omission).  Hand-written on epoll: wrk2 is in no package,
checks no answer and cannot mix customers.  ``busy`` says how much of its core it used and ``lag`` how late it was.
"""

from __future__ import annotations

import gc
import json
import re
import select
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from statistics import quantiles

MOST = 1024  # connections
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request as it goes over the wire; a right answer is a 200 that holds ``expect``."""

    raw: bytes
    expect: bytes
    kind: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came of one request; ``seconds`` from the moment it was due; status 0 is none at all."""

    kind: str
    seconds: float
    status: int
    is_right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """One round: ``busy`` is the generator's share of its core, ``lag`` by how much it sent late (p99, seconds)."""

    answers: Sequence[Answer]
    took: float
    busy: float
    lag: float = 0.0

    @property
    def rate(self) -> float:
        """Right answers per second."""
        return sum(answer.is_right for answer in self.answers) / self.took

    @property
    def wrong(self) -> int:
        """Answers that were not right, or never came."""
        return sum(not answer.is_right for answer in self.answers)

    @property
    def false(self) -> int:
        """Answers that came, and were not right."""
        return sum(answer.status > 0 and not answer.is_right for answer in self.answers)

    def percentile(self, percent: int, kind: str = "") -> float:
        """Return the latency in milliseconds below which ``percent`` of the answers of ``kind`` came."""
        latencies = [answer.seconds for answer in self.answers if not kind or answer.kind == kind]
        return quantiles(latencies, n=100, method="inclusive")[percent - 1] * 1000

    @property
    def slowest(self) -> float:
        """Seconds that the slowest answer took."""
        return max(answer.seconds for answer in self.answers)


def get(path: str, *, bearer: str = "", headers: str = "", expect: bytes = b"", kind: str = "") -> Ask:
    """Return a GET of ``path``; ``headers`` end with CRLF."""
    secret = f"Authorization: Bearer {bearer}\r\n" if bearer else ""
    head = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAccept: application/json\r\n{secret}{headers}\r\n"
    return Ask(raw=head.encode(), expect=expect, kind=kind)


def post(path: str, document: object, *, bearer: str = "", headers: str = "", kind: str = "") -> Ask:
    """Return a POST of ``document`` as JSON; any 200 is right."""
    body = json.dumps(document)
    length = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    ask = get(path, bearer=bearer, headers=f"{headers}{length}")
    return Ask(raw=b"POST" + ask.raw.removeprefix(b"GET") + body.encode(), expect=b"", kind=kind)


@dataclass(slots=True, eq=False)
class _Connection:
    sock: socket.socket
    ask: Ask | None = None
    due: float = 0.0
    buffer: bytes = b""
    head: int = 0  # where the body begins, once it is known
    end: int = 0

    def send(self, ask: Ask, due: float) -> None:
        self.ask, self.due, self.buffer, self.end = ask, due, b"", 0
        with suppress(OSError):  # closed meanwhile: receive() will tell
            self.sock.send(ask.raw)

    def receive(self) -> bool | None:
        """Return whether the answer is whole; ``None`` when the server has closed."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return False
        except ConnectionError:
            data = b""
        if not data:
            return None
        self.buffer = self.buffer + data if self.buffer else data
        if not self.end:
            self.head = self.buffer.find(b"\r\n\r\n") + 4
            if self.head == 3:
                return False
            found = _LENGTH.search(self.buffer, 0, self.head)
            self.end = self.head + (int(found[1]) if found else 0)
        return len(self.buffer) >= self.end

    def answer(self, now: float) -> Answer:
        assert self.ask
        status = int(self.buffer[9:12]) if self.end else 0
        is_right = status == 200 and self.buffer.find(self.ask.expect, self.head) >= 0
        return Answer(kind=self.ask.kind, seconds=now - self.due, status=status, is_right=is_right)

    def given_up(self, now: float) -> Answer:
        assert self.ask
        return Answer(kind=self.ask.kind, seconds=now - self.due, status=0, is_right=False)


@dataclass(slots=True)
class _Generator:
    """Connections to one server, and who of them waits for an answer."""

    port: int
    most: int
    epoll: select.epoll = field(default_factory=select.epoll)
    connections: dict[int, _Connection] = field(default_factory=dict)
    idle: list[_Connection] = field(default_factory=list)

    @property
    def has_room(self) -> bool:
        return bool(self.idle) or len(self.connections) < self.most

    def connect(self) -> _Connection:
        sock = socket.create_connection(("127.0.0.1", self.port))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setblocking(False)
        connection = self.connections[sock.fileno()] = _Connection(sock)
        self.epoll.register(sock.fileno(), select.EPOLLIN)
        return connection

    def drop(self, connection: _Connection) -> None:
        del self.connections[connection.sock.fileno()]
        connection.sock.close()
        if connection in self.idle:
            self.idle.remove(connection)

    def wait(self, seconds: float) -> list[_Connection]:
        if seconds > 0:  # to the microsecond; epoll alone rounds up to milliseconds
            select.select([self.epoll.fileno()], [], [], seconds)
        return [self.connections[fd] for fd, _ in self.epoll.poll(0)]

    def close(self) -> None:
        for connection in self.connections.values():
            connection.sock.close()
        self.epoll.close()


@contextmanager
def _generator(port: int, connections: int, most: int) -> Iterator[_Generator]:
    generator = _Generator(port, most)
    generator.idle.extend(generator.connect() for _ in range(connections))
    gc.collect()
    gc.disable()  # a collection would be charged to the server
    try:
        yield generator
    finally:
        gc.enable()
        generator.close()


def run_open(
    port: int,
    asks: Iterable[tuple[float, Ask]],
    *,
    connections: int = 32,
    most: int = MOST,
    patience: float = 20.0,
) -> Load:
    """Send every ask at its moment (seconds from the start, rising), over a new connection when all are taken.

    When ``most`` connections are taken an ask waits here, and its latency counts nevertheless.
    """
    answers: list[Answer] = []
    lags: list[float] = []
    waiting = 0
    with _generator(port, connections, most) as generator:
        begin, cpu = time.perf_counter() + 0.01, time.process_time()
        due = deque((begin + at, ask) for at, ask in asks)
        last = due[-1][0] + patience
        while (due or waiting) and (now := time.perf_counter()) < last:
            while due and due[0][0] <= now and generator.has_room:
                at, ask = due.popleft()
                connection = generator.idle.pop() if generator.idle else generator.connect()
                connection.send(ask, at)
                lags.append(time.perf_counter() - at)
                waiting += 1
            for connection in generator.wait((due[0][0] if due and generator.has_room else last) - time.perf_counter()):
                is_whole = connection.receive()
                if is_whole is False:
                    continue
                if connection.ask:
                    answers.append(connection.answer(time.perf_counter()))
                    connection.ask = None
                    waiting -= 1
                    generator.idle.append(connection)
                if is_whole is None:
                    generator.drop(connection)
        now = time.perf_counter()
        answers += [connection.given_up(now) for connection in generator.connections.values() if connection.ask]
        took = now - begin
        lag = sorted(lags)[int(len(lags) * 0.99)]
        return Load(answers=answers, took=took, busy=(time.process_time() - cpu) / took, lag=lag)


def evenly(asks: Sequence[Ask], *, rate: float, seconds: float) -> list[tuple[float, Ask]]:
    """Return ``asks`` in turn, ``rate`` a second."""
    return [(i / rate, asks[i % len(asks)]) for i in range(int(rate * seconds))]


def at_once(port: int, asks: Sequence[Ask], *, patience: float = 20.0) -> Load:
    """Send all ``asks`` at the same moment, each over a connection of its own."""
    return run_open(port, [(0.0, ask) for ask in asks], connections=len(asks), patience=patience)
