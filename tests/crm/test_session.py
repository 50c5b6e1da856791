"""The way out for adapters, against a server that misbehaves."""

from __future__ import annotations

import ssl
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import RawIOBase
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
import requests
import responses
import trustme

from middleware.crm.auth import bearer
from middleware.crm.context import build_context
from middleware.crm.session import MAX_BYTES, CRMSession, parse_retry_after
from middleware.crm.settings import Secret
from middleware.crm.transport import Answer, Transport
from middleware.errors import (
    CRMAuthError,
    CRMError,
    CRMNotFoundError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    RateLimitedError,
    StorageError,
)
from middleware.model.call import User
from middleware.model.deadline import Deadline
from middleware.testing.faults import FaultServer
from tests.lookup.zoo import Zoo

SECRET = "top-secret"  # stands in queries, headers and bodies; never in a message
PATIENCE = timedelta(seconds=30)
SHORT = timedelta(seconds=0.15)


@pytest.fixture
def crm() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


def session(crm: FaultServer, span: timedelta = PATIENCE) -> CRMSession:
    return CRMSession(crm.url, Deadline.after(span))


@pytest.mark.parametrize("fault", ["hang", "hang-in-body", "stall", "drip-headers", "drip-body"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_nothing_outlasts_the_deadline(crm: FaultServer, fault: str, method: str) -> None:
    """A server that hangs or drips anywhere costs the time until the deadline and never looks like an answer."""
    with pytest.raises(CRMTimeoutError):
        session(crm, SHORT).request(method, fault)


def test_a_dripping_handshake_ends_at_the_deadline(crm: FaultServer) -> None:
    """A server that drips while TLS is agreed upon costs no more than one that drips later."""
    dripping = CRMSession(crm.url.replace("http:", "https:"), Deadline.after(SHORT))
    with pytest.raises(CRMTimeoutError):
        dripping.get("ok")


def test_a_deadline_that_has_passed_sends_nothing(crm: FaultServer) -> None:
    """Who comes too late does not bother the CRM."""
    with pytest.raises(CRMTimeoutError):
        session(crm, timedelta()).get("ok")
    assert crm.requests == []


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        ("truncate", CRMUnavailableError),
        ("reset", CRMUnavailableError),
        ("close", CRMUnavailableError),
        ("endless", CRMResponseError),
        ("endless-header", CRMUnavailableError),
        ("endless-headers", CRMUnavailableError),
        ("endless-status", CRMUnavailableError),
        ("gzip-bomb", CRMResponseError),
        ("bad-gzip", CRMResponseError),
        ("redirect", CRMResponseError),
        ("status/400", CRMRejectedError),
        ("status/401", CRMAuthError),
        ("status/403", CRMAuthError),
        ("status/404", CRMNotFoundError),
        ("status/409", CRMRejectedError),
        ("status/429", RateLimitedError),
        ("status/500", CRMUnavailableError),
        ("status/503", CRMUnavailableError),
    ],
)
def test_every_fault_has_its_error(crm: FaultServer, fault: str, expected: type[CRMError]) -> None:
    """Each way to fail is the error that tells what to do, sent once, and its message keeps the request secret."""
    with pytest.raises(CRMError) as caught:
        session(crm).post(fault, params={"q": SECRET}, json={"a": SECRET}, headers={"X-Key": SECRET})
    assert type(caught.value) is expected
    assert SECRET not in str(caught.value)
    assert crm.url.partition("//")[2] not in str(caught.value)
    assert [request.target.partition("?")[0] for request in crm.requests] == [f"/{fault}"]


@pytest.mark.parametrize("fault", ["endless", "endless-header", "endless-headers", "gzip-bomb"])
def test_a_flood_costs_little_memory(crm: FaultServer, fault: str) -> None:
    """However much a server sends, and however much it unpacks to, a few megabytes of it are held."""
    with pytest.raises(CRMError):
        session(crm).get("gzip-bomb")  # the server makes it once, in our memory
    tracemalloc.start()
    try:
        with pytest.raises(CRMError):
            session(crm).get(fault)
        assert tracemalloc.get_traced_memory()[1] < 4 * MAX_BYTES
    finally:
        tracemalloc.stop()


def test_a_server_that_is_gone_is_unavailable() -> None:
    """A refused connection says so at once."""
    with FaultServer() as crm:
        pass
    with pytest.raises(CRMUnavailableError):
        session(crm).get("ok")


def test_the_vendor_explains_itself(crm: FaultServer) -> None:
    """What the CRM says about a refusal is kept for people, apart from the message."""
    with pytest.raises(CRMRejectedError) as caught:
        session(crm).get("status/422")
    assert caught.value.vendor_text == '{"error": "says the vendor"}'
    assert "vendor" not in str(caught.value)


def test_retry_after_reaches_the_error(crm: FaultServer) -> None:
    """What the CRM asks us to wait is on the error."""
    with pytest.raises(RateLimitedError) as caught:
        session(crm).get("status/429?retry-after=7")
    assert caught.value.retry_after == timedelta(seconds=7)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("120", timedelta(seconds=120)),
        ("0", timedelta()),
        ("Sun, 01 Mar 2026 12:00:30 GMT", timedelta(seconds=30)),
        ("Sun, 01 Mar 2026 11:00:00 GMT", timedelta()),
        ("9" * 400, timedelta(days=1)),
        ("-1", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_read_both_ways(value: str | None, expected: timedelta | None) -> None:
    """Seconds and dates are understood; nonsense is nothing."""
    assert parse_retry_after(value, datetime(2026, 3, 1, 12, tzinfo=UTC)) == expected


def test_json_that_is_none_is_the_crms_fault(crm: FaultServer) -> None:
    """A page for people in place of JSON is an unreadable answer."""
    with pytest.raises(CRMResponseError):
        session(crm).get("not-json").json()
    assert session(crm).get("ok").json() == {"ok": True}


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b'{"id": 18446744073709551616, "small": -9223372036854775809}'),
        ("application/json; charset=UTF-8", '["å", "\\u00e5", 1e-7, 12345678901234567.5]'.encode()),
        ("application/json", b'{"share": NaN, "most": 1e400}'),
        ("application/json", b'"\\ud800"'),
        ("application/json", b"[" * 900 + b"]" * 900),
        ("text/html", '["å"]'.encode("latin-1")),
        ("", '["å"]'.encode("utf-16")),
        ("", b"[]"),
    ],
)
def test_json_is_read_as_requests_reads_it(kind: str, body: bytes) -> None:
    """The quick reader rounds nothing, and leaves to the other what it does not know."""
    quick = Answer(requests.PreparedRequest(), [b"HTTP/1.1 200 OK\r\n", b"Content-Type: " + kind.encode()], body)
    assert repr(quick.json()) == repr(requests.Response.json(quick))


def test_an_interim_answer_is_none() -> None:
    """What a server hints before it answers (RFC 8297) is not the answer."""
    head = b"HTTP/1.1 103 Early Hints\r\n", b"Link: </style>\r\n", b"\r\n", b"HTTP/1.1 200 OK\r\n", b"X-Total: 1\r\n"
    answer = Answer(requests.PreparedRequest(), head, b"")
    assert (answer.status_code, answer.reason, dict(answer.headers)) == (200, "OK", {"x-total": "1"})


def test_a_request_without_headers_has_none_of_another(crm: FaultServer) -> None:
    """A connection that is used again hands no header, and so no credentials, on to the next request."""
    request, sender = requests.Request("GET", f"{crm.url}/ok", headers={"X-Key": SECRET}).prepare(), Transport()
    sender.send(request, crm.url, "crm", 30.0, MAX_BYTES)
    request.headers.clear()
    sender.send(request, crm.url, "crm", 30.0, MAX_BYTES)
    assert [seen.headers.get("x-key") for seen in crm.requests] == [SECRET, None]


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.2:1/x",
        "https://crm.example@evil.example/x",
        "https://evil.example/x",
        "http://crm.example/x",
        "https://crm.example:8443/x",
        "https://crm.example\\@evil.example/",
    ],
)
def test_another_host_is_refused(url: str) -> None:
    """Credentials go to the CRM's host over its scheme and port, and nowhere else."""
    with pytest.raises(CRMRejectedError):
        CRMSession("https://crm.example", Deadline.after(SHORT)).get(url)


@pytest.mark.parametrize("base_url", ["http://crm.example", None, ""])
def test_without_tls_only_the_loopback_is_reached(base_url: str | None) -> None:
    """Plain HTTP to another machine is refused before a byte is sent."""
    with pytest.raises(CRMRejectedError):
        CRMSession(base_url, Deadline.after(SHORT)).get("x")


def test_a_url_inside_a_query_stays_there(crm: FaultServer) -> None:
    """A path is below the CRM's address even when its query holds a URL."""
    session(crm).get("/ok?back=https://evil.example/")
    session(crm).get("//ok")
    session(crm).get(f"{crm.url}/ok")
    assert [request.target for request in crm.requests] == ["/ok?back=https://evil.example/", "/ok", "/ok"]


def test_no_cookies_and_no_proxies(crm: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One customer's cookies never travel with another's request, and the environment redirects nothing."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    session(crm).get("cookie")
    session(crm).get("ok")
    assert "cookie" not in crm.requests[1].headers


def test_connections_are_kept(crm: FaultServer) -> None:
    """Sessions are cheap: the next call to a host uses the connection of the last."""
    for _ in range(5):
        session(crm).get("ok")
    assert crm.connections == 1


def test_a_connection_that_died_idle_is_replaced_for_reads(crm: FaultServer) -> None:
    """A GET that meets a connection which the CRM had given up is sent again on a new one."""
    session(crm).get("close-when-idle")
    assert session(crm).get("ok").json() == {"ok": True}


@pytest.mark.parametrize("body", [None, {"note": "x" * 100_000}, {"note": "x"}])
@pytest.mark.parametrize("fault", ["close", "reset"])
def test_a_write_is_never_sent_twice(crm: FaultServer, fault: str, body: object) -> None:
    """A POST whose connection dies may have been carried out: only the worker repeats it."""
    session(crm).get("ok")  # a connection that is used again is where clients like to try twice
    with pytest.raises(CRMUnavailableError):
        session(crm).post(fault, json=body)
    assert [request.method for request in crm.requests] == ["GET", "POST"]


def test_a_write_on_a_dead_connection_is_not_repeated(crm: FaultServer) -> None:
    """A POST that meets a connection which the CRM is giving up is told as failed, for it may have arrived."""
    session(crm).get("close-when-idle")
    with pytest.raises(CRMUnavailableError):
        session(crm).post("ok", json={"note": "x"})
    assert len(crm.requests) == 1


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "HEAD"])
def test_requests_arrive_as_they_were_prepared(crm: FaultServer, method: str) -> None:
    """Method, query, headers and body are the adapter's; nothing is added but what identifies us."""
    body = {} if method in ("HEAD", "DELETE") else {"json": {"name": "Åsa"}}
    session(crm).request(method, "ok", params={"q": "å b"}, headers={"X-Key": "1", "X-Empty": ""}, **body)
    (request,) = crm.requests
    assert (request.method, request.target) == (method, "/ok?q=%C3%A5+b")
    assert request.body == (b'{"name": "\\u00c5sa"}' if body else b"")
    known = {"host", "accept", "accept-encoding", "user-agent", "x-key", "x-empty", "content-length", "content-type"}
    assert set(request.headers) <= known
    assert request.headers["x-empty"] == ""
    assert request.headers["user-agent"] == "m8crm"
    assert request.headers.get("content-type") == ("application/json" if body else None)


class _Silent(BaseHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture
def secure_crm() -> Iterator[tuple[str, trustme.CA]]:
    """Serve 501 over TLS under a certificate of an authority that nobody trusts yet."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Silent) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"https://127.0.0.1:{server.server_port}", authority
        server.shutdown()


def test_only_a_trusted_certificate_is_talked_to(
    secure_crm: tuple[str, trustme.CA], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A CRM must prove who it is: an unknown authority or another name gets no request."""
    url, authority = secure_crm
    with pytest.raises(CRMUnavailableError, match="peer_failed_verification"):
        CRMSession(url, Deadline.after(PATIENCE)).get("x")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setattr("certifi.where", lambda: str(tmp_path / "ca.pem"))
    with pytest.raises(CRMUnavailableError, match="answered 501"):  # it knows no method, but it was asked
        CRMSession(url, Deadline.after(PATIENCE)).get("x")
    with pytest.raises(CRMUnavailableError, match="peer_failed_verification"):
        CRMSession(url.replace("127.0.0.1", "localhost"), Deadline.after(PATIENCE)).get("x")


class _Closing(_Silent):
    """Answers and closes without having said so, as load balancers do."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        self.close_connection = True

    def do_POST(self) -> None:
        self.do_GET()


class _ClosingServer(ThreadingHTTPServer):
    closed = threading.Semaphore(0)

    def shutdown_request(self, request: Any) -> None:
        super().shutdown_request(request)
        self.closed.release()


def test_a_write_needs_no_luck_with_connections_that_were_closed() -> None:
    """A POST right behind a GET whose connection the CRM has closed goes out on a new one."""
    with _ClosingServer(("127.0.0.1", 0), _Closing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        for _ in range(3):
            asked = CRMSession(f"http://127.0.0.1:{server.server_port}", Deadline.after(PATIENCE))
            assert asked.get("contacts").ok
            assert server.closed.acquire(timeout=10)
            assert asked.post("calls", json={"key": "1"}).ok
            assert server.closed.acquire(timeout=10)
        server.shutdown()


@pytest.mark.parametrize("token", ["abc\n", "abc\r\nX-Evil: 1", "a\0b"])
def test_a_line_break_never_reaches_the_wire(crm: FaultServer, token: str) -> None:
    """Credentials that hold a line break send nothing: what followed would be the next customer's request."""
    with pytest.raises(CRMAuthError) as error:
        CRMSession(crm.url, Deadline.after(PATIENCE), auth=bearer(Secret(token))).post("ok", json={"a": 1})
    assert "abc" not in str(error.value)
    with pytest.raises((CRMAuthError, ValueError)):
        session(crm).get("ok", headers={f"X-{token}": "1"})
    assert crm.requests == []


@responses.activate
def test_a_mock_of_requests_takes_the_crms_place() -> None:
    """An adapter's author tests with ``responses``, as with any code that uses ``requests``."""
    responses.get("https://crm.example/contacts", json=[{"id": "1"}])
    responses.get("https://crm.example/page", body="<html>")
    mocked = CRMSession("https://crm.example", Deadline.after(PATIENCE))
    assert mocked.get("contacts").json() == [{"id": "1"}]
    with pytest.raises(CRMResponseError):
        mocked.get("page").json()
    with pytest.raises(CRMUnavailableError):
        mocked.get("elsewhere")


class Lying(Zoo):
    """An adapter for a CRM that answers 200 to everything."""

    url: ClassVar[str]

    @property
    def base_url(self) -> str:
        return self.url

    def auth(self) -> requests.auth.AuthBase:
        return requests.auth.HTTPBasicAuth("m8crm", SECRET)

    def classify(self, response: requests.Response) -> CRMError | None:
        return CRMAuthError("says 200") if b"Sign in" in response.content else None


def test_the_context_carries_what_an_adapter_says(crm: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The session signs with the adapter's ``auth`` and asks its ``classify`` before it believes a status."""
    monkeypatch.setattr(Lying, "url", crm.url, raising=False)
    user = User(id="7")
    ctx = build_context(Lying(), region="SE", deadline=Deadline.after(PATIENCE), user=user)
    ctx.http.get("ok")
    assert crm.requests[0].headers["authorization"].startswith("Basic ")
    assert (ctx.region, ctx.user) == ("SE", user)
    with pytest.raises(CRMAuthError):
        ctx.http.get("not-json")


class Large(RawIOBase):
    """A file that is made as it is read; ``largest`` is the largest piece that was asked for."""

    def __init__(self, size: int, fail_at: int = -1) -> None:
        self.len = self.left = size
        self.fail_at = fail_at
        self.largest = 0

    def tell(self) -> int:
        return self.len - self.left

    def readinto(self, buffer: Any) -> int:
        self.largest = max(self.largest, len(buffer))
        if self.left <= self.fail_at:
            raise StorageError("the disk is gone")
        count = min(len(buffer), self.left)
        buffer[:count] = b"x" * count
        self.left -= count
        return count


def test_a_file_is_sent_as_it_is_read(crm: FaultServer) -> None:
    """A large file goes to the CRM in pieces, with its length, and comes as a whole."""
    file = Large(4_000_000)
    session(crm).post("/files", data=file, headers={"Content-Type": "audio/wav"})
    (received,) = crm.requests
    assert received.body == b"x" * 4_000_000
    assert received.headers["content-length"] == "4000000"
    assert file.largest <= 1_000_000
    session(crm).get("/people")  # the connection is as good as before
    assert crm.requests[-1].body == b""


def test_a_file_that_cannot_be_read_says_so(crm: FaultServer) -> None:
    """What reading raises reaches the adapter's caller, and nobody takes it for the CRM's fault."""
    with pytest.raises(StorageError, match="disk"):
        session(crm).post("/files", data=Large(1_000_000, fail_at=500_000))
