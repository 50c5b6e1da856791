"""Every error as JSON with a ``message``, whatever raised it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Flask, Response, g
from werkzeug.exceptions import HTTPException

from middleware.errors import StorageError
from middleware.web.answers import BROKEN, Answer, broken_answer, problem_answer, seconds_of, storage_answer

_MESSAGES = {
    404: "There is nothing at this address.",
    405: "This method is not allowed here.",
    413: "The body is too large.",
    415: "Send the body as application/json.",
    422: "The request is not understood.",
    500: BROKEN,
}


def problem(status: int, message: str, *, retry_after: timedelta | None = None, **more: Any) -> Response:
    """Return the error answer; ``more`` are further keys beside ``message``."""
    return respond(problem_answer(status, message, retry_after=retry_after, **more))


def misunderstood(errors: dict[str, Any]) -> Response:
    """Return 400 that names the parameters, each with what is wrong."""
    return problem(400, "The request is not understood: " + ", ".join(sorted(errors)) + ".", errors=errors)


def respond(answer: Answer) -> Response:
    """Return Flask's response for ``answer``."""
    response = Response(answer.body, answer.status, content_type=answer.content_type or None)
    if not answer.content_type:
        del response.headers["Content-Type"]
    if answer.retry_after is not None:
        response.headers["Retry-After"] = str(seconds_of(answer.retry_after))
    return response


def handle_problems(app: Flask) -> None:
    """Have every error answered so."""
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(StorageError, _storage)
    app.register_error_handler(Exception, _broken)


def _http(error: HTTPException) -> Response:
    if isinstance(error.response, Response):
        return error.response
    status = error.code or 500
    messages = getattr(error, "data", {}).get("messages")
    if messages:  # of a schema: {"query": {"fromNumber": [...]}}
        errors = {key: value for part in messages.values() for key, value in part.items()}
        return misunderstood(errors)
    response = problem(status, _MESSAGES.get(status) or error.name)
    response.headers.extend((k, v) for k, v in error.get_headers() if k in ("Allow", "Retry-After", "WWW-Authenticate"))
    return response


def _storage(error: StorageError) -> Response:
    return respond(storage_answer(error))


def _broken(error: Exception) -> Response:
    return respond(broken_answer(error, g.get("request_id")))
