"""A result as bytes, for Redis: ``1``, a letter, and what the result holds.

Hand-written: a body is not copied into JSON, and nothing that is read can do more than be a result.
"""

from __future__ import annotations

import json
from datetime import timedelta

from middleware.lookup.card import Busy, Failed, Hit, Miss, Result, TimedOut

MAX_BYTES = 1024 * 1024  # no card comes near


def dump_result(result: Result) -> bytes:
    """Return the result as bytes; nothing when it is too large to share."""
    if isinstance(result, Hit):
        encoded = (b"1p" if result.is_partial else b"1h") + result.body
    elif isinstance(result, Miss):
        encoded = b"1m" + result.reason.encode(errors="replace")
    elif isinstance(result, Failed):
        seconds = result.retry_after.total_seconds() if result.retry_after else None
        encoded = b"1f" + json.dumps([result.reason, seconds]).encode()
    else:
        encoded = b"1b" if isinstance(result, Busy) else b"1t"
    return encoded if len(encoded) <= MAX_BYTES else b""


def parse_result(encoded: bytes) -> Result | None:
    """Return the result, or ``None`` for what :func:`dump_result` never writes."""
    kind, content = encoded[:2], encoded[2:]
    if kind in (b"1h", b"1p"):
        return Hit(body=content, is_partial=kind == b"1p")
    if kind == b"1m":
        return Miss(reason=content.decode(errors="replace"))
    if kind == b"1f":
        return _parse_failed(content)
    known: dict[bytes, Result] = {b"1b": Busy(), b"1t": TimedOut()}
    return known.get(encoded)


def _parse_failed(content: bytes) -> Failed | None:
    try:
        reason, seconds = json.loads(content)
        return Failed(reason=str(reason), retry_after=None if seconds is None else timedelta(seconds=seconds))
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
