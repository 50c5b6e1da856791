"""Which calls get into no CRM: those of nobody whom it could have, and those that a customer leaves out."""

from __future__ import annotations

from datetime import timedelta

from middleware.delivery.compose import spell_duration
from middleware.model.call import UNANSWERED, CallEvent, CallRecord
from middleware.model.phone import NumberKind
from middleware.tenants.tenant import Tenant


def why_nobody(record: CallRecord, tenant: Tenant) -> str | None:
    """Return in words why nobody in a CRM can be the other side of the call; none if somebody may."""
    if record.contact_number.e164 in tenant.own_numbers:
        return "The other side is one of the customer's own numbers."
    match record.contact_number.kind:
        case NumberKind.ANONYMOUS if record.contact_id is None:  # else a sender knows who withholds his number
            return "The other side's number is withheld or unknown."
        case NumberKind.INTERNAL:
            return "The other side is an extension."
        case NumberKind.IMPOSSIBLE:
            return "The other side's number is none that can be dialled."
    return None


def why_skipped(event: CallEvent, record: CallRecord, tenant: Tenant) -> str | None:
    """Return in words why the call is not logged; none if it is.  ``record`` is ``event`` as it would be logged."""
    skip = tenant.calls.skip
    numbers = {str(record.contact_number), str(record.own_number)}
    group = record.answer_group
    span = _span(event)
    if skip.internal and _is_internal(event, record, tenant):
        return "It is an internal call."
    if span is not None and span < skip.shorter_than:
        return f"It is shorter than {spell_duration(skip.shorter_than)}."
    if numbers & skip.numbers:
        return "One of its numbers is among those that the customer leaves out."
    if record.direction in skip.directions:
        return f"The customer leaves {record.direction.value} calls out."
    if group and group.strip().casefold() in skip.groups:
        return f"The customer leaves calls of the group {group} out."
    return None


def _is_internal(event: CallEvent, record: CallRecord, tenant: Tenant) -> bool:
    sides = (record.contact_number, record.own_number)
    return event.is_internal or all(
        side.e164 in tenant.own_numbers or side.kind is NumberKind.INTERNAL for side in sides
    )


def _span(event: CallEvent) -> timedelta | None:
    """Return how long somebody was on the line; ``None`` where no sender knows.

    Senders give a call that nobody answered no length: then the wait counts, and without one nothing does.
    """
    spans = [span for span in (event.duration, event.wait_time, event.talk_time) if span is not None]
    longest = max(spans, default=None)
    return None if event.ending in UNANSWERED and not longest else longest
