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

    ``read`` takes the document that was read from a body, and ``key_of`` what it returns: so much is done while the
    sender waits.  ``parse`` does all; both raise ``FieldErrors``.  ``receive`` reads a request's
    body, or query string, and takes out what must not be kept; it raises ``UnreadableBody``.  ``link_life`` is how
    long the links of an event live after it was received.
    """

    sender: str
    secret: str
    schema: type[Schema]
    read: Callable[[object], dict[str, Any]]
    key_of: Callable[[dict[str, Any]], str]
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
            return self.key_of(self.read(received.document)), None
        except FieldErrors as error:
            return hashlib.sha256(received.raw).hexdigest(), error.errors

    def accepts(self, mimetype: str) -> bool:
        """Whether a body of this media type is read; one without a type is taken for JSON."""
        return not mimetype or mimetype in self.media_types or mimetype.endswith("+json")


RECEIVERS = {
    receiver.sender: receiver
    for receiver in (
        Receiver(
            sender=calllog.SENDER,
            secret="insights",  # noqa: S106 - a key, as below
            schema=calllog.CallLogSchema,
            read=calllog.read_calllog,
            key_of=calllog.key_of,
            parse=calllog.parse_calllog,
        ),
        Receiver(
            sender=recording.SENDER,
            secret="recording",  # noqa: S106
            schema=recording.RecordingSchema,
            read=recording.read_recording,
            key_of=recording.key_of,
            parse=recording.parse_recording,
            link_life=recording.LINK_LIFE,
        ),
        Receiver(
            sender=pbx.SENDER,
            secret="pbx",  # noqa: S106
            schema=pbx.PbxSchema,
            read=pbx.read_pbx,
            key_of=pbx.key_of,
            parse=pbx.parse_pbx,
            credential=Credential.PBX_TOKEN,
        ),
        Receiver(
            sender=cdr.SENDER,
            secret="cdr",  # noqa: S106
            schema=cdr.CdrPayloadSchema,
            read=cdr.read_cdr,
            key_of=cdr.key_of,
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
            read=postcall.read_postcall,
            key_of=postcall.key_of,
            parse=postcall.parse_postcall,
            credential=Credential.URL,
        ),
    )
}
