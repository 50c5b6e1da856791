"""A recording that is kept already, without a file server."""

from __future__ import annotations

import hashlib

from middleware.model.call import Media
from middleware.recordings.service import Recordings
from middleware.recordings.store import make_incoming


def keep(recordings: Recordings, body: bytes, content_type: str | None = "audio/x-wav", call: str = "call") -> str:
    """Keep ``body`` for a call of the demo's customer ``nordlys``, who fetches, and return the path of its link."""
    recordings.note("nordlys", call, [Media(url=f"https://files.example.com/{call}")])
    (row,) = recordings.ledger.claim(recordings.now().timestamp() + 1, 60, 1)
    sha256 = hashlib.sha256(body).hexdigest()
    path = make_incoming(recordings.store) / row.id
    path.write_bytes(body)
    recordings.store.put("nordlys", sha256, path)
    recordings.ledger.finish(row, state="kept", url=None, sha256=sha256, bytes=len(body), content_type=content_type)
    link = link_of(recordings, "nordlys", call)
    assert link
    return link[link.index("/nordlys/") :]


def link_of(recordings: Recordings, tenant_id: str, call: str) -> str | None:
    """Return the link that the call's log bears, where no sender's would do."""
    return next((medium.url for medium in recordings.linked(tenant_id, call, ()) if medium.kind == "recording"), None)


CONFIG = '\n[recordings]\nfetch = true\nhosts = ["files.example.com"]\n'
