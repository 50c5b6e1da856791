"""What an event's states are called on a page, and who may read what was sent."""

from __future__ import annotations

from collections.abc import Mapping

from middleware.console.roles import Role, Viewer
from middleware.receivers.masked import mask_body, pretty_body

STATES: Mapping[str, str] = {
    "queued": "accepted, not looked at yet",
    "waiting": "waits to be written, or to be tried again",
    "delivered": "in the CRM",
    "parked": "parked: nobody in the CRM has the number yet",
    "dead": "dead letter: nobody tries again until you do",
    "quarantined": "quarantined: it is not understood",
    "ignored": "left out, as the customer wants it",
    "noted": "noted: nothing says yet that the call has ended",
    "replaced": "replaced by an edited one",
    "purged": "its body is removed: it was kept long enough",
}
MOVING = ("queued", "waiting")  # soon to be another one
REPLAYED = ("dead", "parked", "waiting", "quarantined", "ignored")  # what delivering again makes sense for


def is_mender(viewer: Viewer) -> bool:
    """Whether he may read bodies when he asks for them, and edit them; who came by a link sees none at all."""
    return viewer.role is not Role.CARE and not viewer.is_reader


def readable(
    viewer: Viewer, raw: bytes, content_type: str, *, is_asked_for: bool = False, indent: int | None = 2
) -> str | None:
    """Return a body as he may read it: masked unless he asks for it and may; to be searched without an ``indent``."""
    if viewer.is_reader:
        return None
    return (pretty_body if is_asked_for and is_mender(viewer) else mask_body)(raw, content_type, indent=indent)
