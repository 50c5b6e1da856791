"""The senders: how each one proves who it is, what its bodies look like, and how they are understood."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from typing import Any

from marshmallow import Schema

from middleware.model.call import CallEvent
from middleware.receivers import calllog, cdr, pbx, postcall, recording
from middleware.receivers.fields import FieldErrors
from middleware.receivers.form import FORM, MULTIPART
from middleware.receivers.stored import JSON, Received, read_document, receive_cdr, receive_plain


class Credential(Enum):
    """Where a sender puts the customer's secret."""

    BEARER = "Authorization: Bearer"
    PBX_TOKEN = "X-Pbx-Token"  # noqa: S105 - a header
    URL = "?token="
    URL_OR_DATA = "?token= or customData"


@dataclass(frozen=True, slots=True, kw_only=True)
class Receiver:
    """One sender: ``secret`` is the key in a customer's ``[secrets]``.

    ``parse`` takes the document that was read from a body; it raises ``FieldErrors``.  ``receive`` reads a request's
    body, or query string, and takes out what must not be kept; it raises ``UnreadableBody``.  ``link_life`` is how
    long the links of an event live after it was received.
    """

    sender: str
    secret: str
    schema: type[Schema]
    parse: Callable[[object], CallEvent]
    credential: Credential = Credential.BEARER
    methods: tuple[str, ...] = ("POST",)
    media_types: tuple[str, ...] = (JSON,)
    receive: Callable[[bytes, str], Received] = receive_plain
    link_life: timedelta | None = None

    def parse_stored(self, raw: bytes, content_type: str) -> CallEvent:
        """Return the event of a body as it was stored; raises ``UnreadableBody`` or ``FieldErrors``."""
        return self.parse(read_document(raw, content_type if len(self.media_types) > 1 else JSON))

    def understand(self, received: Received) -> tuple[str, dict[str, Any] | None]:
        """Return the event's key, and the field errors of one that the schema does not understand."""
        try:
            return self.parse(received.document).key, None
        except FieldErrors as error:
            return hashlib.sha256(received.raw).hexdigest(), error.errors

    def accepts(self, mimetype: str) -> bool:
        """Whether a body of this media type is read; one without a type is taken for JSON."""
        return not mimetype or mimetype in self.media_types or mimetype.endswith("+json")


RECEIVERS = {
    receiver.sender: receiver
    for receiver in (
        Receiver(sender=calllog.SENDER, secret="insights", schema=calllog.CallLogSchema, parse=calllog.parse_calllog),  # noqa: S106
        Receiver(
            sender=recording.SENDER,
            secret="recording",  # noqa: S106 - a key, as below
            schema=recording.RecordingSchema,
            parse=recording.parse_recording,
            link_life=recording.LINK_LIFE,
        ),
        Receiver(
            sender=pbx.SENDER,
            secret="pbx",  # noqa: S106
            schema=pbx.PbxSchema,
            parse=pbx.parse_pbx,
            credential=Credential.PBX_TOKEN,
        ),
        Receiver(
            sender=cdr.SENDER,
            secret="cdr",  # noqa: S106
            schema=cdr.CdrPayloadSchema,
            parse=cdr.parse_cdr,
            credential=Credential.URL_OR_DATA,
            methods=("GET", "POST", "PUT"),
            media_types=(JSON, FORM, MULTIPART),
            receive=receive_cdr,
        ),
        Receiver(
            sender=postcall.SENDER,
            secret="postcall",  # noqa: S106
            schema=postcall.PostCallSchema,
            parse=postcall.parse_postcall,
            credential=Credential.URL,
        ),
    )
}
