"""What every request has: an id, a trace, one log line, and the headers of every answer."""

from __future__ import annotations

import structlog
from flask import Flask, Response, g, request

from middleware.logs import masked
from middleware.lookup.trace import Trace
from middleware.web.answers import NO_STORE, common_headers, request_id

log = structlog.get_logger("m8crm.web")
READ_AT = "m8crm.read_at"  # in the environ: the moment (monotonic) when the request had come, before it waited

# in the environ, where the server has it: takes an iterator of pieces to be sent behind the answer, each made on a
# thread when the one before has been taken, so that a slow taker costs one piece of memory and no thread
SEND_LATER = "m8crm.send_later"


def watch_requests(app: Flask, key: bytes) -> None:
    """Give every request its id and trace, and every answer its headers and its canonical log line."""

    @app.before_request
    def begin() -> None:
        g.request_id = request_id(request.headers.get("X-Request-Id", ""))
        g.trace = Trace(id=g.request_id)
        g.trace.began = request.environ.get(READ_AT, g.trace.began)

    @app.after_request
    def end(response: Response) -> Response:
        for name, value in common_headers(g.request_id, g.trace.server_timing(g.trace.took)):
            response.headers[name] = value
        response.headers.setdefault(*NO_STORE)
        _log(response, key)
        return response


def _log(response: Response, key: bytes) -> None:
    write_line(
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,  # the path itself may hold anything
        status=response.status_code,
        seconds=g.trace.clock() - g.trace.began,
        request_id=g.request_id,
        number=masked(str(g.number), key) if g.get("number") else None,
        **{name: g.get(name) for name in ("customer", "outcome", "cache", "event_id")},
    )


def write_line(
    *, method: str, route: str | None, status: int, seconds: float, request_id: str, **known: object
) -> None:
    """Write the canonical line of one request, without what is not known."""
    facts = {name: value for name, value in known.items() if value is not None}
    ms = round(seconds * 1000, 1)
    log.info("request", method=method, route=route, status=status, ms=ms, request_id=request_id, **facts)
