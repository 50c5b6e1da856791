"""A recording, played by a browser from a signed link; no secret but the link's signature is needed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

import structlog
from flask import Blueprint, Response, current_app, g, request

from middleware.errors import StorageError
from middleware.recordings.kinds import DOWNLOAD, PLAYED
from middleware.recordings.service import Recording, Recordings, Refusal
from middleware.web.auth import requester
from middleware.web.requests import SEND_LATER

log = structlog.get_logger("m8crm.web")
blueprint = Blueprint("recordings", __name__)

MAX_PART = 1024 * 1024  # bytes of one answer to a player, who asks for the next part, and of what stands in memory
_REFUSALS = {
    Refusal.FORBIDDEN: (403, "This link is not valid. Copy it as a whole, or ask for a new one."),
    Refusal.EXPIRED: (410, "This link has expired."),
    Refusal.REVOKED: (410, "This link has been revoked. Ask for a new one."),
    Refusal.REMOVED: (410, "This recording has been removed: it was kept for as long as it was to be."),
    Refusal.LOST: (410, "This recording could not be fetched before its sender took it away."),
    Refusal.WAITING: (503, "This recording is still being fetched. Try again in a minute."),
}
_PAGE = "default-src 'none'; media-src 'self'; style-src 'unsafe-inline'; sandbox"  # a browser's player styles itself


@blueprint.get("/<tenant_id:customer>/recordings/<recording_id>")
def play(customer: str, recording_id: str) -> Response:
    """Return the recording, or the part of it that the browser asks for."""
    recordings: Recordings = current_app.extensions["m8crm"].recordings
    try:
        signature = request.args.get("signature", "")
        found = recordings.open(customer, recording_id, signature, address=requester() or request.remote_addr or "")
        if isinstance(found, Refusal):
            g.outcome = found.value
            return _told(*_REFUSALS[found])
        g.customer, g.outcome = customer, "played"
        return _part(recordings, found)
    except StorageError:
        return _told(503, "This recording cannot be read now. Try again in a minute.")


def _part(recordings: Recordings, found: Recording) -> Response:
    """Return the whole, one range of it (206), 304 or 416 (RFC 9110, sections 13 and 14)."""
    etag = found.sha256 or ""
    if request.if_none_match.contains(etag):
        return _dressed(Response(status=304), found)
    start, end, status = 0, found.bytes, 200
    wanted = request.range
    if wanted is not None and wanted.units == "bytes" and len(wanted.ranges) == 1 and _is_same(etag):
        span = wanted.range_for_length(found.bytes)
        if span is None:
            return _unsatisfiable(found)
        start, end, status = span[0], min(span[1], span[0] + MAX_PART), 206
    response = Response(_body(recordings, found, start, end) if request.method == "GET" else iter(()), status)
    response.headers["Content-Length"] = str(end - start)
    if status == 206:
        response.headers["Content-Range"] = f"bytes {start}-{end - 1}/{found.bytes}"
    return _dressed(response, found)


def _body(recordings: Recordings, found: Recording, start: int, end: int) -> Iterator[bytes]:
    """Return the first piece, and have the server send the others as they are taken; raises ``StorageError``."""
    pieces = _pieces(recordings, found, start, end)
    first = next(pieces, b"")
    send_later = request.environ.get(SEND_LATER)
    if send_later is None:  # another server's thread waits for a slow taker
        return chain((first,), pieces)
    send_later(pieces)
    return iter((first,))


def _pieces(recordings: Recordings, found: Recording, start: int, end: int) -> Iterator[bytes]:
    """Yield the bytes from ``start`` to ``end``; nothing is open while a piece waits for its taker."""
    try:
        for at in range(start, end, MAX_PART):
            length = min(MAX_PART, end - at)
            piece = b"".join(recordings.read(found, at, length))
            if len(piece) != length:  # the browser must not wait for what never comes
                raise StorageError("the recording is shorter than it was")
            yield piece
    except StorageError:
        log.error("recording_not_read", customer=found.tenant_id, recording=found.id)
        raise


def _is_same(etag: str) -> bool:
    """Whether a range is of the content that we have (``If-Range``)."""
    condition = request.if_range
    return condition.date is None and condition.etag in (None, etag)


def _dressed(response: Response, found: Recording) -> Response:
    kind, ending = PLAYED.get(found.content_type or "", DOWNLOAD)
    place = "inline" if found.content_type in PLAYED else "attachment"
    response.headers["Content-Type"] = kind
    response.headers["Content-Disposition"] = f'{place}; filename="recording-{found.id}.{ending}"'
    response.headers["Content-Security-Policy"] = _PAGE
    response.headers["Accept-Ranges"] = "bytes"
    response.headers["Cache-Control"] = "private, max-age=300"
    response.set_etag(found.sha256 or "")
    return response


def _unsatisfiable(found: Recording) -> Response:
    response = _told(416, "The recording has no such part.")
    response.headers["Content-Range"] = f"bytes */{found.bytes}"
    return response


def _told(status: int, words: str) -> Response:
    """Return a sentence for whoever has clicked."""
    response = Response(words + "\n", status, content_type="text/plain; charset=utf-8")
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    if status == 503:
        response.headers["Retry-After"] = "60"
    return response
