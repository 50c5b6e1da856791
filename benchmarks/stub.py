"""A CRM in one process on one event loop: it answers late, wrong or never, and counts what it is asked.

``/<crm>/contacts?number=…`` finds a contact who has the number; ``/<crm>/notes`` finds notes; ``POST /<crm>/calls``
writes a call and ``GET /<crm>/calls?key=…`` finds it.  ``POST /-/<crm>`` with JSON sets how that CRM behaves
(:class:`Crm`) and ``GET /-/<crm>`` tells what it has seen.  ``python -m benchmarks.stub`` prints its port.

Hand-written on ``asyncio.Protocol``: a thousand requests wait at once, and its own time must not show in the figures.
"""

from __future__ import annotations

import asyncio
import json
import select
import selectors
from collections import defaultdict, deque
from dataclasses import asdict, dataclass, field, replace
from urllib.parse import parse_qs, urlsplit


@dataclass(slots=True)
class Crm:
    """How one CRM behaves (settable), and what it has seen (from ``searches`` on).

    ``delay``, ``notes_delay``: seconds before an answer; ``status``: what it answers; ``empty``: it knows nobody;
    ``hang``: it takes requests and never answers; ``name``: of everybody it knows; ``spare``: for so many seconds from
    the next request on it wants none (429); ``early`` counts those that come nevertheless.  ``busiest`` is the most
    requests in any span of a second.
    """

    delay: float = 0.0
    notes_delay: float = 0.0
    status: int = 200
    empty: bool = False
    hang: bool = False
    name: str = "Ada Webb"
    spare: float = 0.0
    searches: int = 0
    notes: int = 0
    writes: int = 0
    calls: dict[str, int] = field(default_factory=dict)  # by key, how often it was written
    early: int = 0
    busiest: int = 0
    spared_until: float = 0.0

    def note(self, now: float, recent: deque[float]) -> bool:
        """Count a request; return whether it is to be answered."""
        recent.append(now)
        while recent[0] <= now - 1:
            recent.popleft()
        self.busiest = max(self.busiest, len(recent))
        if self.spare:
            self.spared_until, self.spare = now + self.spare, 0.0
            return False
        self.early += now < self.spared_until
        return now >= self.spared_until


_crms: dict[str, Crm] = {}
_recent: dict[str, deque[float]] = defaultdict(deque)  # the moments of a CRM's latest requests
_FACTS = [{"title": f"Fact {i}", "comment": " ".join([f"what the CRM knows, {i:02}"] * 4)} for i in range(16)]
_contact = json.dumps(
    {"id": "NUMBER", "name": "NAME", "phone": "NUMBER", "email": "ada@example.org", "facts": _FACTS},
    separators=(",", ":"),
)


class _Selector(selectors.EpollSelector):
    """Waits to the microsecond; epoll alone rounds up to milliseconds, which would show in every figure."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout > 0:
            select.select([self.fileno()], [], [], timeout)
        return super().select(0)


class _Connection(asyncio.Protocol):
    """One keep-alive connection; its requests come one after the other, as those of HTTP clients do."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._buffer = b""

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = 0
        for line in head.split(b"\r\n")[1:]:
            if line[:15].lower() == b"content-length:":
                length = int(line[15:])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ", 2)
        self._handle(method, target, rest[:length])

    def _handle(self, method: str, target: str, body: bytes) -> None:
        parts = urlsplit(target)
        name, _, what = parts.path.strip("/").partition("/")
        query = {key: values[0] for key, values in parse_qs(parts.query).items()}
        if name == "-":
            self._answer(200, _control(method, what, body))
            return
        crm = _crms.setdefault(name, Crm())
        now = asyncio.get_running_loop().time()
        if not crm.note(now, _recent[name]):
            self._answer(429, b"{}", f"Retry-After: {max(1, round(crm.spared_until - now + 0.5))}\r\n")
            return
        answer = _act(crm, method, what, query, body)
        if crm.hang:
            return
        delay = crm.notes_delay if what == "notes" else crm.delay
        if delay:
            asyncio.get_running_loop().call_later(delay, self._answer, crm.status, answer)
        else:
            self._answer(crm.status, answer)

    def _answer(self, status: int, body: bytes, more: str = "") -> None:
        head = f"HTTP/1.1 {status} Answer\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{more}"
        self._transport.write(f"{head}\r\n".encode() + body)


def _control(method: str, name: str, body: bytes) -> bytes:
    if method == "POST":
        _crms[name] = replace(_crms.get(name, Crm()), **json.loads(body))
    return json.dumps(asdict(_crms.setdefault(name, Crm()))).encode()


def _act(crm: Crm, method: str, what: str, query: dict[str, str], body: bytes) -> bytes:
    """Count the request and return its answer."""
    match method, what:
        case "GET", "contacts":
            crm.searches += 1
            found = _contact.replace("NUMBER", query.get("number", "")).replace("NAME", crm.name)
            return b"[]" if crm.empty else f"[{found}]".encode()
        case "GET", "notes":
            crm.notes += 1
            return b'[{"body": "Wants to be called back"}]'
        case "POST", "calls":
            key = json.loads(body)["key"]
            if crm.status < 400:
                crm.writes += 1
                crm.calls[key] = crm.calls.get(key, 0) + 1
            return json.dumps({"id": key}).encode()
        case "GET", "calls":
            return json.dumps([{"id": key} for key in crm.calls if key == query.get("key")]).encode()
    return b"[]"


async def main() -> None:
    """Listen on a free port of the loopback, print it, and serve until the end of the process."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(_Connection, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(_Selector())) as runner:
        runner.run(main())
