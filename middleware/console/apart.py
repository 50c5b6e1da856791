"""The console's pages in a process of their own: a search would share the interpreter with the lookups.

The processes that the world reaches have the pages answered by the one that ``m8crm serve`` runs beside them, with
less right to the processor than they have.  Lookups that people try stay with those whose cache M8Com is answered from.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from string import punctuation
from threading import BoundedSemaphore
from urllib.parse import quote, urlsplit

import structlog
import urllib3
from flask import Flask, Request, Response, abort, current_app, g, request
from urllib3.exceptions import HTTPError
from werkzeug.http import is_hop_by_hop_header

log = structlog.get_logger("m8crm.console")
STAYS = frozenset({"console.lookup.page", "console.lookup.look_up"})
MOST = 32  # requests that wait for the pages; more would take the threads of lookups when it hangs
TIMEOUT = urllib3.Timeout(connect=2.0, read=12.0)  # longer than a page takes, and shorter than a process has to stop
_PROOF, _PEER = "X-M8crm-Process", "X-M8crm-Peer"
_OURS = frozenset(name.lower() for name in (_PROOF, _PEER, "Host", "Content-Length", "Expect", "X-Request-Id"))
_SERVERS = frozenset({"server", "date"})  # each server writes its own
_NO_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_DONE = "It may have done what you sent: look before you send it again."
_AGAIN = "Then load the page again."


class Apart:
    """The process at ``url`` that answers in the place of this one; ``key`` is the installation's."""

    def __init__(self, url: str, key: bytes) -> None:
        self._pool = urllib3.connection_from_url(url, timeout=TIMEOUT, maxsize=MOST)
        self._proof = _proof(key)
        self._places = BoundedSemaphore(MOST)

    def answer(self, asked: Request) -> Response:
        """Return what it answers, as it is; 503 where it does not."""
        if not self._places.acquire(blocking=False):
            abort(503, "Too many pages are asked for at once. Try again soon.")
        try:
            return self._answer(asked)
        finally:
            self._places.release()

    def _answer(self, asked: Request) -> Response:
        named = {name.strip().lower() for name in asked.headers.get("Connection", "").split(",")}
        headers = {name: value for name, value in asked.headers if _is_passed(name, _OURS | named)}
        headers |= {_PROOF: self._proof, _PEER: asked.remote_addr or "", "X-Request-Id": g.request_id}
        headers |= {"Connection": "close"}  # one kept open may be closed while a form is sent
        body, target = asked.get_data(), _target(asked)
        try:
            answer = self._pool.urlopen(
                asked.method, target, body=body, headers=headers, redirect=False, retries=False, decode_content=False
            )
        except HTTPError as error:
            log.error("console_does_not_answer", error=type(error).__name__)
            what_now = _AGAIN if asked.method in ("GET", "HEAD") else _DONE
            abort(503, f"The console does not answer. It is started again by itself. {what_now}")
        kept = [(name, value) for name, value in answer.headers.items() if _is_passed(name, _SERVERS)]
        return Response([answer.data], answer.status, kept)  # as a list, or HEAD would be told the length of nothing


def answer_elsewhere() -> Response | None:
    """Answer a request of the console by the process that has its pages, where there is one."""
    apart: Apart | None = current_app.extensions["m8crm.console.apart"]
    if apart is None or request.endpoint in STAYS:
        return None
    answer = apart.answer(request)
    g.is_answered_elsewhere = True
    return answer


def answer_for_others(app: Flask, key: bytes) -> None:
    """Have ``app`` answer other processes of this installation alone: it believes them who asks."""
    proof = _proof(key)
    app.extensions["m8crm.for_others"] = True  # then there is no way past the views

    @app.before_request
    def assert_ours() -> None:
        if not hmac.compare_digest(proof.encode(), request.headers.get(_PROOF, "").encode(errors="replace")):
            abort(403)
        request.remote_addr = request.headers.get(_PEER) or None


def _target(asked: Request) -> str:
    """Return path and query as they came; what no URL may hold is escaped."""
    parts = urlsplit(asked.environ["RAW_URI"])
    raw = f"{parts.path}?{parts.query}" if parts.query else parts.path
    return quote(_NO_ESCAPE.sub("%25", raw).encode("latin-1", "replace"), safe=punctuation)


def _is_passed(name: str, ours: frozenset[str]) -> bool:
    return name.lower() not in ours and not is_hop_by_hop_header(name)


def _proof(key: bytes) -> str:
    return hmac.new(key, b"m8crm.console.process", hashlib.sha256).hexdigest()
