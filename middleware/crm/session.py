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
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.auth import AuthBase

from middleware.crm.transport import transport_to
from middleware.crm.watchdog import Watch, Watchdog
from middleware.errors import (
    CRMAuthError,
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    CRMTimeoutError,
    CRMUnavailableError,
    RateLimitedError,
)
from middleware.model.deadline import Deadline

MAX_BYTES = 2 * 1024 * 1024
MAX_VENDOR_TEXT = 500  # characters
LOOPBACK = ("127.0.0.1", "localhost", "::1")
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*://", re.I)
Classify = Callable[[requests.Response], CRMError | None]
Guard = Callable[[], AbstractContextManager[None]]  # around every request: what protects the account


_watchdog = Watchdog()


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
    ) -> None:
        self._base_url = (base_url or "").rstrip("/")
        self._deadline = deadline
        self._auth = auth
        self._classify = classify
        self._guard = guard
        self._max_bytes = max_bytes

    def get(self, path: str, **kwargs: Any) -> requests.Response:
        """Send GET; see :meth:`request`."""
        return self.request("GET", path, **kwargs)

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
        Returns a 2xx answer, whole; raises the ``CRMError`` that tells what to do about any other.
        """
        url, host = self._url(path)
        request = _prepare(method, url, **{"auth": self._auth, **kwargs})
        if self._deadline.is_over:  # nothing is sent, and nothing is known of the CRM
            raise CRMTimeoutError(f"no time was left to ask {host}")
        with self._guard():
            response = self._send_in_time(request, host)
            error = self._classify(response) if self._classify else None
            error = error or _error_of(response, host)
            if error is not None:
                raise error
        return response

    def _url(self, path: str) -> tuple[str, str]:
        """Return the URL and its host."""
        origin, host = _origin(self._base_url)
        if not _ABSOLUTE.match(path):
            return f"{self._base_url}/{path.lstrip('/')}", host
        if _origin(path)[0] != origin:
            raise CRMRejectedError("the URL is not on this CRM's host")
        return path, host

    def _send_in_time(self, request: requests.PreparedRequest, host: str) -> requests.Response:
        for is_last in (False, True):
            with _watchdog.watch(self._deadline) as watch:
                try:
                    return self._send(request, host, watch)
                except requests.exceptions.ContentDecodingError:
                    raise CRMResponseError(f"{host} answered with a broken encoding") from None
                except requests.RequestException as error:
                    if watch.has_barked or self._deadline.is_over or isinstance(error, requests.Timeout):
                        raise CRMTimeoutError(f"{host} did not answer in time") from None
                    if is_last or not _is_stale(error, watch, request):
                        raise CRMUnavailableError(f"{host} could not be reached ({type(error).__name__})") from None
        raise AssertionError("the second round always ends")

    def _send(self, request: requests.PreparedRequest, host: str, watch: Watch) -> requests.Response:
        remaining = self._deadline.remaining
        if remaining <= 0:
            raise requests.Timeout
        response = transport_to(self._base_url).send(request, stream=True, timeout=remaining)
        try:
            response._content = self._read(response, host)  # what requests does itself when it is not streaming
        except BaseException:
            response.close()
            raise
        if watch.has_barked:  # a socket that is shut down looks like the end of the header or body
            raise requests.Timeout
        return response

    def _read(self, response: requests.Response, host: str) -> bytes:
        body = bytearray()
        for chunk in response.iter_content(16_384):
            body += chunk
            if len(body) > self._max_bytes:
                raise CRMResponseError(f"{host} answered more than {self._max_bytes} bytes")
            if self._deadline.is_over:
                raise requests.Timeout
        return bytes(body)


@lru_cache
def _origin(url: str) -> tuple[tuple[str, str], str]:
    """Return scheme and place, and the host's name."""
    parts = urlsplit(url)
    if not parts.hostname:
        raise CRMRejectedError("the URL is not on this CRM's host")
    if parts.scheme != "https" and parts.hostname not in LOOPBACK:
        raise CRMRejectedError("only https reaches a CRM")
    return (parts.scheme, parts.netloc), parts.hostname


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
    """Do what ``requests.Request.prepare`` does, without cookies and hooks."""
    request = requests.PreparedRequest()
    request.hooks = {}
    request.method = method
    request.prepare_url(url, params or {})
    request.prepare_headers({"Accept": "application/json", "User-Agent": "m8crm", **(headers or {})})
    request.prepare_body(data, files, json)
    request.prepare_auth(auth, url)
    return request


def _is_stale(error: requests.RequestException, watch: Watch, request: requests.PreparedRequest) -> bool:
    """Whether an idle connection had died: the one case in which a GET is sent again."""
    causes = error.args[0].args if error.args and isinstance(error.args[0], Exception) else ()
    has_died = any(isinstance(cause, ConnectionError) for cause in causes)  # before a byte of an answer
    return request.method == "GET" and watch.was_reused and has_died


def _error_of(response: requests.Response, host: str) -> CRMError | None:
    status = response.status_code
    text = _text_of(response) if status >= 400 else None
    message = f"{host} answered {status}"
    if 200 <= status < 300:
        return None
    if status in (401, 403):
        return CRMAuthError(message, vendor_text=text)
    if status == 429:
        wait = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
        return RateLimitedError(message, retry_after=wait, vendor_text=text)
    if status >= 500:
        return CRMUnavailableError(message, vendor_text=text)
    if status >= 400:
        return CRMRejectedError(message, vendor_text=text)
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
