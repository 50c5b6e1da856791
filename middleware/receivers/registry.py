"""The senders: whose secret each one brings, what its bodies look like, and how they are understood."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from marshmallow import Schema

from middleware.model.call import CallEvent
from middleware.receivers import calllog
from middleware.receivers.body import read_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One sender: ``secret`` is the key in a customer's ``[secrets]``.

    ``parse`` takes the document that was read from a body; it raises ``FieldErrors``.
    """

    sender: str
    secret: str
    schema: type[Schema]
    parse: Callable[[object], CallEvent]

    def parse_stored(self, raw: bytes, content_type: str) -> CallEvent:
        """Return the event of a body as it was stored; raises ``UnreadableBody`` or ``FieldErrors``."""
        del content_type
        return self.parse(read_json(raw))


RECEIVERS = {
    receiver.sender: receiver
    for receiver in (
        Receiver(sender=calllog.SENDER, secret="insights", schema=calllog.CallLogSchema, parse=calllog.parse_calllog),  # noqa: S106
    )
}
