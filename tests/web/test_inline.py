"""The inline worker: who is slow waits alone, and HTTP works as with gunicorn's own worker."""

from __future__ import annotations

import os
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import flask_swagger_ui
import pytest
from gunicorn.config import Config

from middleware.web.connection import State
from middleware.web.head import Framing
from middleware.web.inline import TOGETHER, ClosableQueue, InlineWorker
from middleware.web.requests import READ_AT
from tests.conftest import House
from tests.web.pair import Counting
from tests.web.serving import Address, exchange, read_all, read_answer, served
from tests.web.test_gunicorn import NUMBER, start_gunicorn

GET = b"GET / HTTP/1.1\r\nHost: m8crm\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: m8crm\r\nContent-Length: 4\r\n"
DRIPS = {
    "nothing": b"",
    "a part of a head": b"GET /-/live HTTP/1.1\r\nHost: m8",
    "a part of a line": b"GET /nordlys/loo",
    "a part of a body": b"POST /nordlys/calllog HTTP/1.1\r\nHost: m8crm\r\nContent-Length: 400\r\n\r\n{",
    "a part of a chunk": b"POST /nordlys/calllog HTTP/1.1\r\nHost: m8crm\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{",
}


def echo(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the body."""
    body = environ["wsgi.input"].read()
    start_response("200 OK", [("Content-Length", str(len(body))), ("Content-Type", "text/plain")])
    return [body]


@contextmanager
def inline(
    app: Callable[..., Any], *, read_seconds: float = 30.0, threads: int = 1, **own: Any
) -> Iterator[tuple[Any, Address]]:
    """Run our worker over any WSGI application."""

    def prepare(worker: Any) -> None:
        worker.max_body, worker.read_seconds = 1000, read_seconds

    with served(app, InlineWorker, prepare, threads=threads, **own) as running:
        yield running


def connect(address: Address, sent: bytes = b"") -> socket.socket:
    """Return a connection that has sent something."""
    connection = socket.create_connection(address, timeout=20)
    connection.sendall(sent)
    return connection


def test_slow_senders_keep_nobody_waiting(tmp_path: Path) -> None:
    """With 300 unfinished requests open on two threads, lookups and all else are answered, and no sender is cut off."""
    with start_gunicorn(tmp_path, M8CRM_THREADS="2", M8CRM_READ_TIMEOUT="100") as server, ExitStack() as stack:
        server.send("GET /-/live HTTP/1.1\n\n")
        slow = [stack.enter_context(connect(server.address, drip)) for drip in [*DRIPS.values()] * 60]
        for path in ("/-/live", f"/nordlys/lookup?fromNumber={NUMBER}", f"/nordlys/lookup?fromNumber={NUMBER}"):
            assert b" 200 OK\r\n" in server.send(f"GET {path} HTTP/1.1\n\n")
        for connection in slow:
            connection.setblocking(False)
            with pytest.raises(BlockingIOError):  # neither an answer nor an end
                connection.recv(1)


def test_request_that_does_not_come_in_time_is_refused(tmp_path: Path) -> None:
    """A request must have come as a whole within M8CRM_READ_TIMEOUT, its body included."""
    with start_gunicorn(tmp_path, M8CRM_READ_TIMEOUT="0.3") as server:
        for drip in filter(None, DRIPS.values()):
            with connect(server.address, drip) as slow:
                answer = read_all(slow)
            assert answer.startswith(b"HTTP/1.1 408 Request Timeout\r\n")
            assert answer.endswith(b'{"message": "The request did not come in time."}')


def test_a_byte_now_and_then_buys_no_time() -> None:
    """The time runs from the first byte of a request, not from the last."""
    sent = 0
    with inline(echo, read_seconds=0.5) as (_, address), connect(address) as slow:
        slow.settimeout(0.02)
        while True:
            try:
                slow.sendall(b"G" if sent == 0 else b"E")
                sent += 1
                if slow.recv(1000).startswith(b"HTTP/1.1 408"):
                    break
            except TimeoutError:
                continue
    assert sent > 2


def test_idle_connections_make_room_for_new_ones() -> None:
    """When all connections are taken, the one that has waited longest for its sender gives way."""
    with inline(echo, worker_connections=8) as (_, address), ExitStack() as stack:
        idle = [stack.enter_context(connect(address, b"G")) for _ in range(20)]
        with connect(address, GET) as new:
            assert read_answer(new).startswith(b"HTTP/1.1 200 OK\r\n")
        assert idle[0].recv(1) == b""
        idle[-1].sendall(GET[1:])
        assert read_answer(idle[-1]).startswith(b"HTTP/1.1 200 OK\r\n")


def test_slow_reader_keeps_nobody_waiting() -> None:
    """Who does not take his answer occupies no thread; when he takes it, it is whole."""
    body = bytes(range(256)) * 80_000

    def large(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = body if environ["PATH_INFO"] == "/large" else b"small"
        start_response("200 OK", [("Content-Length", str(len(answer)))])
        return [answer]

    with inline(large) as (_, address), ExitStack() as stack:
        slow = [stack.enter_context(connect(address, GET.replace(b"/ ", b"/large "))) for _ in range(3)]
        with connect(address, GET) as other:
            assert read_answer(other).endswith(b"small")
        for connection in slow:
            assert read_answer(connection).endswith(b"\r\n\r\n" + body)
            connection.sendall(GET)
            assert read_answer(connection).endswith(b"small")


def test_waiting_for_a_thread_counts() -> None:
    """The moment that the lookup's deadline counts from is when the request had come, before it had a thread."""
    began, release, moments = threading.Event(), threading.Event(), []

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        moments.append((environ[READ_AT], time.monotonic()))
        began.set()
        assert release.wait(20)
        return echo(environ, start_response)

    with inline(app) as (worker, address), connect(address, GET) as first:
        assert began.wait(20)
        with connect(address, GET) as second:
            while worker.tpool._work_queue.qsize() == 0:  # pytest's time-out ends it
                pass
            queued = time.monotonic()
            release.set()
            assert b" 200 OK" in read_answer(first)
            assert b" 200 OK" in read_answer(second)
    assert moments[1][0] <= queued <= moments[1][1]


def test_lookup_that_waited_too_long_is_not_begun(house: House) -> None:
    """A request whose time is over before it has a thread is answered 504 without asking the CRM."""
    late = {READ_AT: time.monotonic() - 10}
    answer = house.client.get(f"/nordlys/lookup?fromNumber={NUMBER}", headers=house.bearer(), environ_overrides=late)
    assert answer.status_code == 504
    assert house.lookup().headers["Server-Timing"].startswith("cache;desc=miss")


def test_a_trace_begins_with_authentication_on_either_way(house: House) -> None:
    """Whether Flask or the fast path answers, the first step is finding out who asks."""
    secret = house.bearer()["Authorization"]
    get = f"GET /nordlys/lookup?fromNumber={NUMBER} HTTP/1.1\r\nHost: m8crm\r\nAuthorization: {secret}\r\n".encode()
    house.lookup()  # has the customer's file read, too: the fast path does not wait for that
    with served(house.app, InlineWorker) as (worker, address):
        worker.fast = Counting(worker.fast)
        exchange(address, get + b"X-Request-Id: fast\r\nConnection: close\r\n\r\n")
    assert worker.fast.answers == 1
    fast, slow = house.parts.traces.list()
    assert fast.id == "fast"
    assert [step["name"] for step in fast.steps["steps"]] == ["authentication", "cache"]
    assert [step["name"] for step in slow.steps["steps"]][:2] == ["authentication", "cache"]


def test_a_connection_is_taken_back_without_being_woken_for_it(house: House) -> None:
    """After an answer that a CRM was asked for, the connection waits for the next request, and that is answered."""
    secret = house.bearer()["Authorization"]
    request = f"GET /nordlys/lookup?fromNumber={NUMBER} HTTP/1.1\r\nHost: x\r\nAuthorization: {secret}\r\n\r\n"
    with served(house.app, InlineWorker) as (worker, address):
        house.parts.tenants.get("nordlys")  # the fast path knows who was asked for a moment ago
        deferred: list[object] = []
        defer = worker.method_queue.defer

        def deferring(*call: Any) -> None:
            deferred.append(call)
            defer(*call)

        worker.method_queue.defer = deferring
        with socket.create_connection(address, timeout=20) as wire:
            while not any(connection.watched for connection in list(worker.connections)):  # pytest's time-out ends it
                pass
            for _ in range(3):
                wire.sendall(request.encode())
                assert read_answer(wire).startswith(b"HTTP/1.1 200 ")
                house.parts.lookups.change("nordlys", "+46701740605")  # so that the CRM is asked each time
            wire.sendall(2 * request.encode())  # what waits behind a request is answered, too
            assert read_answer(wire).startswith(b"HTTP/1.1 200 ")
            assert read_answer(wire).startswith(b"HTTP/1.1 200 ")
            while worker._working or worker._ended:  # no later than in a second; pytest's time-out ends it
                pass
            (connection,) = worker.connections
            assert connection.state is State.READING
        assert len(deferred) <= 2  # for the two in one packet


def test_one_connection_carries_many_requests() -> None:
    """Bodies of a known length and in chunks are read to their end, and the next request begins behind them."""
    chunked = (
        POST.replace(b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"\r\n2\r\nab\r\n2;x=y\r\ncd\r\n0\r\n\r\n"
    )
    with inline(echo) as (_, address), connect(address) as connection:
        for sent in (POST + b"\r\nabcd", chunked, chunked + POST + b"\r\nabcd", POST + b"\r\nabcd"):
            for byte in sent:
                connection.sendall(bytes([byte]))
            for _ in range(sent.count(b"POST")):
                assert read_answer(connection).endswith(b"\r\n\r\nabcd")


def test_body_is_asked_for() -> None:
    """``Expect: 100-continue`` is answered before the body comes, and once."""
    with inline(echo) as (_, address), connect(address, POST + b"Expect: 100-continue\r\n\r\n") as connection:
        assert read_answer(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"abcd")
        assert read_answer(connection).startswith(b"HTTP/1.1 200 OK\r\n")
        connection.sendall(POST + b"Expect: 100-continue\r\n\r\nabcd")
        assert read_answer(connection) == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert read_answer(connection).startswith(b"HTTP/1.1 200 OK\r\n")


def test_endless_head_is_refused() -> None:
    """A head beyond all limits is refused while it still comes."""
    lines = b"".join(b"X-%d: %s\r\n" % (i, b"y" * 8_000) for i in range(9))
    with inline(echo) as (_, address):
        assert exchange(address, GET[:-2] + lines).startswith(b"HTTP/1.1 431 ")


def test_stop_ends_what_is_under_way() -> None:
    """A worker that stops answers the requests it has and those that are on their way, and closes."""
    began, release = threading.Event(), threading.Event()

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        began.set()
        assert release.wait(20)
        return echo(environ, start_response)

    with inline(app, threads=2) as (worker, address), connect(address, GET) as busy, connect(address, GET[:9]) as half:
        assert began.wait(20)
        while len(worker.connections) < 2:  # pytest's time-out ends it
            pass
        worker.handle_exit(None, None)
        half.sendall(GET[9:])
        release.set()
        assert read_all(busy).startswith(b"HTTP/1.1 200 OK\r\n")
        answer = read_all(half)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"\r\nConnection: close\r\n" in answer


def test_application_that_fails_is_the_servers_fault() -> None:
    """An exception of the application is a 500 of its own connection."""

    def app(_environ: dict[str, Any], _start_response: Callable[..., Any]) -> Iterable[bytes]:
        raise ValueError

    with inline(app) as (_, address):
        for _ in range(2):
            assert exchange(address, GET).startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize(
    ("name", "value"), [("certfile", "cert.pem"), ("proxy_protocol", "v1"), ("http2_cleartext", "both")]
)
def test_other_protocols_are_refused_at_start(name: str, value: str) -> None:
    """The worker says at start that TLS, HTTP/2 and the PROXY protocol are a proxy's business."""
    cfg = Config()
    cfg.set(name, value)
    with pytest.raises(SystemExit, match="proxy"):
        InlineWorker.check_config(cfg, None)


@contextmanager
def busy_elsewhere(worker: Any) -> Iterator[None]:
    """Keep the thread that reads all connections from them, so that it meets what is sent meanwhile at once."""
    began, release = threading.Event(), threading.Event()

    def wait() -> None:
        began.set()
        release.wait(20)

    worker.method_queue.defer(wait)
    assert began.wait(20)
    try:
        yield
    finally:
        release.set()


def hot_lookup(house: House, request_id: str) -> bytes:
    """Return a request for what the cache has."""
    secret = house.bearer()["Authorization"]
    head = f"GET /nordlys/lookup?fromNumber={NUMBER} HTTP/1.1\r\nHost: x\r\nAuthorization: {secret}\r\n"
    return f"{head}X-Request-Id: {request_id}\r\n\r\n".encode()


def test_answers_that_are_ready_together_all_go_out(house: House) -> None:
    """Each of many has his own answer, whoever of them is gone, needs a thread or a CRM, asks twice or hangs up."""
    house.lookup()
    requests = [hot_lookup(house, f"number-{number}") for number in range(3 * TOGETHER)]
    requests[5] = b"GET /-/live HTTP/1.1\r\nHost: x\r\nX-Request-Id: number-5\r\n\r\n"
    requests[7] = requests[7].replace(NUMBER.encode(), b"46701740606")  # the CRM is asked
    requests[9] = requests[9].replace(b"Host: x", b"Host: x\r\nConnection: close")
    requests[11] *= 2
    sizes, waiting = [], []

    class Noting(Counting):
        def read(self, request: Any, *rest: Any) -> Any:
            if request.headers["x-request-id"] == "number-11":
                waiting.append(len(worker._ready))
            return super().read(request, *rest)

    with served(house.app, InlineWorker) as (worker, address), ExitStack() as stack:
        worker.fast, send = Noting(worker.fast), worker._send_ready

        def send_ready() -> None:
            sizes.append(len(worker._ready))
            send()

        worker._send_ready = send_ready
        wires = [stack.enter_context(connect(address)) for _ in requests]
        while len(worker.connections) < len(wires):  # pytest's time-out ends it
            pass
        with busy_elsewhere(worker):
            for wire, request in zip(wires, requests, strict=True):
                wire.sendall(request)
            wires[3].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            wires[3].close()  # with a reset: to send him something fails
        for number, wire in enumerate(wires):
            if number != 3:
                answer = read_answer(wire)
                assert f"\r\nX-Request-Id: number-{number}\r\n".encode() in answer
                assert answer.startswith(b"HTTP/1.1 200 ")
        assert wires[9].recv(1) == b""
        assert b"\r\nX-Request-Id: number-11\r\n" in read_answer(wires[11])
    assert worker.fast.answers >= len(requests) - 3
    assert max(sizes) == TOGETHER
    assert waiting == [0, 0]  # nobody's answer waits for several of another's


def test_an_answer_that_was_ready_is_taken_slowly(house: House) -> None:
    """One that does not fit into what the kernel takes is sent on as the sender reads, whichever request's it is."""
    large = b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + bytes(9_000_000)

    class Large(Counting):
        def ready(self, _asked: object, _server: str) -> bytes:
            return large

    house.lookup()
    with served(house.app, InlineWorker) as (worker, address), connect(address) as wire:
        worker.fast = Large(worker.fast)
        for _ in range(2):
            wire.sendall(hot_lookup(house, "slow"))
            assert read_answer(wire) == large


def test_a_newcomer_costs_nobody_his_answer(house: House) -> None:
    """When all connections are taken, it is not the one that is just being answered that gives way."""
    house.lookup()
    with served(house.app, InlineWorker, worker_connections=4) as (worker, address), ExitStack() as stack:
        oldest, *_ = [stack.enter_context(connect(address)) for _ in range(3)]
        while len(worker.connections) < 3:  # pytest's time-out ends it
            pass
        with busy_elsewhere(worker):
            oldest.sendall(hot_lookup(house, "oldest"))
            newcomer = stack.enter_context(connect(address, hot_lookup(house, "newcomer")))
        assert b"\r\nX-Request-Id: oldest\r\n" in read_answer(oldest)
        assert b"\r\nX-Request-Id: newcomer\r\n" in read_answer(newcomer)


def test_fault_of_the_fast_path_is_left_to_the_slow_one(house: House) -> None:
    """A bug in the fast path costs no answer and no other connection."""

    class Broken:
        def read(self, _request: object) -> None:
            raise ZeroDivisionError

    def prepare(worker: Any) -> None:
        worker.fast = Broken()

    asked = f"GET /nordlys/lookup?fromNumber={NUMBER} HTTP/1.1\r\nHost: m8crm\r\n"
    asked += f"Authorization: {house.bearer()['Authorization']}\r\n\r\n"
    with served(house.app, InlineWorker, prepare, threads=1) as (_, address):
        for _ in range(2):
            assert exchange(address, asked.encode()).startswith(b"HTTP/1.1 200 OK\r\n")


SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: m8crm\r\n\r\n"
ODD_LENGTHS = {
    "zeros": b"Content-Length: %019d\r\n" % len(SMUGGLED),
    "two expectations": b"Expect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: %d\r\n" % len(SMUGGLED),
    "two codings": b"Transfer-Encoding: identity, chunked\r\n",
    "usual": b"Content-Length: %d\r\n" % len(SMUGGLED),
}


def smuggle(address: Address, path: bytes, fields: bytes) -> bytes:
    """Send a head, and when that had its time the body that looks like a request; return all answers."""
    with connect(address, b"POST %b HTTP/1.1\r\nHost: m8crm\r\n%b\r\n" % (path, fields)) as connection:
        with connect(address, GET) as other:  # by its answer the head was read
            read_answer(other)
        with suppress(OSError):
            connection.sendall(SMUGGLED)
            connection.shutdown(socket.SHUT_WR)
        return read_all(connection)


def path_of(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with the path, after reading the body where the path asks for it."""
    if environ["PATH_INFO"] == "/read":
        with suppress(Exception):
            environ["wsgi.input"].read()
    path = environ["PATH_INFO"].encode()
    start_response("200 OK", [("Content-Length", str(len(path)))])
    return [path]


@pytest.mark.parametrize("path", [b"/read", b"/deaf"])
@pytest.mark.parametrize("name", ODD_LENGTHS)
def test_body_is_never_taken_for_a_request(name: str, path: bytes) -> None:
    """However oddly a head tells its length, what comes behind it is its body or nothing."""
    with inline(path_of) as (_, address):
        assert b"/smuggled" not in smuggle(address, path, ODD_LENGTHS[name])


@pytest.mark.parametrize("path", [b"/read", b"/deaf"])
def test_wrong_guess_at_the_length_costs_the_connection(path: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where gunicorn takes a request to be longer than we did, no other request is read behind it."""
    monkeypatch.setattr("middleware.web.connection.read_framing", lambda _head: Framing())
    with inline(path_of) as (_, address):
        assert b"/smuggled" not in smuggle(address, path, ODD_LENGTHS["usual"])


def test_head_that_contradicts_itself_is_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody can be sure how long a request is, its answer says that the connection ends."""
    monkeypatch.setattr("middleware.web.connection.read_framing", lambda _head: Framing(is_clear=False))
    with inline(path_of) as (_, address), connect(address, GET + SMUGGLED) as connection:
        answer = read_all(connection)
    assert b"\r\nConnection: close\r\n" in answer
    assert b"/smuggled" not in answer


@pytest.mark.parametrize("body", [b"zz\r\n\r\n", b"3\r\nabcX\r\n0\r\n\r\n", b"0\r\nHost: x\r\n\r\n"])
def test_one_request_has_one_answer(body: bytes) -> None:
    """A broken body that nobody wanted has no second answer behind the first: the connection ends."""
    with inline(path_of) as (_, address):
        head = b"POST /deaf HTTP/1.1\r\nHost: m8crm\r\nTransfer-Encoding: chunked\r\n\r\n"
        answer = exchange(address, head + body)
    assert answer.count(b"HTTP/1.1 ") == 1
    assert answer.endswith(b"/deaf")


def test_file_is_sent_whole(house: House) -> None:
    """What the application hands over as an open file comes with all its bytes."""
    with served(house.app, InlineWorker, threads=1) as (_, address), connect(address) as connection:
        connection.sendall(b"GET /-/docs/assets/swagger-ui.css HTTP/1.1\r\nHost: m8crm\r\n\r\n")
        answer = read_answer(connection)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (
        answer.partition(b"\r\n\r\n")[2]
        == (Path(flask_swagger_ui.__file__).parent / "dist/swagger-ui.css").read_bytes()
    )


def test_stop_waits_for_no_slow_peer() -> None:
    """Who sends or reads slowly is let go before the master would kill the worker, and is told so if he can hear it."""

    def large(_environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Length", "20000000")])
        return [bytes(20_000_000)]

    left = list[int]()

    def prepare(worker: Any) -> None:
        sweep = worker.murder_keepalived

        def murder(*, force: bool = False) -> None:
            if force:
                left.append(len(worker.connections))
            sweep(force=force)

        worker.murder_keepalived = murder

    with served(large, InlineWorker, prepare, threads=1, graceful_timeout=5) as (worker, address), ExitStack() as stack:
        slow = stack.enter_context(connect(address, GET))
        half = stack.enter_context(connect(address, GET[:9]))
        slow_ones, states = 0, list[State]()
        while slow_ones < 1 or State.WRITING not in states:  # pytest's time-out ends it
            connections = tuple(worker.connections)
            slow_ones = sum(c.state is State.READING and bool(c.buffer) for c in connections)
            states = [c.state for c in connections]
        worker.handle_exit(None, None)
        assert read_all(half).startswith(b"HTTP/1.1 408 ")
        while not left:
            pass
        assert len(read_all(slow)) < 20_000_000
    assert left == [0]


def test_machine_without_threads_costs_single_requests(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """When no thread can be started, a request that needs one is dropped and the worker lives on."""
    asked = f"GET /nordlys/lookup?fromNumber={NUMBER} HTTP/1.1\r\nHost: m8crm\r\n"
    asked += f"Authorization: {house.bearer()['Authorization']}\r\n\r\n"

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    house.lookup()
    with served(house.app, InlineWorker, threads=2) as (worker, address):
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            for _ in range(2):
                assert exchange(address, GET) == b""
            assert exchange(address, asked.encode()).startswith(b"HTTP/1.1 200 OK\r\n")
            assert not worker.connections
        assert exchange(address, GET).startswith(b"HTTP/1.1 404 ")


def test_fault_after_an_answer_costs_one_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes wrong while an answer is taken from its thread ends that connection, and no other."""
    with inline(echo) as (_, address):
        with monkeypatch.context() as patch:
            patch.setattr(InlineWorker, "_write", lambda *_args: 1 / 0)
            assert exchange(address, GET).startswith(b"HTTP/1.1 200 OK\r\n")
        assert exchange(address, GET).startswith(b"HTTP/1.1 200 OK\r\n")


def test_late_thread_writes_into_nobody_elses_file() -> None:
    """A thread that is done when its worker has ended does not wake it: the descriptor is another file's by then."""
    queue = ClosableQueue()
    queue.init()
    queue.close()
    reader, writer = os.pipe()
    try:
        assert queue._write_fd in (reader, writer)
        queue.defer(print)
        os.set_blocking(reader, False)
        with pytest.raises(BlockingIOError):
            os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)
