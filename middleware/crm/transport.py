"""Sends what ``requests`` has prepared through libcurl, which knows a deadline for the whole of a request.

A time-out of ``requests`` begins anew with every byte, so a CRM that drips its header or body would hold a
thread as long as it likes; and a request costs a tenth (docs/adr/0004).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property, lru_cache
from io import BytesIO
from select import POLLIN, poll
from threading import Lock
from typing import Any

import certifi
import orjson
import pycurl
import requests
from cachetools import LRUCache
from requests.adapters import HTTPAdapter
from requests.cookies import RequestsCookieJar
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from middleware.errors import CRMAuthError, CRMResponseError, CRMTimeoutError, CRMUnavailableError

MAX_CRMS = 256  # to which idle connections are kept, the latest used
MAX_IDLE = 64  # connections to each
QUICK_EXIT = 322  # CURLOPT_QUICK_EXIT, which pycurl has no name for
_ERRORS = {value: name[2:].lower() for name, value in vars(pycurl).items() if name.startswith("E_")}
_CONTENT_TYPE = re.compile(rb"^content-type:([^\r\n]*)", re.I | re.M)
_BREAK = re.compile(r"[\r\n\0]")
_LONG, _AS_ZEROS = b"0" * 19, bytes.maketrans(b"123456789", b"0" * 9)  # a number that orjson may round
_REQUESTS_SEND = HTTPAdapter.send


class Answer(requests.Response):
    """What ``requests`` has, but JSON that cannot be read is an error of the CRM's, and there are no cookies."""

    cookies = RequestsCookieJar()

    def __init__(self, request: requests.PreparedRequest, head: Sequence[bytes], body: bytes) -> None:
        """Make the answer from the lines of its head; ``requests`` takes as long for an empty one."""
        text = b"\n".join(head)
        begin = text.rfind(b"\nHTTP/") + 1  # what was before belongs to an interim answer
        status, _, self._fields = text[begin:].partition(b"\n")
        _, code, *reason = status.decode("latin-1").strip().split(" ", 2)
        self.status_code, self.reason = int(code), " ".join(reason)
        content_types = _CONTENT_TYPE.findall(self._fields)
        self.encoding = _encoding_of(content_types[-1] if content_types else b"")
        self.url, self.request = request.url or "", request
        self.history, self.raw, self.elapsed = [], None, timedelta()
        self._content, self._content_consumed, self._next = body, True, None

    @cached_property
    def headers(self) -> CaseInsensitiveDict[str]:  # type: ignore[override]  # nearly nobody reads them
        """The fields of the head."""
        seen: dict[str, str] = {}  # CaseInsensitiveDict takes long to say that it has not
        for line in self._fields.decode("latin-1").split("\n"):
            name, colon, value = line.partition(":")
            if colon:
                name, value = name.strip().lower(), value.strip()
                seen[name] = f"{seen[name]}, {value}" if seen.get(name) else value
        return CaseInsensitiveDict(seen)

    def json(self, **kwargs: Any) -> Any:
        """Return the answer's JSON; one that cannot be read is a :class:`CRMResponseError`."""
        is_utf8 = (self.encoding or "utf-8").lower() == "utf-8"
        if is_utf8 and not kwargs and _LONG not in self.content.translate(_AS_ZEROS):
            with suppress(ValueError):  # ``requests``, which is slower, reads more than the standard allows
                return orjson.loads(self.content)
        try:
            return super().json(**kwargs)
        except (ValueError, RecursionError):
            raise CRMResponseError("the CRM's answer is no JSON") from None


@lru_cache(maxsize=256)  # a CRM says the same each time
def _encoding_of(content_type: bytes) -> str | None:
    return get_encoding_from_headers(CaseInsensitiveDict({"content-type": content_type.decode("latin-1").strip()}))


class Transport:
    """The connections of this process; each is used by one request at a time."""

    def __init__(self) -> None:
        self._idle: LRUCache[str, deque[_Handle]] = LRUCache(MAX_CRMS)
        self._lock = Lock()

    def send(self, request: requests.PreparedRequest, crm: str, host: str, seconds: float, max_bytes: int) -> Answer:
        """Return the whole answer, whatever its status, or raise the ``CRMError`` that tells why there is none.

        Connections are shared by those who name the same ``crm``.
        """
        if HTTPAdapter.send is not _REQUESTS_SEND:  # a test has put a mock of the CRM in its place
            return _mocked(request, host, seconds)
        with self._lock:
            idle = self._idle.get(crm) or self._idle.setdefault(crm, deque(maxlen=MAX_IDLE))
        handle = _take(idle)
        answer = handle.perform(request, host, seconds, max_bytes)
        idle.append(handle)  # only after an answer: what has failed is not used again
        return answer


def _take(idle: deque[_Handle]) -> _Handle:
    """Return a handle whose connection is alive, as far as can be known, or a new one.

    libcurl does not look at a connection that rested for less than a second.
    """
    with suppress(IndexError):
        while True:
            handle = idle.pop()
            if _is_alive(handle.sock):
                return handle
    return _Handle()


def _mocked(request: requests.PreparedRequest, host: str, seconds: float) -> Answer:
    answer = Answer(request, [b"HTTP/1.1 200"], b"")
    try:
        vars(answer).update(vars(HTTPAdapter().send(request, timeout=seconds)))
    except requests.Timeout:
        raise CRMTimeoutError(f"{host} did not answer in time") from None
    except requests.RequestException as error:
        raise CRMUnavailableError(f"{host} could not be reached ({type(error).__name__})") from None
    return answer


def _is_alive(sock: int) -> bool:
    if sock < 0:  # the CRM wanted it closed
        return False
    look = poll()
    look.register(sock, POLLIN)
    return not look.poll(0)  # what could be read now is its end


@dataclass(slots=True)
class _Incoming:
    """What libcurl has received; it knows nothing of the handle, or the two would hold each other for ever."""

    max_bytes: int = 0
    head: list[bytes] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)

    @property
    def is_too_large(self) -> bool:
        return len(self.body) > self.max_bytes

    def take_body(self, data: bytes) -> int:
        self.body += data
        return -1 if self.is_too_large else len(data)


@dataclass(slots=True, kw_only=True)
class _Stream:
    """A file that is sent as it is read; what reading raises is kept, since libcurl would print it."""

    file: Any
    size: int
    error: Exception | None = None

    def read(self, size: int) -> bytes | int:
        try:
            return bytes(self.file.read(size))
        except Exception as error:
            self.error = error
            return pycurl.READFUNC_ABORT


def _stream_of(request: requests.PreparedRequest) -> _Stream | None:
    size = str(request.headers.get("Content-Length", "")) if hasattr(request.body, "read") else ""
    return _Stream(file=request.body, size=int(size)) if size.isdecimal() else None


class _Handle:
    """A handle of libcurl and its connection, on ``sock``; most options are set once, for all requests."""

    def __init__(self) -> None:
        self.sock = -1
        self._curl = pycurl.Curl()
        self._incoming = _Incoming()
        self._set_up()

    def perform(self, request: requests.PreparedRequest, host: str, seconds: float, max_bytes: int) -> Answer:
        """Send the request, and return its answer or raise the ``CRMError`` that tells why there is none."""
        curl, incoming = self._curl, self._incoming
        is_usual = request.method == "GET" and not request.body
        curl.setopt(pycurl.URL, request.url or "")
        lines = [_line(name, value) for name, value in request.headers.items()]
        if not is_usual:  # libcurl adds them where there is a body
            lines += [b"Expect:"] if "Content-Type" in request.headers else [b"Expect:", b"Content-Type:"]
        curl.setopt(pycurl.HTTPHEADER, lines or [b"Expect:"])  # of an empty list pycurl takes no notice
        curl.setopt(pycurl.TIMEOUT_MS, max(1, int(seconds * 1000)))
        stream = _stream_of(request)
        if not is_usual:
            _set_method(curl, request, stream)
        incoming.max_bytes = max_bytes
        try:
            curl.perform()
        except pycurl.error as error:  # its message may hold an address
            code = error.args[0]
            if stream and stream.error:
                raise stream.error from None
            if incoming.is_too_large:
                raise CRMResponseError(f"{host} answered more than {max_bytes} bytes") from None
            if code == pycurl.E_OPERATION_TIMEDOUT:
                raise CRMTimeoutError(f"{host} did not answer in time") from None
            if code == pycurl.E_BAD_CONTENT_ENCODING:
                raise CRMResponseError(f"{host} answered with a broken encoding") from None
            raise CRMUnavailableError(f"{host} could not be reached ({_ERRORS.get(code, code)})") from None
        answer = Answer(request, incoming.head, bytes(incoming.body))
        incoming.head.clear()
        incoming.body.clear()
        self.sock = curl.getinfo(pycurl.ACTIVESOCKET)
        if not is_usual:
            curl.reset()  # leaves the connection
            self._set_up()
        return answer

    def _set_up(self) -> None:
        """Set what is for all requests: no redirects, no cookies, no proxies of the environment, TLS verified."""
        curl = self._curl
        curl.setopt(pycurl.NOSIGNAL, 1)  # signals and threads do not go together
        curl.setopt(QUICK_EXIT, 1)  # after the deadline, do not wait for a name server
        curl.setopt(pycurl.PROXY, "")
        curl.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        curl.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        curl.setopt(pycurl.CAINFO, certifi.where())
        curl.setopt(pycurl.ACCEPT_ENCODING, "")  # all it can decode
        curl.setopt(pycurl.PATH_AS_IS, 1)
        curl.setopt(pycurl.MAXCONNECTS, 1)
        curl.setopt(pycurl.HEADERFUNCTION, self._incoming.head.append)
        curl.setopt(pycurl.WRITEFUNCTION, self._incoming.take_body)


def _set_method(curl: pycurl.Curl, request: requests.PreparedRequest, stream: _Stream | None) -> None:
    """Set what only a request with a body, or one that changes something, needs."""
    body = request.body.encode() if isinstance(request.body, str) else request.body or b""
    if stream is not None:
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDSIZE_LARGE, stream.size)
        curl.setopt(pycurl.READFUNCTION, stream.read)
    elif not isinstance(body, bytes):
        raise TypeError("a request's body is text, bytes or a file, with its Content-Length")
    elif body:
        # read by a function that cannot begin anew: so libcurl never sends a body twice, as it otherwise does
        # when a connection that it uses again turns out to be dead
        curl.setopt(pycurl.POST, 1)
        curl.setopt(pycurl.POSTFIELDSIZE, len(body))
        curl.setopt(pycurl.READFUNCTION, BytesIO(body).read)
    elif request.method not in ("GET", "HEAD"):
        curl.setopt(pycurl.FRESH_CONNECT, 1)
    if request.method == "HEAD":
        curl.setopt(pycurl.NOBODY, 1)
    curl.setopt(pycurl.CUSTOMREQUEST, request.method or "GET")


def _line(name: str, value: str | bytes) -> bytes:
    text = value.decode("latin-1") if isinstance(value, bytes) else value
    if _BREAK.search(name + text):  # libcurl writes what it is given, and the next customer's request would follow
        raise CRMAuthError("a header, perhaps with the credentials, holds a line break: mend the customer's file")
    return f"{name}: {text}".encode("latin-1") if text else f"{name};".encode()  # libcurl's way to write an empty one
