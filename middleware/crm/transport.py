"""The connections to one CRM, under the interface of ``requests``.

What ``requests`` works out anew for every request is settled here once: the pool, its certificates, proxies (none)
and cookies (none).
"""

from __future__ import annotations

import ssl
from functools import cache
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import DEFAULT_CA_BUNDLE_PATH, get_encoding_from_headers
from urllib3 import HTTPConnectionPool
from urllib3.util.ssl_ import create_urllib3_context

from middleware.crm.watchdog import WatchedHTTPPool, WatchedHTTPSPool
from middleware.errors import CRMResponseError

IDLE = 64  # connections that are kept per CRM and process


class Answer(requests.Response):
    """What ``requests`` has, but JSON that cannot be read is an error of the CRM's."""

    def json(self, **kwargs: Any) -> Any:
        """Return the answer's JSON; one that cannot be read is a :class:`CRMResponseError`."""
        try:
            return super().json(**kwargs)
        except (ValueError, RecursionError):
            raise CRMResponseError("the CRM's answer is no JSON") from None


class Transport(HTTPAdapter):
    """Sends to one CRM, on connections that a watchdog can shut down."""

    def __init__(self, base_url: str) -> None:
        super().__init__(max_retries=0)
        self._pool = _pool(base_url)

    def get_connection_with_tls_context(self, *_args: Any, **_kwargs: Any) -> HTTPConnectionPool:
        """Return the one pool."""
        return self._pool

    def cert_verify(self, *_args: Any, **_kwargs: Any) -> None:
        """Do nothing: the pool verifies."""

    def request_url(self, request: requests.PreparedRequest, proxies: Any) -> str:
        """Return the path: there are no proxies."""
        return request.path_url

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> Answer:
        """Return the answer without the cookies."""
        answer = Answer()
        answer.status_code = resp.status
        answer.headers = CaseInsensitiveDict(resp.headers)
        answer.encoding = get_encoding_from_headers(answer.headers)
        answer.raw = resp
        answer.reason = resp.reason
        answer.url = req.url or ""
        answer.request = req
        return answer


_transports: dict[str, Transport] = {}
_lock = Lock()


def transport_to(base_url: str) -> Transport:
    """Return the process's transport to a CRM."""
    with _lock:
        if base_url not in _transports:
            _transports[base_url] = Transport(base_url)
        return _transports[base_url]


def _pool(base_url: str) -> HTTPConnectionPool:
    parts = urlsplit(base_url)
    if parts.scheme == "https":
        return WatchedHTTPSPool(parts.hostname or "", parts.port, maxsize=IDLE, ssl_context=_tls())
    return WatchedHTTPPool(parts.hostname or "", parts.port, maxsize=IDLE)


@cache
def _tls() -> ssl.SSLContext:
    """Return what every connection trusts; to read all certificates takes longer than a handshake."""
    context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
    context.load_verify_locations(DEFAULT_CA_BUNDLE_PATH)
    return context
