"""What is answered, as plain data: the Flask views and the fast path make their bytes from the same."""

from __future__ import annotations

import json
import random
import re
from datetime import timedelta
from functools import lru_cache
from typing import Any, NamedTuple

import structlog

from middleware.errors import StorageError, place_of
from middleware.inbox.store import Accepted
from middleware.lookup.card import Busy, Failed, Hit, Miss, Result, TimedOut
from middleware.tenants.tenant import Tenant

log = structlog.get_logger("m8crm")
BROKEN = "Something is broken here. The log has more, by the X-Request-Id of this answer."
RETRY_AFTER = timedelta(seconds=2)
NO_STORE = ("Cache-Control", "no-store")  # unless a view says otherwise
_SECURITY = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))
_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_BEARER = re.compile(r"(?i:bearer) +([^ ,]+) *")


class Answer(NamedTuple):  # quicker to make than a frozen dataclass
    """Status and body; ``content_type`` is empty where there is no body."""

    status: int
    body: bytes = b""
    content_type: str = "application/json"
    retry_after: timedelta | None = None


def problem_answer(status: int, message: str, *, retry_after: timedelta | None = None, **more: Any) -> Answer:
    """Return the error answer; ``more`` are further keys beside ``message``."""
    body = json.dumps({"message": message, **more}, sort_keys=True).encode()
    return Answer(status=status, body=body, retry_after=retry_after)


def broken_answer(error: Exception, request_id: str | None) -> Answer:
    """Log a fault of ours, by its class and place, and return how the sender is told."""
    log.error("broken", error=type(error).__name__, place=place_of(error), request_id=request_id)
    return problem_answer(500, BROKEN)


def lookup_answer(result: Result, tenant: Tenant) -> Answer:
    """Return how a lookup's result is told to M8Com."""
    match result:
        case Hit():
            return Answer(status=200, body=result.body)
        case Miss():
            return _miss(result, tenant)
        case Busy():
            return problem_answer(503, "Too many lookups wait for this customer's CRM.", retry_after=RETRY_AFTER)
        case Failed():
            wait = result.retry_after or RETRY_AFTER
            return problem_answer(503, f"The CRM failed: {result.words}.", retry_after=wait)
        case TimedOut():
            return problem_answer(504, "The CRM did not answer in time.", retry_after=RETRY_AFTER)


def accepted_answer(accepted: Accepted, errors: dict[str, Any] | None) -> Answer:
    """Return how a sender is told that his event is kept; ``errors`` are those of one that is not understood."""
    told: dict[str, Any] = {"status": accepted.status, "id": accepted.id}
    if accepted.status == "quarantined":
        told["errors"] = errors
    return Answer(status=200, body=json.dumps(told, sort_keys=True, default=str).encode())


def storage_answer(_error: StorageError) -> Answer:
    """Return how a sender is told that his event is not kept."""
    return problem_answer(503, "Nothing was stored. Try again later.", retry_after=timedelta(seconds=5))


def seconds_of(wait: timedelta) -> int:
    """Return a wait as ``Retry-After`` has it."""
    return max(1, round(wait.total_seconds()))


def _miss(miss: Miss, tenant: Tenant) -> Answer:
    match tenant.lookup.miss:
        case "204":
            return Answer(status=204, content_type="")
        case "empty":
            return Answer(status=200, body=b"{}")
        case "404":
            return problem_answer(404, miss.reason)


@lru_cache(maxsize=1024)  # a sender repeats himself
def presented_secret(authorization: str) -> bytes:
    """Return the secret of an ``Authorization`` header; nothing when it is no bearer token."""
    match = _BEARER.fullmatch(authorization)
    return match[1].encode("latin-1", errors="replace") if match else b""


def request_id(given: str) -> str:
    """Return the sender's own id where it is a sane one, else a new one."""
    return given if given and _ID.fullmatch(given) else f"{random.getrandbits(64):016x}"


def common_headers(request_id: str, server_timing: str) -> tuple[tuple[str, str], ...]:
    """Return what every answer has, whatever it says."""
    return (("X-Request-Id", request_id), ("Server-Timing", server_timing), *_SECURITY)
