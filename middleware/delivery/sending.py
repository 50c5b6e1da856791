"""Takes a body as if its sender had just sent it: a made-up one, or one that somebody has edited."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from middleware.errors import ConfigError
from middleware.inbox.finding import Story
from middleware.inbox.replays import Replays
from middleware.inbox.store import Accepted, Inbox
from middleware.receivers.registry import RECEIVERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What the sender would be told; ``errors`` are those of an event that is quarantined."""

    accepted: Accepted
    errors: dict[str, Any] | None


def send_as(inbox: Inbox, tenant_id: str, sender: str, raw: bytes, content_type: str) -> Sent:
    """Accept the body as the receiver does, but for the secret; raises ``UnreadableBody``, and stores nothing then."""
    receiver = RECEIVERS[sender]
    received = receiver.receive(raw, content_type)
    key, errors = receiver.understand(received)
    accepted = inbox.accept(
        tenant_id, sender, key=key, raw=received.raw, content_type=received.content_type, errors=errors
    )
    return Sent(accepted=accepted, errors=errors)


def send_edited(inbox: Inbox, story: Story, raw: bytes) -> Accepted:
    """Send a quarantined event again as somebody has edited it; what came stays beside it.

    Raises ``UnreadableBody`` or ``FieldErrors`` while it is still not understood, ``ConfigError`` for an event that is
    not quarantined.
    """
    event = story.event
    if event.state != "quarantined":
        raise ConfigError(event.id, [f"is {event.state}; only a quarantined event can be edited"])
    receiver = RECEIVERS[event.sender]
    receiver.parse(receiver.receive(raw, story.body.content_type).document)
    sent = send_as(inbox, event.tenant_id, event.sender, raw, story.body.content_type)
    Replays(inbox).replace(event.id, sent.accepted.id)
    return sent.accepted
