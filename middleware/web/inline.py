"""gunicorn's worker: one thread reads every connection and gives the answers that are ready at once.

A ``gthread`` worker whose poller reads requests itself.  A plain lookup with a fresh answer costs no other thread,
no Flask and no environ; one that a CRM must be asked for has none but the search's, which sends the answer, and a plain
event none but that which stores it.
Everything else goes to the pool as soon as it is there as a whole, and there to gunicorn's own parser and code.  So a
sender who drips bytes, or takes his answer slowly, occupies no thread.  Hand-written: no server of Python's answers
some requests without a thread and the others with one (docs/adr/0003).
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import sys
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from math import inf
from threading import RLock
from typing import Any

import structlog
from gunicorn import SERVER, util
from gunicorn.workers.gthread import PollableMethodQueue, ThreadWorker

from middleware.errors import place_of
from middleware.failpoints import reach
from middleware.inbox.store import Accepted
from middleware.lookup.card import Result
from middleware.web.answers import problem_answer
from middleware.web.connection import Connection, State
from middleware.web.fast import Asked, FastPath
from middleware.web.fast_events import Sent
from middleware.web.head import END, read_plain
from middleware.web.lines import Lines
from middleware.web.requests import READ_AT, SEND_LATER

log = structlog.get_logger("m8crm.web")
GET = b"GET "
RECEIVE = 65_536  # bytes that are taken at once
TOGETHER = 16  # answers that are sent one behind the other: a system call makes the code around it slow, too
SWEEP_EVERY = 0.25  # seconds between looks at all deadlines
READ_SECONDS = 10.0  # unless M8CRM_READ_TIMEOUT says otherwise
WRITE_SECONDS = 30.0  # an answer, or a piece of one that is sent in pieces, must be taken by then
LINGER_SECONDS = 2.0  # a connection is read on after its last answer, or a reset may overtake the answer
LINGER_BYTES = 1_048_576
# For how long a thread may keep the interpreter from others that wait for it: few threads have their turn sooner
# so; hundreds would wake up for nothing but asking for theirs.
SWITCH_SECONDS, SWITCH_SECONDS_OF_A_CROWD = 0.0005, 0.005
CROWD = 48  # requests that threads have
STOP_MARGIN = 3.0  # seconds before the master kills: by then nobody's slowness is waited for
EVENTS = {
    State.READING: selectors.EVENT_READ,
    State.WRITING: selectors.EVENT_WRITE,
    State.CLOSING: selectors.EVENT_READ,
}


class ClosableQueue(PollableMethodQueue):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn's queue, to which threads come late: by then the descriptor they write to may be another file's."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = RLock()  # a signal's handler comes here, too
        self._is_closed = False

    def defer(self, callback: Callable[..., object], *args: object) -> None:
        """Have the poller call ``callback``, unless it has ended."""
        with self._lock:
            if not self._is_closed:
                super().defer(callback, *args)

    def close(self) -> None:
        """Take nothing more."""
        with self._lock:
            self._is_closed = True
            super().close()


class InlineWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """A ``ThreadWorker`` that never waits for a sender."""

    alive: bool
    nr: int
    wsgi: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.method_queue = ClosableQueue()
        self.connections: set[Connection] = set()
        self.lines = Lines()
        self.fast: FastPath | None = None
        self.read_seconds = READ_SECONDS
        self.max_body = 0
        self.keepalive = self.cfg.keepalive
        self._ready: list[tuple[Connection, bytes]] = []  # answers that are about to be sent
        self._swept_at = 0.0
        self._notified_at = 0.0
        self._working = 0
        self._ended: deque[tuple[Connection, bool]] = deque()  # answered by a search's thread, and not ours yet
        self._stop_at = inf
        self._is_without_threads = False
        self._date = (0, "")  # a second, and the headers that hold it

    @classmethod
    def check_config(cls, cfg: Any, log: Any) -> None:
        """Refuse what only gunicorn's own workers can do."""
        if cfg.is_ssl or cfg.proxy_protocol != "off" or cfg.protocol != "http" or cfg.http2_cleartext != "off":
            raise SystemExit("m8crm speaks plain HTTP/1.1; put a proxy before it that speaks TLS (docs/operations.rst)")
        super().check_config(cfg, log)

    def load_wsgi(self) -> None:
        """Load the application; take its parts for the fast path."""
        super().load_wsgi()
        app = self.wsgi

        def timed(environ: dict[str, Any], start_response: Any) -> Any:
            environ[READ_AT] = environ["gunicorn.socket"].read_at
            environ[SEND_LATER] = environ["gunicorn.socket"].send_later
            return app(environ, start_response)

        self.wsgi = timed
        extensions = getattr(self.app.callable, "extensions", {})
        parts, is_for_others = extensions.get("m8crm"), extensions.get("m8crm.for_others", False)
        if parts is None:
            return
        self.read_seconds, self.max_body = parts.settings.read_timeout, parts.settings.max_body
        # what only gunicorn does: the access log, a prefix of all paths, one request a connection
        if self.keepalive and not (is_for_others or self.log.access_log_enabled or os.environ.get("SCRIPT_NAME")):
            self.fast = FastPath(
                tenants=parts.tenants,
                lookups=parts.lookups,
                inbox=parts.inbox,
                guesses=parts.guesses,
                key=parts.key,
                lines=self.lines,
            )

    def run(self) -> None:
        """Serve until told to stop, then finish what is under way."""
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            super().run()
        finally:
            self.lines.close()

    def notify(self) -> None:
        """Tell the master once a second that this worker lives: twice for every request is a lot of system calls."""
        now = time.monotonic()
        if now - self._notified_at >= 1:
            self._notified_at = now
            super().notify()

    def accept(self, listener: Any) -> None:
        """Take a new connection, if need be in the place of the one that has waited longest."""
        self._send_ready()  # or one of these connections might have to go
        if self.nr_conns >= self.worker_connections - 1:
            self._make_room()
        try:
            wire, client = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._make_room()
            elif error.errno not in (errno.EAGAIN, errno.ECONNABORTED, errno.EWOULDBLOCK):
                raise
            return
        connection = Connection(self.cfg, wire, client, listener.getsockname())
        connection.deadline = time.monotonic() + self.keepalive
        self.connections.add(connection)
        self.nr_conns += 1
        self.on_event(connection, wire)

    def on_event(self, connection: Connection, _wire: Any) -> None:
        """Go on with a connection that the poller has reported."""
        if self._ended:
            self._take_back_ended()
        self._guard(self._go_on, connection)

    def _go_on(self, connection: Connection) -> None:
        if connection.state is State.READING:
            self._read(connection)
        elif connection.state is State.WRITING:
            self._write_on(connection)
        elif connection.state is State.CLOSING:
            self._linger(connection)
        else:
            self._watch(connection)
            self._take_back_ended()  # whoever has ended before he could see that nobody watches

    def _guard(self, step: Callable[[Connection], None], connection: Connection) -> None:
        try:
            step(connection)
        except Exception as error:  # a fault of ours costs one connection, not all
            log.error("connection_broken", error=type(error).__name__, place=place_of(error))
            self._drop(connection)

    def handle(self, conn: Connection) -> bool:
        """Answer a request on a thread, and send what can be sent at once: that need not wait for the poller."""
        if conn.state is State.CLOSED:  # dropped while it waited for a thread
            return False
        if conn.more is not None:
            conn.go_on()
            return _flushed(conn) and conn.keep_alive
        # if gunicorn wanted more, what comes is the rest of this request, and may not be taken for the next
        keep_alive = bool(super().handle(conn)) and not conn.sock.is_read_beyond
        conn.end()
        return _flushed(conn) and keep_alive

    def _begin(self, connection: Connection, fast: FastPath, asked: Asked | Sent) -> None:
        """Begin a lookup, or have an event stored; the thread that knows the end of it sends the answer."""

        def done(result: Result | Accepted | Exception) -> None:
            keep_alive = connection.keep_alive and self.alive
            try:
                connection.out = memoryview(fast.told(asked, result, self._server(is_kept=keep_alive)))
                if isinstance(result, Accepted):
                    reach("before-200")
                keep_alive = _flushed(connection) and keep_alive
                if isinstance(result, Accepted):
                    reach("after-200")
            except Exception as error:
                log.error("connection_broken", error=type(error).__name__, place=place_of(error))
                connection.out, keep_alive = memoryview(b""), False
            self._ended.append((connection, keep_alive))
            # the poller looks there whenever it is awake, and no later than in a second; waking it takes as long as
            # reading a request.  Who waits for no event is never looked for (in this order: see on_event)
            if connection.out or connection.buffer or not keep_alive or not connection.watched:
                self.method_queue.defer(self._take_back_ended)

        try:
            fast.begin(asked, done)
        except Exception as error:  # as the application has it
            done(error)

    def handle_request(self, req: Any, conn: Connection) -> Any:
        """Answer a request; behind one that did not come whole there is no other."""
        req.must_close = req.must_close or conn.is_cut_off
        return super().handle_request(req, conn)

    def handle_error(self, req: Any, client: Any, addr: Any, exc: Any) -> None:
        """Refuse what gunicorn cannot read; behind an answer there is no other, and closing says enough."""
        if not client.is_answered:
            super().handle_error(req, client, addr, exc)

    def finish_request(self, conn: Connection, fs: Any) -> None:
        """Take a connection back from its thread."""
        if fs.cancelled() or fs.exception():
            self._count(-1)
            self._drop(conn)
        else:
            self._take_back(conn, keep_alive=fs.result())

    def _take_back_ended(self) -> None:
        while self._ended:
            self._take_back(*self._ended.popleft())

    def _take_back(self, connection: Connection, keep_alive: bool) -> None:
        self._count(-1)
        connection.keep_alive = keep_alive
        self._guard(self._write_on, connection)

    def murder_keepalived(self, force: bool = False) -> None:
        """End every connection whose time is over, or all that no thread has."""
        self._take_back_ended()
        now = time.monotonic()
        if not force and now - self._swept_at < SWEEP_EVERY:
            return
        self._swept_at = now
        for connection in [c for c in self.connections if c.deadline <= now or (force and c.state in EVENTS)]:
            if connection.state is State.READING and connection.buffer and not force:
                self._guard(self._refuse_late, connection)
            else:
                self._drop(connection)

    def _cap_keepalive(self, deadline: float) -> None:
        """Close idle connections by ``deadline``, and those of slow peers in time, since the worker stops."""
        self._stop_at = time.monotonic() + max(0.0, self.cfg.graceful_timeout - STOP_MARGIN)
        for connection in self.connections:
            if connection.state in EVENTS:
                is_idle = connection.state is State.READING and not connection.buffer
                connection.deadline = min(connection.deadline, deadline if is_idle else self._stop_at)

    def _until(self, seconds: float) -> float:
        """Return the moment ``seconds`` from now, or the last one before the master kills a worker that stops."""
        return min(time.monotonic() + seconds, self._stop_at)

    def _read(self, connection: Connection) -> None:
        try:
            data = connection.wire.recv(RECEIVE)
        except BlockingIOError:
            self._watch(connection)
            return
        except OSError:
            self._drop(connection)
            return
        if data:
            if not connection.buffer:
                is_usual = data.startswith(GET) and data.find(END) == len(data) - len(END)
                if is_usual and self._answer_at_once(connection, data):
                    return
                connection.deadline = self._until(self.read_seconds)
            connection.buffer += data
            self._proceed(connection)
        elif connection.buffer:
            self._hand_over(connection)  # a part of a request has its answer, too
            self._watch(connection)
        else:
            self._drop(connection)

    def _proceed(self, connection: Connection) -> None:
        """Answer what has come, as far as nobody must be waited for."""
        if connection.buffer:  # several requests, perhaps, or a large one
            self._send_ready()
        while connection.state is State.READING and connection.buffer:
            is_whole = connection.is_whole()
            body = connection.body() if is_whole else None
            answer = None if body is None else self._ready_answer(connection, connection.head(), body)
            if body is not None and (answer is not None or connection.asked):
                connection.skip(connection.incoming.head_end + len(body))
            if answer is not None:
                connection.out = memoryview(answer)
                self._write(connection)
            elif connection.asked or is_whole or connection.is_hopeless(self.max_body):
                self._hand_over(connection)
            else:
                self._tell_to_continue(connection)
                break
        self._watch(connection)

    def _answer_at_once(self, connection: Connection, head: bytes) -> bool:
        """Answer the usual lookup with the least to do: one packet is one request, and the sender stays and reads."""
        answer = self._ready_answer(connection, head)
        if answer is None and connection.asked:
            self._hand_over(connection)
            return True
        if answer is None:
            return False
        self._ready.append((connection, answer))
        if len(self._ready) == TOGETHER:
            self._send_ready()
        return True

    def _send_ready(self) -> None:
        if not self._ready:
            return
        ready, self._ready, deadline = self._ready, [], self._until(self.keepalive)
        for connection, answer in ready:
            try:
                sent = connection.wire.send(answer)
            except OSError:  # one that lasts is met again
                sent = 0
            if sent == len(answer) and connection.keep_alive and connection.watched:
                connection.deadline = deadline
            else:
                connection.out = memoryview(answer)[sent:]
                self._guard(self._write_on, connection)

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """Go on with every connection that has something; an answer that is ready waits for no more than these."""
        try:
            super().wait_for_and_dispatch_events(timeout)
        finally:
            self._send_ready()

    def _ready_answer(self, connection: Connection, head: bytes | None, body: bytes = b"") -> bytes | None:
        """Return the bytes of an answer that is ready; a stopping worker leaves all of them to the slow path.

        A plain lookup without one, or an event, is left in ``connection.asked``.
        """
        is_last = self.nr + 1 >= self.max_requests  # then the slow path does what is to be done
        if head is None or self.fast is None or connection.incoming.is_slow or not self.alive or is_last:
            return None
        try:
            request = read_plain(head)
            asked = self.fast.read(request, body, connection.peer) if request else None
            if request and asked:
                answer = self.fast.ready(asked, self._server(is_kept=request.keep_alive))
                connection.asked, connection.keep_alive = None if answer else asked, request.keep_alive
                self.nr += 1
                return answer
        except Exception as error:  # the slow path meets it again, and answers
            log.error("fast_path_broken", error=type(error).__name__, place=place_of(error))
        connection.incoming.is_slow = True
        return None

    def _server(self, *, is_kept: bool) -> str:
        """Return the headers that are the server's own, as gunicorn writes them."""
        second = int(time.time())
        if second != self._date[0]:
            self._date = second, f"Server: {SERVER}\r\nDate: {util.http_date(second)}\r\nConnection: "
        return self._date[1] + ("keep-alive\r\n" if is_kept else "close\r\n")

    def _count(self, more: int) -> None:
        self._working += more
        if self._working in (CROWD, CROWD - 1):
            sys.setswitchinterval(SWITCH_SECONDS if self._working < CROWD else SWITCH_SECONDS_OF_A_CROWD)

    def _hand_over(self, connection: Connection) -> None:
        self._send_ready()  # to begin a search takes as long as several answers
        self._count(1)
        connection.state, connection.deadline = State.WORKING, inf
        asked, connection.asked = connection.asked, None
        if asked is None and connection.more is None:
            connection.begin(time.monotonic())
        if asked and self.fast:  # it is soon over: the poller goes on watching, unless more comes meanwhile
            self._begin(connection, self.fast, asked)
            return
        self._watch(connection)  # first: a thread may be done at once
        try:
            self.enqueue_req(connection)
        except RuntimeError:  # no thread can be started: the machine has too many
            if not self._is_without_threads:
                self._is_without_threads = True
                log.error("no_thread_for_a_request")
            self._count(-1)
            self._drop(connection)

    def _tell_to_continue(self, connection: Connection) -> None:
        framing = connection.framing()
        if framing and framing.expects_continue and not connection.is_continued:
            connection.is_continued = True
            with suppress(OSError):  # 25 bytes: the kernel takes them, or the connection is gone
                connection.wire.send(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _write_on(self, connection: Connection) -> None:
        self._write(connection)
        self._proceed(connection)

    def _write(self, connection: Connection) -> None:
        """Send what is to be sent; the next request, or the end, comes behind it."""
        try:
            is_out = connection.flush()
        except OSError:
            self._drop(connection)
            return
        if not is_out:
            if connection.state is not State.WRITING:
                connection.state, connection.deadline = State.WRITING, self._until(WRITE_SECONDS)
        elif connection.more is not None:
            self._hand_over(connection)
        elif connection.keep_alive:
            wait = self.read_seconds if connection.buffer else self.keepalive
            wait = wait if self.alive else LINGER_SECONDS
            connection.state, connection.deadline = State.READING, self._until(wait)
        else:
            connection.state, connection.deadline = State.CLOSING, self._until(LINGER_SECONDS)
            with suppress(OSError):
                connection.wire.shutdown(socket.SHUT_WR)

    def _linger(self, connection: Connection) -> None:
        """Read what nobody wants until the sender has seen the end."""
        try:
            connection.drained += len(connection.wire.recv(RECEIVE)) or LINGER_BYTES
        except BlockingIOError:
            return
        except OSError:
            connection.drained = LINGER_BYTES
        if connection.drained >= LINGER_BYTES:
            self._drop(connection)

    def _refuse_late(self, connection: Connection) -> None:
        body = problem_answer(408, "The request did not come in time.").body
        head = "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Type: application/json\r\n"
        connection.out = memoryview(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        connection.keep_alive = False
        self._write(connection)
        self._watch(connection)

    def _make_room(self) -> None:
        """Close the connection that has waited longest for its sender: an honest request is there at once."""
        self._take_back_ended()
        waiting = [c for c in self.connections if c.state in (State.READING, State.CLOSING)]
        if waiting:
            self._drop(min(waiting, key=lambda c: c.deadline))

    def _watch(self, connection: Connection) -> None:
        events = EVENTS.get(connection.state, 0)
        if events == connection.watched:
            return
        if not events:
            self.poller.unregister(connection.wire)
        elif connection.watched:
            self.poller.modify(connection.wire, events, partial(self.on_event, connection))
        else:
            self.poller.register(connection.wire, events, partial(self.on_event, connection))
        connection.watched = events

    def _drop(self, connection: Connection) -> None:
        if connection.state is State.CLOSED:
            return
        connection.state, connection.more = State.CLOSED, None
        self._watch(connection)
        self.connections.discard(connection)
        self.nr_conns -= 1
        util.close(connection.wire)


def _flushed(connection: Connection) -> bool:
    """Send what can be sent at once: that need not wait for the poller; return whether the sender is still there."""
    try:
        connection.flush()
    except OSError:
        connection.out, connection.more = memoryview(b""), None
        return False
    return True
