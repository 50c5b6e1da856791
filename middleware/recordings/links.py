"""Links for people: signed, so that nobody makes one himself, and dead after their time or a revocation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime

from itsdangerous import BadData, URLSafeSerializer


@dataclass(frozen=True, slots=True, kw_only=True)
class Permit:
    """What a link says: until when it is good, and how often links had been revoked when it was made."""

    expires_at: datetime
    links: int


class Links:
    """Makes and reads links of one installation; all machines with the same key understand each other's."""

    def __init__(self, public_url: str, key: bytes) -> None:
        self._public_url = public_url.rstrip("/")
        self._serializer = URLSafeSerializer(
            key,
            salt="m8crm.recordings",
            signer_kwargs={"key_derivation": "hmac", "digest_method": hashlib.sha256},
        )

    def make(self, tenant_id: str, recording_id: str, permit: Permit) -> str:
        """Return the URL; the same recording and permit give the same one."""
        said = [tenant_id, recording_id, int(permit.expires_at.timestamp()), permit.links]
        text = str(self._serializer.dumps(said))
        return f"{self._public_url}/{tenant_id}/recordings/{recording_id}?signature={text}"

    def read(self, tenant_id: str, recording_id: str, signature: str) -> Permit | None:
        """Return what a signature of ours permits for this recording; whether it still does is not asked."""
        try:
            tenant, recording, expires_at, links = self._serializer.loads(signature)
        except (BadData, ValueError, TypeError):
            return None
        if (tenant, recording) != (tenant_id, recording_id):
            return None
        return Permit(expires_at=datetime.fromtimestamp(expires_at, UTC), links=links)
