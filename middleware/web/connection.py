"""One connection of the inline worker: what has come, what must still go out, and until when.

One thread reads it without blocking.  When a request is there as a whole, gunicorn's own code gets an
:class:`Exchange` in place of the socket: it holds nothing more to read, and keeps what is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any

from gunicorn.http import get_parser
from gunicorn.http.errors import LimitRequestHeaders
from gunicorn.workers.gthread import TConn

from middleware.web.fast import Asked
from middleware.web.fast_events import Sent
from middleware.web.head import END, Framing, chunks_end, read_framing

MAX_HEAD = 65_536  # bytes; gunicorn's own limits are per line and per field
_BARE_LF = re.compile(rb"(?<!\r)\n")


class State(Enum):
    """What the connection waits for."""

    READING = "reading"  # the rest of a request, or the next one
    WORKING = "working"  # a thread has it, or a search
    WRITING = "writing"  # the sender takes his answer slowly
    CLOSING = "closing"  # the sender is to notice that we have closed
    CLOSED = "closed"


@dataclass(slots=True)
class Incoming:
    """The request that is being read: where its head ends, and how much of its body has come."""

    head_end: int = 0
    searched: int = 0  # bytes that hold no end of a head, ...
    checked: int = 0  # ... and no bare LF: whoever drips bytes may not have all of them looked at again and again
    framing: Framing | None = None
    chunk_at: int = 0
    is_slow: bool = False  # the fast path has no answer


class Exchange:
    """What gunicorn takes for the socket while a thread answers one request; ``read_at`` is when it was whole."""

    def __init__(self, *, read_at: float, is_continued: bool, is_head_endless: bool) -> None:
        self.read_at = read_at
        self.answer = bytearray()
        self.is_answered = False
        self.is_read_beyond = False  # gunicorn takes the request to be longer than we do
        self.more: Iterator[bytes] | None = None
        self._is_continued = is_continued
        self._is_head_endless = is_head_endless

    def recv(self, _size: int) -> bytes:
        """Return the end: what is not here by now does not come."""
        self.is_read_beyond = True
        if self._is_head_endless:
            raise LimitRequestHeaders("max buffer headers")
        return b""

    def sendall(self, data: bytes) -> None:
        """Keep a part of the answer."""
        self.is_answered = True
        self.answer += data

    def send_later(self, pieces: Iterator[bytes]) -> None:
        """Have ``pieces`` sent behind the answer: a thread makes the next one when the one before has been taken."""
        self.more = pieces

    def send(self, data: bytes) -> int:
        """Keep ``100 Continue``, the only thing gunicorn sends this way, unless the sender has it."""
        if not self._is_continued:
            self.answer += data
        return len(data)

    def gettimeout(self) -> None:
        """Nothing here waits."""

    def settimeout(self, _seconds: float | None) -> None:
        """Nothing here waits."""

    def setblocking(self, _is_blocking: bool) -> None:
        """Nothing here waits."""

    def shutdown(self, _how: int) -> None:
        """Leave closing to the poller."""

    def close(self) -> None:
        """Leave closing to the poller."""


class Connection(TConn):  # type: ignore[misc]  # gunicorn has no types
    """A ``TConn`` whose ``wire`` is the real socket; its ``sock`` is what gunicorn is shown."""

    def __init__(self, cfg: Any, wire: Any, client: Any, server: Any) -> None:
        super().__init__(cfg, wire, client, server)
        self.initialized = self.data_ready = True
        self.wire = wire
        self.peer = client[0] if isinstance(client, tuple) else ""  # the address; of a Unix socket there is none
        self.state = State.READING
        self.deadline = 0.0
        self.watched = 0  # the events that the poller waits for
        self.buffer = bytearray()
        self.incoming = Incoming()
        self.asked: Asked | Sent | None = None  # a plain lookup that a CRM must be asked for, or a plain event
        self.out = memoryview(b"")
        self.more: Iterator[bytes] | None = None  # pieces that follow what is being written
        self.keep_alive = True  # after what is being written
        self.is_continued = False  # 100 Continue was sent for the request
        self.is_cut_off = False  # the request did not come whole
        self.drained = 0

    def head(self) -> bytes | None:
        """Return the head of the request, with its empty line, as soon as it is there."""
        incoming = self.incoming
        if not incoming.head_end:
            end = self.buffer.find(END, incoming.searched)
            if end < 0:
                incoming.searched = max(0, len(self.buffer) - len(END) + 1)
                return None
            incoming.head_end = incoming.chunk_at = end + len(END)
        return bytes(self.buffer) if incoming.head_end == len(self.buffer) else bytes(self.buffer[: incoming.head_end])

    def framing(self) -> Framing | None:
        """Return what the head says of the body."""
        if self.incoming.framing is None:
            head = self.head()
            self.incoming.framing = read_framing(head) if head else None
        return self.incoming.framing

    def is_whole(self) -> bool:
        """Whether a thread can take the request without waiting for its sender."""
        framing = self.framing()
        if framing is None:
            return False
        if framing.length is not None:
            return len(self.buffer) >= self.incoming.head_end + framing.length
        self.incoming.chunk_at, is_last = chunks_end(self.buffer, self.incoming.chunk_at)
        return is_last

    def body(self) -> bytes | None:
        """Return the body of a request that is whole, unless it has to be put together."""
        framing = self.framing()
        if framing is None or framing.length is None or not framing.is_clear:
            return None
        begin = self.incoming.head_end
        return bytes(self.buffer[begin : begin + framing.length])

    def is_hopeless(self, max_body: int) -> bool:
        """Whether the request is refused however much of it still comes."""
        framing = self.framing()
        if framing is None:  # a line that ends in LF alone is none, and then the head has no end
            has_bare_lf = _BARE_LF.search(self.buffer, self.incoming.checked) is not None
            self.incoming.checked = 0 if has_bare_lf else len(self.buffer)
            return has_bare_lf or len(self.buffer) > MAX_HEAD
        if framing.length is not None:
            return framing.length > max_body + 1  # one more is read, to be refused by its length
        return len(self.buffer) > 2 * max_body + MAX_HEAD

    def begin(self, read_at: float) -> None:
        """Hand what was read to gunicorn's own parser, the only judge of where the request ends."""
        is_endless = self.incoming.head_end == 0 and len(self.buffer) > MAX_HEAD
        framing = self.framing()
        self.is_cut_off = not self.is_whole() or framing is None or not framing.is_clear
        self.sock = Exchange(read_at=read_at, is_continued=self.is_continued, is_head_endless=is_endless)
        self.parser = get_parser(self.cfg, self.sock, self.client)
        self.parser.unreader.unread(bytes(self.buffer))
        self.buffer.clear()

    def end(self) -> None:
        """Take the answer, and what was read behind the request."""
        self.out, self.more = memoryview(self.sock.answer), self.sock.more
        self.sock.answer, self.sock.more = bytearray(), None  # or they would stay until the next request
        self.skip(0)
        self.buffer += self.parser.unreader.take_buffered()

    def go_on(self) -> None:
        """Take the next piece of the answer; it may take a while to make, so a thread does this."""
        assert self.more is not None
        piece = next(self.more, None)
        self.out = memoryview(piece or b"")
        if piece is None:
            self.more = None

    def skip(self, count: int) -> None:
        """Forget ``count`` bytes that are answered; another request begins behind them."""
        del self.buffer[:count]
        self.incoming = Incoming()
        self.is_continued = self.is_cut_off = False

    def flush(self) -> bool:
        """Send what the kernel takes at once; return whether that is all."""
        while self.out:
            try:
                self.out = self.out[self.wire.send(self.out) :]
            except BlockingIOError:
                return False
        return True
