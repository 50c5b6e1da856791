"""What a CRM says of its limits, where it does not say so as everybody does."""

from __future__ import annotations

from datetime import timedelta

from middleware.crm.base import Response
from middleware.errors import RateLimitedError


def rate_limited(response: Response, header: str, label: str) -> RateLimitedError | None:
    """Return for how long to wait if the CRM, called ``label``, says so in a ``header`` of its own, in seconds.

    Without that header, and beside a ``Retry-After``, ``None``: the session reads what all have in common.
    """
    reset = response.headers.get(header, "")
    if response.status_code != 429 or "Retry-After" in response.headers or not reset.isdecimal():
        return None
    return RateLimitedError(f"{label} answered 429", retry_after=timedelta(seconds=min(int(reset[:10]), 86_400)))
