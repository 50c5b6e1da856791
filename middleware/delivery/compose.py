"""The text of a logged call, composed in one place for every CRM."""

from __future__ import annotations

from datetime import timedelta

from middleware.model.call import CallEvent, CallRecord, Direction
from middleware.model.phone import parse_number
from middleware.tenants.tenant import Tenant


def compose_call(event: CallEvent, *, event_id: str, key: str, tenant: Tenant) -> CallRecord:
    """Return the call as an adapter writes it; the contact is on the other side of the customer's own number."""
    assert event.direction
    assert event.started_at is not None
    assert event.duration is not None
    numbers = [parse_number(number or "", tenant.region) for number in (event.from_number, event.to_number)]
    contact, own = numbers if event.direction is Direction.INBOUND else numbers[::-1]
    direction = event.direction
    if contact.e164 in tenant.own_numbers and own.e164 not in tenant.own_numbers:
        contact, own = own, contact
        direction = Direction.OUTBOUND if direction is Direction.INBOUND else Direction.INBOUND
    inbound = direction is Direction.INBOUND
    who = f" with {event.agent or event.username}" if event.agent or event.username else ""
    return CallRecord(
        id=event_id,
        key=key,
        direction=direction,
        contact_number=contact,
        own_number=own,
        started_at=event.started_at,
        duration=event.duration,
        subject=f"{'Inbound' if inbound else 'Outbound'} call{who}, {spell_duration(event.duration)}",
        body=_body(event, str(contact), str(own), inbound=inbound, tenant=tenant),
        agent=event.agent or event.username,
        answer_group=event.answer_group,
        user_id=event.user_id,
        referred_to=event.referred_to,
        referred_by=event.referred_by,
        summary=event.summary,
    )


def spell_duration(duration: timedelta) -> str:
    """Return e.g. ``1 h 02 min 03 s``, without the units that are zero at the front."""
    minutes, seconds = divmod(round(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min {seconds:02} s"
    return f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"


def _body(event: CallEvent, contact: str, own: str, *, inbound: bool, tenant: Tenant) -> str:
    assert event.started_at is not None
    assert event.duration is not None
    started = event.started_at.astimezone(tenant.timezone)
    facts = {
        "Started": f"{started:%Y-%m-%d %H:%M:%S} ({tenant.timezone.key})",
        "Duration": spell_duration(event.duration),
        "From": contact if inbound else own,
        "To": own if inbound else contact,
        "Answer group": event.answer_group,
        "Agent": event.agent or event.username,
        "Transferred to": event.referred_to,
        "Transferred by": event.referred_by,
    }
    lines = [f"{label}: {fact}" for label, fact in facts.items() if fact]
    return "\n".join([*lines, *(["", event.summary] if event.summary else [])])
