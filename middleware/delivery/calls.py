"""From what senders sent about a call to the record of it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import unquote_to_bytes

from middleware.delivery.compose import compose_call
from middleware.inbox.calls import Heard, hear, merge
from middleware.inbox.store import Body, StoredCall
from middleware.model.call import CallEvent, CallRecord
from middleware.model.phone import PhoneNumber
from middleware.receivers.body import UnreadableBody
from middleware.receivers.fields import FieldErrors
from middleware.receivers.registry import RECEIVERS
from middleware.tenants.log_template import LogFormat
from middleware.tenants.tenant import Tenant

_SEPARATORS = r"[\s().\-/]{0,3}"  # that people write between digits


def hear_body(body: Body, tenant: Tenant) -> Heard:
    """Return the event of a stored body; raises ``FieldErrors`` or ``UnreadableBody``."""
    receiver = RECEIVERS[body.sender]
    event = receiver.parse_stored(body.raw, body.content_type)
    if receiver.link_life:
        until = body.received_at + receiver.link_life
        event = replace(event, media=tuple(replace(medium, expires_at=until) for medium in event.media))
    return hear(event, body.received_at, tenant)


def merged_event(bodies: Sequence[Body], tenant: Tenant) -> CallEvent:
    """Return what the bodies say together; those that are not understood any more say nothing."""
    heard = []
    for body in bodies:
        try:
            heard.append(hear_body(body, tenant))
        except (FieldErrors, UnreadableBody):
            if len(bodies) == 1:
                raise
    return merge(heard, tenant.calls.join_within)


def record_of(
    stored: StoredCall,
    event: CallEvent,
    tenant: Tenant,
    log_format: LogFormat = "text",
) -> CallRecord:
    """Return the call, whose bodies say ``event``, as it is written into a CRM whose logs are of ``log_format``."""
    return compose_call(
        event,
        event_id=stored.id,
        key=f"m8-{stored.key[:32]}",
        tenant=tenant,
        received_at=stored.bodies[0].received_at,
        log_format=log_format,
    )


def numbers_of(heard: Heard) -> set[str]:
    """Return every number that is the call's, on either side."""
    return {number for number in (heard.contact, heard.referred_to, heard.referred_by, *heard.own) if number}


def digest_of(record: CallRecord) -> str:
    """Return what tells two states of a call's record apart."""
    return hashlib.sha256(repr(record).encode()).hexdigest()


def speaks_of(number: PhoneNumber, tenant: Tenant) -> Callable[[Body], bool]:
    """Return what tells whether a body has the number: as one of the call's, or anywhere in its text."""
    spelt = {number.international, number.national_digits} - {""}
    pattern = "|".join(_SEPARATORS.join(digits) for digits in spelt) or re.escape(number.raw)
    anywhere = re.compile(rf"(?<!\d)(?:00)?(?:{pattern})(?!\d)".encode())

    def speaks(body: Body) -> bool:
        if anywhere.search(unquote_to_bytes(body.raw)):
            return True
        try:
            heard = hear_body(body, tenant)
        except (FieldErrors, UnreadableBody):
            return False
        return str(number) in numbers_of(heard)

    return speaks
