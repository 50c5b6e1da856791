"""What senders prove themselves with: long random texts, of which only the SHA-256 is kept.

A plain hash is enough for secrets of 128 bits and more (OWASP ASVS 5.0, 6.5.2).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from functools import lru_cache

from middleware.tenants.tenant import Tenant

MIN_CHARACTERS = 16
_NOBODY = (bytes(32),)  # the digest of nothing that can be sent: unknown customers cost the same work


def new_secret() -> str:
    """Return a new secret of 256 bits, fit for a header and a URL."""
    return secrets.token_urlsafe(32)


def digest(secret: str) -> str:
    """Return the line that a customer's file keeps of ``secret``."""
    return f"sha256:{hashlib.sha256(secret.encode()).hexdigest()}"


def verify(tenant: Tenant | None, receiver: str, presented: bytes) -> bool:
    """Whether ``presented`` is one of the tenant's secrets for ``receiver``, in constant time."""
    digests = (tenant.secrets.get(receiver) if tenant else None) or _NOBODY
    given = _hashed(presented)
    is_one = False
    for valid in digests:  # all of them: no early end
        is_one |= hmac.compare_digest(given, valid)
    return is_one


@lru_cache(maxsize=1024)  # a sender repeats himself; what is kept is found by a keyed hash: time tells nothing
def _hashed(presented: bytes) -> bytes:
    return hashlib.sha256(presented).digest()
