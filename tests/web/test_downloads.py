"""A large answer and a taker who is slow: little memory, no thread, and every byte at last."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from middleware.errors import StorageError
from middleware.recordings.store import FolderStore
from middleware.web.inline import InlineWorker
from middleware.web.recordings import MAX_PART
from middleware.web.requests import SEND_LATER
from tests.conftest import House
from tests.recordings.keeping import CONFIG, keep
from tests.web.serving import read_all, read_answer, served
from tests.web.test_inline import GET, connect, inline

PIECE, PIECES = 1_000_000, 100


def large(made: list[int], gone: threading.Event | None = None) -> Callable[..., Any]:
    """Return an application that answers with 100 MB, or at ``/small`` with nothing; ``made`` counts the pieces."""

    def pieces() -> Iterator[bytes]:
        try:
            for number in range(PIECES):
                made.append(number)
                yield bytes([number]) * PIECE
        finally:
            if gone:
                gone.set()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/small":
            start_response("200 OK", [("Content-Length", "0")])
            return []
        start_response("200 OK", [("Content-Length", str(PIECE * PIECES))])
        later = pieces()
        first = next(later)
        environ[SEND_LATER](later)
        return [first]

    return app


def test_a_slow_taker_costs_little_memory_and_no_thread() -> None:
    """Of 100 MB that nobody takes only a few are made; the one thread answers others; what is taken then is whole."""
    made: list[int] = []
    with inline(large(made)) as (_, address), connect(address, GET) as slow, connect(address) as other:
        got = bytearray(slow.recv(65_536))
        for _ in range(20):
            other.sendall(GET.replace(b"/", b"/small", 1))
            assert read_answer(other).startswith(b"HTTP/1.1 200 OK\r\n")
        assert len(made) * PIECE < 20_000_000  # what stands in the kernel's buffers, and a piece
        digest = hashlib.sha256()
        body = got[got.index(b"\r\n\r\n") + 4 :]
        length = len(body)
        digest.update(body)
        while length < PIECE * PIECES:
            data = slow.recv(1_000_000)
            assert data
            digest.update(data)
            length += len(data)
        slow.sendall(GET.replace(b"/", b"/small", 1))  # the connection is as good as before
        assert read_answer(slow).startswith(b"HTTP/1.1 200 OK\r\n")
    assert digest.digest() == hashlib.sha256(b"".join(bytes([n]) * PIECE for n in range(PIECES))).digest()
    assert made == list(range(PIECES))


def test_a_taker_who_leaves_ends_it() -> None:
    """Nothing more is made for somebody who has gone, and what it was made from is let go of."""
    made: list[int] = []
    gone = threading.Event()
    with inline(large(made, gone)) as (_, address):
        with connect(address, GET) as slow:
            slow.recv(65_536)
        assert gone.wait(20)
    assert len(made) < PIECES


def test_a_request_behind_a_large_answer_waits_for_its_end() -> None:
    """What was sent along with the request is answered behind the last piece, and not between two."""
    made: list[int] = []
    with inline(large(made)) as (_, address), connect(address, GET + GET.replace(b"/", b"/small", 1)) as slow:
        slow.shutdown(socket.SHUT_WR)
        got = read_all(slow)
    first, rest = got[: got.index(b"\r\n\r\n") + 4 + PIECE * PIECES], got[got.index(b"\r\n\r\n") + 4 + PIECE * PIECES :]
    assert first.endswith(bytes([PIECES - 1]) * PIECE)
    assert rest.startswith(b"HTTP/1.1 200 OK\r\n")


def test_what_cannot_be_made_ends_the_connection() -> None:
    """An answer that breaks off is seen by its taker: the connection ends before the length that was told."""

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        def pieces() -> Iterator[bytes]:
            yield b"two"
            raise StorageError("the disk is gone")

        start_response("200 OK", [("Content-Length", "1000")])
        environ[SEND_LATER](pieces())
        return [b"one"]

    with inline(app) as (_, address), connect(address, GET) as taker:
        assert read_all(taker).endswith(b"\r\n\r\nonetwo")


@pytest.fixture
def path(house: House) -> str:
    """Keep a recording of 40 MiB and return the path of its link."""
    file = house.folder / "customers" / "nordlys.toml"
    file.write_text(file.read_text() + CONFIG)
    return keep(house.parts.recordings, b"".join(bytes([n]) * MAX_PART for n in range(40)))


def test_a_whole_recording_is_read_as_it_is_taken(house: House, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A download without a range reads no more of the file than its taker is about to get, and is whole."""
    asked: list[int] = []
    read = FolderStore.read

    def counted(store: FolderStore, tenant_id: str, sha256: str, start: int, length: int) -> Iterator[bytes]:
        asked.append(length)
        return read(store, tenant_id, sha256, start, length)

    monkeypatch.setattr(FolderStore, "read", counted)
    request = f"GET {path} HTTP/1.1\r\nHost: m8crm\r\nConnection: close\r\n\r\n".encode()
    with served(house.app, InlineWorker, threads=1) as (_, address), connect(address, request) as slow:
        start = slow.recv(1000)
        with connect(address, b"GET /-/live HTTP/1.1\r\nHost: m8crm\r\n\r\n") as other:
            assert read_answer(other).startswith(b"HTTP/1.1 200 OK\r\n")
        assert max(asked) <= MAX_PART
        assert sum(asked) < 20 * MAX_PART
        whole = start + read_all(slow)
    body = whole[whole.index(b"\r\n\r\n") + 4 :]
    assert hashlib.sha256(body).digest() == hashlib.sha256(b"".join(bytes([n]) * MAX_PART for n in range(40))).digest()
