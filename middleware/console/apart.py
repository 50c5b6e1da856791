"""The console's pages in a process of their own: a search would share the interpreter with the lookups.

The processes that the world reaches have the pages answered by the one that ``m8crm serve`` runs beside them, with
less right to the processor than they have.  Lookups that people try stay with those whose cache M8Com is answered from.
"""

from __future__ import annotations

import hashlib
import hmac

import structlog
import urllib3
from flask import Flask, Request, Response, abort, current_app, g, request
from urllib3.exceptions import HTTPError
from werkzeug.http import is_hop_by_hop_header
from werkzeug.middleware.proxy_fix import ProxyFix

log = structlog.get_logger("m8crm.console")
STAYS = frozenset({"console.lookup.page", "console.lookup.look_up"})
SECONDS = 60.0  # longer than anything that a page waits for
_PROOF = "X-M8crm-Process"
_OURS = frozenset({"host", "connection", "x-forwarded-for", "x-request-id", _PROOF.lower()})
_SERVERS = frozenset({"server", "date"})  # each server writes its own


class Apart:
    """The process at ``url`` that answers in the place of this one; ``key`` is the installation's."""

    def __init__(self, url: str, key: bytes) -> None:
        self._pool = urllib3.connection_from_url(url, timeout=SECONDS, maxsize=8)
        self._proof = _proof(key)

    def answer(self, asked: Request) -> Response:
        """Return what it answers, as it is; 503 where it does not."""
        headers = {name: value for name, value in asked.headers if _is_passed(name, _OURS)}
        peers = (asked.headers.get("X-Forwarded-For"), asked.remote_addr)
        headers |= {"X-Forwarded-For": ", ".join(filter(None, peers)), "X-Request-Id": g.request_id}
        headers |= {_PROOF: self._proof, "Connection": "close"}  # one kept open may be closed while a form is sent
        try:
            answer = self._pool.urlopen(
                asked.method,
                asked.environ["RAW_URI"],
                body=asked.get_data(),
                headers=headers,
                redirect=False,
                retries=False,
                decode_content=False,
            )
        except (HTTPError, ValueError) as error:
            log.error("console_does_not_answer", error=type(error).__name__)
            abort(503, "The console does not answer. It is started again by itself: load the page again.")
        kept = [(name, value) for name, value in answer.headers.items() if _is_passed(name, _SERVERS)]
        return Response([answer.data], answer.status, kept)  # as a list, or HEAD would be told the length of nothing


def answer_elsewhere() -> Response | None:
    """Answer a request of the console by the process that has its pages, where there is one."""
    apart: Apart | None = current_app.extensions["m8crm.console.apart"]
    return apart.answer(request) if apart and request.endpoint not in STAYS else None


def answer_for_others(app: Flask, key: bytes) -> None:
    """Have ``app`` answer other processes of this installation alone: it believes them who asks."""
    proof = _proof(key)

    @app.before_request
    def assert_ours() -> None:
        if not hmac.compare_digest(proof.encode(), request.headers.get(_PROOF, "").encode(errors="replace")):
            abort(403)

    app.wsgi_app = ProxyFix(app.wsgi_app, x_proto=0)  # type: ignore[method-assign]


def _is_passed(name: str, ours: frozenset[str]) -> bool:
    return name.lower() not in ours and not is_hop_by_hop_header(name)


def _proof(key: bytes) -> str:
    return hmac.new(key, b"m8crm.console.process", hashlib.sha256).hexdigest()
