"""Takes plain events without Flask; whatever is odd about one is left to the view (``web/events.py``)."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from middleware.errors import StorageError
from middleware.failpoints import reach
from middleware.inbox.store import Accepted, Inbox
from middleware.lookup.trace import Trace
from middleware.receivers.body import UnreadableBody
from middleware.receivers.form import FORM
from middleware.receivers.registry import RECEIVERS, Credential, Receiver
from middleware.receivers.stored import JSON, Received
from middleware.tenants.secrets import verify
from middleware.tenants.tenant import Tenant
from middleware.web.answers import presented_secret, request_id
from middleware.web.head import Plain

MAX_BODY = 16_384  # bytes; larger ones would hold up the lookups for too long
_TARGET = re.compile(rf"/([a-z0-9][a-z0-9-]{{0,62}})/({'|'.join(RECEIVERS)})(?:\?token=([A-Za-z0-9_-]+))?")


class Sent(NamedTuple):
    """An event with the right secret that can be read; ``errors`` are those of one that is not understood."""

    tenant: Tenant
    receiver: Receiver
    received: Received
    key: str
    errors: dict[str, Any] | None
    trace: Trace


def read_event(request: Plain, body: bytes, peek: Callable[[str], Tenant | None]) -> Sent | None:
    """Return what is sent, or ``None`` when the slow path must say what is wrong with it."""
    target = _TARGET.fullmatch(request.target)
    tenant = peek(target[1]) if target and len(body) <= MAX_BODY else None
    if target is None or tenant is None:
        return None
    receiver = RECEIVERS[target[2]]
    content_type = request.headers.get("content-type", "")
    if content_type.partition(";")[0].strip().lower() not in _READ.intersection(receiver.media_types):
        return None
    presented = _presented(receiver, request, target[3] or "")
    if not presented or not verify(tenant, receiver.secret, presented):
        return None
    trace = Trace(id=request_id(request.headers.get("x-request-id", "")))
    reach("read")
    try:
        received = receiver.receive(body, content_type)
    except UnreadableBody:
        return None
    key, errors = receiver.understand(received)
    reach("parsed")
    return Sent(tenant, receiver, received, key, errors, trace)


_READ = frozenset((JSON, FORM))  # of multipart forms there are too many kinds


def _presented(receiver: Receiver, request: Plain, token: str) -> bytes:
    match receiver.credential:
        case Credential.BEARER:
            return presented_secret(request.headers.get("authorization", ""))
        case Credential.PBX_TOKEN:
            return request.headers.get("x-pbx-token", "").encode("latin-1")
        case Credential.URL | Credential.URL_OR_DATA:
            return token.encode()


def store(inbox: Inbox, sent: Sent, done: Callable[[Accepted | StorageError], None]) -> None:
    """Have the event stored, and ``done`` called on another thread once it is on disk, or is not."""
    received = sent.received
    inbox.begin(
        sent.tenant.id,
        sent.receiver.sender,
        done,
        key=sent.key,
        raw=received.raw,
        content_type=received.content_type,
        errors=sent.errors,
    )
