"""The load generator tells right answers from wrong ones and charges waiting to the server."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest

from benchmarks import load
from benchmarks.load import Load, at_once, evenly, get, post, run_open

ASK = get("/acme/lookup?fromNumber=1", bearer="secret", expect=b"Ada")
RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nAda"
Talk = Callable[[socket.socket], None]


@contextmanager
def server(talk: Talk) -> Iterator[int]:
    """Serve each connection on a thread of its own with ``talk``, and return the port."""
    threads: list[Thread] = []

    def serve(connection: socket.socket) -> None:
        with connection, suppress(ConnectionError):
            talk(connection)

    def accept() -> None:
        with suppress(OSError):  # the listener is closed at the end
            while True:
                threads.append(Thread(target=serve, args=[listener.accept()[0]], daemon=True))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads.append(Thread(target=accept, daemon=True))
        threads[0].start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    for thread in threads:
        thread.join()


def answering(*pieces: bytes) -> Talk:
    """Answer every request on a connection with ``pieces``, each sent alone."""

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while connection.recv(65536):
            for piece in pieces:
                connection.sendall(piece)

    return talk


def closing(connection: socket.socket) -> None:
    """Read the request and hang up."""
    connection.recv(65536)


def measured(talk: Talk, asks: list[tuple[float, load.Ask]]) -> Load:
    with server(talk) as port:
        return run_open(port, asks, connections=1, patience=60)


@pytest.mark.parametrize(
    ("pieces", "status", "is_right"),
    [
        ([RIGHT], 200, True),
        ([b"HTTP/1.1 200 OK\r\ncontent-len", b"gth: 3\r\n\r", b"\nA", b"da"], 200, True),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nBob"], 200, False),
        ([b"HTTP/1.1 503 Busy\r\nContent-Length: 3\r\n\r\nAda"], 503, False),
        ([b"HTTP/1.1 200 OK\r\nX-Name: Ada\r\nContent-Length: 2\r\n\r\n{}"], 200, False),
    ],
    ids=["right", "in pieces", "somebody else", "busy", "only in the header"],
)
def test_only_a_200_with_what_is_expected_is_right(pieces: list[bytes], status: int, is_right: bool) -> None:
    """An answer is right when its status is 200 and its body holds what was asked for."""
    result = measured(answering(*pieces), evenly([ASK], rate=1000, seconds=0.003))
    assert [(answer.status, answer.is_right) for answer in result.answers] == [(status, is_right)] * 3
    assert result.false == (0 if is_right else 3)


def test_a_connection_that_ends_is_no_answer() -> None:
    """Who hangs up has not answered, and is counted."""
    result = measured(closing, [(0.0, ASK)])
    assert [(answer.status, answer.is_right) for answer in result.answers] == [(0, False)]
    assert (result.wrong, result.false) == (1, 0)


def test_latency_counts_from_the_moment_a_request_was_due() -> None:
    """A request that can only be sent ten seconds late has a latency of ten seconds and more."""
    result = measured(answering(RIGHT), [(-10.5, ASK), (-5.5, ASK)])
    assert sorted(answer.seconds // 5 for answer in result.answers) == [1, 2]
    assert result.lag >= 5


@pytest.mark.parametrize("most", [1, 30])
def test_asks_wait_when_all_connections_are_taken(most: int) -> None:
    """A server that is too slow gets no more connections than the most, and still every request."""
    ports = set()

    def talk(connection: socket.socket) -> None:
        ports.add(connection.getpeername()[1])
        answering(RIGHT)(connection)

    with server(talk) as port:
        result = run_open(port, [(0.0, ASK)] * 30, connections=1, most=most, patience=60)
    assert (len(result.answers), result.wrong) == (30, 0)
    assert len(ports) <= most


def test_all_at_once_is_one_connection_each() -> None:
    """Thirty phones are thirty connections."""
    ports = set()

    def talk(connection: socket.socket) -> None:
        ports.add(connection.getpeername()[1])
        answering(RIGHT)(connection)

    with server(talk) as port:
        result = at_once(port, [ASK] * 30, patience=5)
    assert (len(ports), result.wrong) == (30, 0)


def test_a_post_tells_its_length() -> None:
    """A posted document is JSON with its length and the secret."""
    head, _, body = post("/acme/calllog", {"a": 1}, bearer="s").raw.partition(b"\r\n\r\n")
    assert head.startswith(b"POST /acme/calllog HTTP/1.1\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert b"Authorization: Bearer s" in head
    assert body == b'{"a": 1}'
