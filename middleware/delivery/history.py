"""The calls that we logged, as activities: they complete a card until the CRM's own search shows them."""

from __future__ import annotations

from collections.abc import Sequence

from middleware.delivery.calls import merged_event, record_of
from middleware.inbox.store import Inbox
from middleware.model.activity import Call
from middleware.model.call import CallRecord, Direction
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Tenant


def logged_calls(inbox: Inbox, tenant: Tenant, number: PhoneNumber) -> Sequence[Call]:
    """Return the latest calls of ``number`` that are in the customer's CRM, newest first."""
    return [
        _activity(record_of(stored, merged_event(stored.bodies, tenant), tenant), stored.url)
        for stored in inbox.list_logged(tenant.id, str(number))
    ]


def _activity(call: CallRecord, url: str | None) -> Call:
    numbers = [str(call.contact_number), str(call.own_number)]
    from_number, to_number = numbers if call.direction is Direction.INBOUND else numbers[::-1]
    return Call(
        timestamp=call.started_at,
        start_time=call.started_at,
        duration=call.duration,
        from_number=from_number,
        to_number=to_number,
        custom_header=call.subject,
        body=call.summary or call.body,
        link=url,
    )
