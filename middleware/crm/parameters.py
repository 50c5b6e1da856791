"""What declarative adapters may name in a query or a request, and what it stands for."""

from __future__ import annotations

from datetime import UTC, timedelta

from middleware.model.activity import Activity, Appointment, Call, Deal, Note, Task, Ticket
from middleware.model.call import CallRecord
from middleware.model.contact import Contact
from middleware.model.phone import PhoneNumber

NUMBER = frozenset("raw e164 national national_digits international double_zero suffix".split())
CALL = frozenset(
    "key contact_id direction contact_number own_number started_at ended_at duration_seconds duration_ms subject body "
    "agent answer_group user_id referred_to referred_by summary outcome wait_seconds talk_seconds owner recording "
    "transcript sentiment action_items caller_name".split()
)
KINDS: dict[str, type[Activity]] = {
    "find_notes": Note,
    "find_tasks": Task,
    "find_calls": Call,
    "find_tickets": Ticket,
    "find_deals": Deal,
    "find_appointments": Appointment,
}


def number_parameters(number: PhoneNumber) -> dict[str, object]:
    """Return the forms of a number."""
    return {name: getattr(number, name) for name in NUMBER}


def call_parameters(call: CallRecord, contact: Contact | None) -> dict[str, object]:
    """Return what is known of a call; moments are ISO 8601 in UTC, spans numbers, and what is unknown is ``None``."""
    return {
        "key": call.key,
        "contact_id": contact.id if contact else None,
        "direction": call.direction.value,
        "contact_number": str(call.contact_number),
        "own_number": str(call.own_number),
        "started_at": call.started_at.astimezone(UTC).isoformat(),
        "ended_at": call.ended_at.astimezone(UTC).isoformat(),
        "duration_seconds": round(call.duration.total_seconds()),
        "duration_ms": round(call.duration.total_seconds() * 1000),
        "subject": call.subject,
        "body": call.body,
        "agent": call.agent,
        "answer_group": call.answer_group,
        "user_id": call.user_id,
        "referred_to": call.referred_to,
        "referred_by": call.referred_by,
        "summary": call.summary,
        "outcome": call.ending.value if call.ending else None,
        "wait_seconds": _seconds(call.wait_time),
        "talk_seconds": _seconds(call.talk_time),
        "owner": call.owner,
        "recording": call.recording,
        "transcript": call.transcript,
        "sentiment": call.sentiment,
        "action_items": "\n".join(call.action_items) or None,
        "caller_name": call.caller_name,
    }


def _seconds(span: timedelta | None) -> int | None:
    return None if span is None else round(span.total_seconds())
