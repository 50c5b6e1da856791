"""Logs for machines, one JSON object a line; ``M8CRM_LOG_FORMAT=text`` is for people."""

from __future__ import annotations

import logging
import sys
from hashlib import blake2b

import structlog

from middleware.model.phone import mask_number


def configure_logs(level: str, log_format: str) -> None:
    """Send the product's log lines, and warnings of libraries, to standard error."""
    text = structlog.dev.ConsoleRenderer() if log_format == "text" else structlog.processors.JSONRenderer()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            text,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping().get(level.upper(), 20)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("urllib3").setLevel(logging.WARNING)  # at DEBUG it logs URLs, and those hold numbers


def masked(number: str, key: bytes) -> str:
    """Return a number as a log may hold it: the same for the same number, useless to a stranger."""
    # BLAKE2 takes a key itself (RFC 7693, 2.9); for an HMAC OpenSSL looks its parts up anew each time
    return f"{blake2b(number.encode(errors='replace'), key=key, digest_size=5).hexdigest()}{mask_number(number)}"
