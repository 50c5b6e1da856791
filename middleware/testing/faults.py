"""``FaultServer``: a CRM on a real socket that does what real ones do on their worst days.

The path says how it behaves: ``GET /hang``, ``/drip-body`` … (the methods of :class:`_Faults`); ``/status/503``
answers that status, with ``?retry-after=…`` in its header; any other path answers ``{"ok": true}``.

It can be a CRM that works, too, and falls ill whenever the test wants: ``answers`` has its paths, ``faults`` and
``delays`` what they suffer from::

    with FaultServer({"/people": [{"id": 7, "phone": "+46701740605"}]}) as crm:
        crm.delays["/people"] = 0.5  # seconds
        crm.faults["/people"] = "status/503"

``requests`` libraries' mocks can neither hang nor drip nor reset, so this one listens on the loopback.
"""

from __future__ import annotations

import gzip
import json
import socket
import struct
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from types import TracebackType
from typing import BinaryIO, Self
from urllib.parse import parse_qs, urlsplit

PAUSE_SECONDS = 0.02  # between two dripped bytes
TLS_HANDSHAKE = b"\x16"  # the first byte of a client that speaks TLS
OK = b'{"ok": true}'


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """One request that reached the server; header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class FaultServer:
    """Listens while the ``with`` block runs; ``url`` is its address and ``requests`` what has reached it.

    ``answers`` holds by path what is answered as JSON, or a function of the request that returns it.
    """

    def __init__(self, answers: Mapping[str, object] | None = None) -> None:
        self.answers = dict(answers or {})
        self.faults: dict[str, str] = {}
        self.delays: dict[str, float] = {}
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.requests: list[Received] = []
        self._connections: list[socket.socket] = []
        self._is_over = threading.Event()

    @property
    def connections(self) -> int:
        """How many connections clients have opened."""
        return len(self._connections)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, name="faults", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._is_over.set()
        for sock in (self._listener, *self._connections):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)  # wakes whoever waits for it
        self._listener.close()

    def _accept(self) -> None:
        while not self._is_over.is_set():
            try:
                connection = self._listener.accept()[0]
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), name="fault", daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):
            if connection.recv(1, socket.MSG_PEEK) == TLS_HANDSHAKE:
                _drip_handshake(connection, self._is_over)
            stream = connection.makefile("rb")
            while (received := _read(stream)) is not None:
                self.requests.append(received)
                if not self._answer(connection, received):  # the connection is spoilt
                    return

    def _answer(self, connection: socket.socket, received: Received) -> bool:
        path = urlsplit(received.target).path
        self._is_over.wait(self.delays.get(path, 0))
        if path in self.faults:
            received = replace(received, target=f"/{self.faults[path]}")
        elif path in self.answers:
            answer = self.answers[path]
            body = answer(received) if callable(answer) else answer
            connection.sendall(_answer(200, json.dumps(body).encode()))
            return True
        name = urlsplit(received.target).path.strip("/").partition("/")[0].replace("-", "_")
        fault = getattr(_Faults(connection, received, self._is_over), name or "ok", None)
        if fault is None:
            connection.sendall(_answer(200, OK))
            return True
        return fault() is True


class _Faults:
    """One misbehaviour per method; those that return ``True`` leave the connection usable."""

    def __init__(self, connection: socket.socket, received: Received, is_over: threading.Event) -> None:
        self._connection = connection
        self._received = received
        self._is_over = is_over

    def ok(self) -> bool:
        """Answer as one should."""
        self._connection.sendall(_answer(200, OK))
        return True

    def status(self) -> bool:
        """Answer the status of the path with the ``retry-after`` of the query and a text of the vendor's."""
        parts = urlsplit(self._received.target)
        wait = parse_qs(parts.query).get("retry-after")
        header = f"Retry-After: {wait[0]}\r\n" if wait else ""
        self._connection.sendall(_answer(int(parts.path.rsplit("/", 1)[1]), b'{"error": "says the vendor"}', header))
        return True

    def not_json(self) -> bool:
        """Answer 200 and a page for people."""
        self._connection.sendall(_answer(200, b"<html>Sign in</html>"))
        return True

    def redirect(self) -> bool:
        """Send the client elsewhere, where its credentials would leak."""
        self._connection.sendall(_answer(302, b"", "Location: /elsewhere\r\n"))
        return True

    def cookie(self) -> bool:
        """Ask the client to remember something."""
        self._connection.sendall(_answer(200, OK, "Set-Cookie: who=you\r\n"))
        return True

    def hang(self) -> None:
        """Take the request and never answer."""
        self._is_over.wait()

    def hang_in_body(self) -> None:
        """Send a header without a length and never a body: cut there, it looks like an empty answer."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self._is_over.wait()

    def stall(self) -> None:
        """Send half of the body and nothing more."""
        self._connection.sendall(_answer(200, OK)[:-6])
        self._is_over.wait()

    def drip_headers(self) -> None:
        """Send a header that never ends, byte by byte."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self._drip()

    def drip_body(self) -> None:
        """Send a body that never ends, byte by byte."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        self._drip()

    def truncate(self) -> None:
        """Promise more than is sent."""
        self._connection.sendall(_answer(200, OK)[:-6])

    def reset(self) -> None:
        """Reset the connection in place of an answer."""
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        """Close the connection in place of an answer."""

    def close_when_idle(self) -> None:
        """Answer, then answer the next request on this connection by closing it, as idle time-outs do."""
        self._connection.sendall(_answer(200, OK))
        self._connection.recv(1)

    def endless(self) -> None:
        """Send a body without end, as fast as it is taken."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        self._flood(b"a" * 65_536)

    def endless_header(self) -> None:
        """Send one header without end."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        self._flood(b"a" * 65_536)

    def endless_headers(self) -> None:
        """Send headers without end."""
        self._connection.sendall(b"HTTP/1.1 200 OK\r\n")
        self._flood(b"X-Many: a\r\n" * 1_000)

    def endless_status(self) -> None:
        """Say for ever that the answer is about to come."""
        self._flood(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000)

    def gzip_bomb(self) -> None:
        """Send little that unpacks to twenty megabytes."""
        self._connection.sendall(_answer(200, _bomb(), "Content-Encoding: gzip\r\n"))

    def bad_gzip(self) -> None:
        """Say gzip and send something else."""
        self._connection.sendall(_answer(200, OK, "Content-Encoding: gzip\r\n"))

    def _flood(self, data: bytes) -> None:
        while not self._is_over.is_set():
            self._connection.sendall(data)

    def _drip(self) -> None:
        _drip(self._connection, self._is_over)


@cache
def _bomb() -> bytes:
    return gzip.compress(bytes(20 * 1024 * 1024), 9)


def _drip(connection: socket.socket, is_over: threading.Event) -> None:
    while not is_over.wait(PAUSE_SECONDS):
        connection.sendall(b"a")


def _drip_handshake(connection: socket.socket, is_over: threading.Event) -> None:
    connection.sendall(b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc")  # a server hello of 16 kB begins
    _drip(connection, is_over)


def _answer(status: int, body: bytes, headers: str = "") -> bytes:
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n{headers}\r\n"
    return head.encode() + body


def _read(stream: BinaryIO) -> Received | None:
    """Read one request; ``None`` when the client has gone."""
    line = stream.readline().decode("latin-1").split()
    if len(line) < 2:
        return None
    headers = {}
    while (header := stream.readline().decode("latin-1").strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return Received(method=line[0], target=line[1], headers=headers, body=body)
