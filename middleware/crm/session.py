"""``CRMSession``: the only way out for adapters, with the interface of ``requests``.

Bound to the CRM's host and to the deadline of the call: neither a hanging server nor one that drips its
header or body outlasts it.  No redirects, no proxies from the environment, no cookies, TLS always verified,
answers capped.  Every failure is a :class:`middleware.errors.CRMError` whose message holds no URL.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Protocol
from urllib.parse import quote_plus, urlsplit

import requests
from requests.auth import AuthBase
from requests.structures import CaseInsensitiveDict

from middleware.crm.oauth import TokenAuth
from middleware.crm.transport import Answer, Transport
from middleware.crm.watch import Step, Watch, name_of
from middleware.errors import (
    CRMAuthError,
    CRMError,
    CRMNotFoundError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    RateLimitedError,
)
from middleware.model.deadline import Deadline

MAX_BYTES = 2 * 1024 * 1024
MAX_VENDOR_TEXT = 500  # characters
TOKEN_AT_HAND = 0.001  # seconds: one that took longer to get was waited for
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
_UNQUOTED = re.compile(r"[A-Za-z0-9._~-]*")
_PLAIN = re.compile(r"https?://[a-z0-9][a-z0-9.-]*(:\d+)?(/([A-Za-z0-9_~-][A-Za-z0-9._~-]*)?)+")  # nothing to escape
Classify = Callable[[requests.Response], CRMError | None]
Guard = Callable[[], AbstractContextManager[None]]  # around every request: what protects the account


class _Headers(CaseInsensitiveDict[str]):
    """What ``requests`` has, which takes four times as long to copy and to read; ``items`` can be read and no more."""

    def copy(self) -> _Headers:
        mine = _Headers.__new__(_Headers)
        mine._store = self._store.copy()  # type: ignore[attr-defined]  # the types do not tell
        return mine

    def items(self) -> Any:
        return self._store.values()  # type: ignore[attr-defined]  # each with its name as it was written


_HEADERS = _Headers({"Accept": "application/json", "User-Agent": "m8crm"})


class Sender(Protocol):
    """Who sends a prepared request and returns the whole answer; the conformance kit brings one of its own."""

    def send(self, request: requests.PreparedRequest, crm: str, host: str, seconds: float, max_bytes: int) -> Answer:
        """See :meth:`middleware.crm.transport.Transport.send`."""


_transport: Sender = Transport()


class CRMSession:
    """A session for one call of an adapter; cheap to make, since connections are shared per host."""

    def __init__(
        self,
        base_url: str | None,
        deadline: Deadline,
        auth: AuthBase | None = None,
        classify: Classify | None = None,
        guard: Guard = nullcontext,
        max_bytes: int = MAX_BYTES,
        sender: Sender | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._base_url = (base_url or "").rstrip("/")
        self._deadline = deadline
        self._auth = auth
        self._classify = classify
        self._guard = guard
        self._max_bytes = max_bytes
        self._sender = sender
        self._watch = watch

    def watched(self, watch: Watch) -> CRMSession:
        """Return the same session, whose requests are steps of ``watch``."""
        mine = (self._deadline, self._auth, self._classify, self._guard, self._max_bytes, self._sender)
        return CRMSession(self._base_url, *mine, watch)

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        """Send GET; see :meth:`request`."""
        return self.request("GET", path, **kwargs)

    def find(self, path: str, **kwargs: Any) -> requests.Response | None:
        """Send GET for one record; ``None`` when the CRM does not have it (404, 410)."""
        try:
            return self.request("GET", path, **kwargs)
        except CRMNotFoundError:
            return None

    def post(self, path: str, **kwargs: Any) -> requests.Response:
        """Send POST; see :meth:`request`."""
        return self.request("POST", path, **kwargs)

    def put(self, path: str, **kwargs: Any) -> requests.Response:
        """Send PUT; see :meth:`request`."""
        return self.request("PUT", path, **kwargs)

    def patch(self, path: str, **kwargs: Any) -> requests.Response:
        """Send PATCH; see :meth:`request`."""
        return self.request("PATCH", path, **kwargs)

    def delete(self, path: str, **kwargs: Any) -> requests.Response:
        """Send DELETE; see :meth:`request`."""
        return self.request("DELETE", path, **kwargs)

    def request(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """Send once to ``path`` below the CRM's address, or to an absolute URL on its host.

        ``kwargs`` are those of ``requests.Request`` (``params``, ``json``, ``data``, ``headers``, ``auth``).
        Returns a 2xx answer, whole; raises the ``CRMError`` that tells what to do about any other.  Only a 401 to
        an OAuth2 token is followed by a second request, with a new token.
        """
        url, host = self._url(path)
        asked = {"auth": self._auth, **kwargs}
        request = self._signed(method, url, asked)
        try:
            return self._send(request, host, path)
        except CRMAuthError as error:  # a token may end before its time; what was answered 401 was not done
            auth = asked["auth"]
            if not (error.is_unauthorized and isinstance(auth, TokenAuth) and self._renews(auth, request)):
                raise
        if hasattr(request.body, "read"):
            raise CRMUnavailableError(f"{host} wanted a new token, and a file is read once")
        return self._send(self._signed(method, url, asked), host, path)

    def _signed(self, method: str, url: str, asked: dict[str, Any]) -> requests.PreparedRequest:
        if self._watch is None or not isinstance(asked["auth"], TokenAuth):
            return _prepare(method, url, **asked)
        with self._watch("OAuth2 token", least=TOKEN_AT_HAND):
            return _prepare(method, url, **asked)

    def _renews(self, auth: TokenAuth, request: requests.PreparedRequest) -> bool:
        if self._watch is None:
            return auth.renew(request)
        with self._watch("OAuth2 token refused") as step:
            is_renewed = auth.renew(request)
            step.note = "a new one" if is_renewed else "there is no other"
            return is_renewed

    def _send(self, request: requests.PreparedRequest, host: str, path: str) -> requests.Response:
        if self._watch is None:
            return self._exchange(request, host)
        with self._watch(name_of(request.method or "", path, self._base_url)) as step:
            try:
                return self._exchange(request, host, step)
            except RateLimitedError as error:
                if error.retry_after:
                    again = f"again in {error.retry_after.total_seconds():.3g} s"
                    step.note = f"{step.note}, {again}" if step.note else again
                raise

    def _exchange(self, request: requests.PreparedRequest, host: str, step: Step | None = None) -> requests.Response:
        if self._deadline.is_over:  # nothing is sent, and nothing is known of the CRM
            raise CRMTimeoutError(f"no time was left to ask {host}")
        asked_at = self._deadline.clock()
        with self._guard():
            if step:
                step.waited(self._deadline.clock() - asked_at)
            send = (self._sender or _transport).send
            response = send(request, self._base_url, host, self._deadline.remaining, self._max_bytes)
            if step:
                step.note = str(response.status_code)
            error = self._classify(response) if self._classify else None
            error = error or _error_of(response, host)
            if error is not None:
                raise error
        return response

    def _url(self, path: str) -> tuple[str, str]:
        """Return the URL and its host."""
        place, host = _place(self._base_url)
        if not _ABSOLUTE.match(path):
            return f"{self._base_url}/{path.lstrip('/')}", host
        if _place(path)[0] != place:
            raise CRMRejectedError("the URL is not on this CRM's host")
        return path, host


@lru_cache
def _place(url: str) -> tuple[tuple[str, str], str]:
    """Return scheme and place, and the host's name."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise CRMRejectedError("the URL is not on this CRM's host")
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise CRMRejectedError("only https reaches a CRM")
    return (parts.scheme, parts.netloc), parts.hostname


def _quoted(text: str | int) -> str:
    """Do what ``quote_plus`` does, of numbers and words in a fifth of the time."""
    text = str(text)
    return text.replace("+", "%2B") if _UNQUOTED.fullmatch(text.replace("+", "")) else quote_plus(text)


def _is_plain(params: Any) -> bool:
    return params is None or (
        isinstance(params, dict) and all(isinstance(part, str | int) for item in params.items() for part in item)
    )


def _prepare(
    method: str,
    url: str,
    *,
    auth: Any,
    params: Any = None,
    headers: Any = None,
    data: Any = None,
    json: Any = None,
    files: Any = None,
) -> requests.PreparedRequest:
    """Do what ``requests.Request.prepare`` does, without cookies and hooks, and plain addresses quickly."""
    request = requests.PreparedRequest()
    request.method = method
    is_plain = _PLAIN.fullmatch(url) and _is_plain(params)
    if is_plain:
        query = "&".join([f"{_quoted(name)}={_quoted(value)}" for name, value in params.items()]) if params else ""
        request.url = f"{url}?{query}" if query else url
    else:
        request.prepare_url(url, params or {})
    if headers:
        request.prepare_headers({**_HEADERS, **headers})
    else:
        request.headers = _HEADERS.copy()
    if method != "GET" or data or files or json is not None:
        request.prepare_body(data, files, json)
    if auth or not is_plain:
        request.prepare_auth(auth, url)
    return request


def _error_of(response: requests.Response, host: str) -> CRMError | None:
    status = response.status_code
    text = _text_of(response) if status >= 400 else None
    message = f"{host} answered {status}"
    if 200 <= status < 300:
        return None
    if status in (401, 403):
        return CRMAuthError(message, vendor_text=text, is_unauthorized=status == 401)
    if status == 429:
        wait = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        return RateLimitedError(message, retry_after=wait, vendor_text=text)
    if status >= 500:
        return CRMUnavailableError(message, vendor_text=text)
    if status >= 400:
        return (CRMNotFoundError if status in (404, 410) else CRMRejectedError)(message, vendor_text=text)
    return CRMResponseError(message)


def _text_of(response: requests.Response) -> str | None:
    """Return the beginning of what the CRM says; ``response.text`` would guess the encoding of it all."""
    start = response.content[: 4 * MAX_VENDOR_TEXT]
    return start.decode("utf-8", "replace").strip()[:MAX_VENDOR_TEXT] or None


def parse_retry_after(value: str | None, now: datetime) -> timedelta | None:
    """Read ``Retry-After`` in seconds or as a date (RFC 9110, 10.2.3); nonsense is ``None``."""
    text = (value or "").strip()
    if text.isascii() and text.isdigit():
        return timedelta(seconds=min(int(text[:10]), 86_400))
    try:
        return max(parsedate_to_datetime(text) - now, timedelta())
    except (TypeError, ValueError):
        return None
