"""The calls that we logged, as activities: they complete a card until the CRM's own search shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from middleware.delivery.calls import merged_event, record_of
from middleware.inbox.store import Inbox, StoredCall
from middleware.model.activity import Call
from middleware.model.call import CallRecord, Direction
from middleware.model.phone import PhoneNumber
from middleware.tenants.tenant import Tenant


class LinkKeeper(Protocol):
    """Knows the links of recordings (``Recordings``)."""

    def kept_links(self, tenant_id: str, call_keys: Sequence[str]) -> Mapping[str, str]:
        """Return by call the link to its recording, where that is kept."""


def logged_calls(inbox: Inbox, recordings: LinkKeeper, tenant: Tenant, number: PhoneNumber) -> Sequence[Call]:
    """Return the latest calls of ``number`` that are in the customer's CRM, newest first, with their recordings."""
    logged = inbox.list_logged(tenant.id, str(number))
    links = recordings.kept_links(tenant.id, [stored.id for stored in logged])
    return [_activity(_record(stored, tenant), stored.url, links.get(stored.id)) for stored in logged]


def _record(stored: StoredCall, tenant: Tenant) -> CallRecord:
    return record_of(stored, merged_event(stored.bodies, tenant), tenant)


def _activity(call: CallRecord, url: str | None, recording: str | None) -> Call:
    numbers = [str(call.contact_number), str(call.own_number)]
    from_number, to_number = numbers if call.direction is Direction.INBOUND else numbers[::-1]
    body = call.summary or call.body
    return Call(
        timestamp=call.started_at,
        start_time=call.started_at,
        duration=call.duration,
        from_number=from_number,
        to_number=to_number,
        custom_header=call.subject,
        body=f"Recording: {recording}\n\n{body}" if recording else body,  # in front: a card may cut a long text
        link=url or recording,
    )
