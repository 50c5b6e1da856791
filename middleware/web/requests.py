"""What every request has: an id, a trace, one log line, and the headers of every answer."""

from __future__ import annotations

import structlog
from flask import Flask, Response, g, request

from middleware.logs import masked
from middleware.lookup.trace import Trace
from middleware.web.answers import NO_STORE, common_headers, request_id

log = structlog.get_logger("m8crm.web")


def watch_requests(app: Flask, key: bytes) -> None:
    """Give every request its id and trace, and every answer its headers and its canonical log line."""

    @app.before_request
    def begin() -> None:
        g.request_id = request_id(request.headers.get("X-Request-Id", ""))
        g.trace = Trace()

    @app.after_request
    def end(response: Response) -> Response:
        for name, value in common_headers(g.request_id, g.trace.server_timing()):
            response.headers[name] = value
        response.headers.setdefault(*NO_STORE)
        _log(response, key)
        return response


def _log(response: Response, key: bytes) -> None:
    number = g.get("number")
    known = {
        "customer": g.get("customer"),
        "outcome": g.get("outcome"),
        "cache": g.get("cache"),
        "event_id": g.get("event_id"),
        "number": masked(str(number), key) if number else None,
    }
    log.info(
        "request",
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,  # the path itself may hold anything
        status=response.status_code,
        ms=round((g.trace.clock() - g.trace.began) * 1000, 1),
        request_id=g.request_id,
        **{name: value for name, value in known.items() if value is not None},
    )
