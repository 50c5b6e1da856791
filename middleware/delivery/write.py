"""One attempt to write one call into one CRM; runs on a thread of its own and may hang."""

from __future__ import annotations

from dataclasses import dataclass

from middleware.crm.base import Context
from middleware.crm.budget import Lane
from middleware.crm.context import build_context
from middleware.delivery.outcome import Delivered, Ignored, Outcome, Parked
from middleware.lookup.verify import by_latest, find_verified, written_forms
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact
from middleware.model.deadline import Deadline
from middleware.tenants.tenant import Source, Tenant


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to write: ``earlier`` is the call as an older event of the same key left it in the CRM."""

    tenant: Tenant
    source: Source
    call: CallRecord
    is_in_doubt: bool
    earlier: LoggedCall | None


def write_call(job: Job, deadline: Deadline) -> Outcome:
    """Find the contact and write the call once; raises what the adapter raises."""
    adapter, call = job.source.adapter, job.call
    account = job.source.account
    ctx = build_context(adapter, region=job.tenant.region, deadline=deadline, account=account, lane=Lane.CALLS)
    if job.earlier is not None:
        return _update(job, job.earlier, ctx)
    if job.is_in_doubt and adapter.can("find_logged_call"):
        found = adapter.find_logged_call(call, ctx)
        if found is not None:
            return Delivered(words="An earlier attempt had written the call.", logged=found)
    contact = _find_contact(job, ctx)
    if contact is None:
        if job.tenant.calls.unknown == "ignore":
            return Ignored(words="Nobody in the CRM has the number.")
        return Parked(words="Nobody in the CRM has the number yet; it is looked for again every hour.")
    logged = adapter.log_call(call, contact, ctx)
    maybe = job.is_in_doubt and not adapter.can("find_logged_call")
    words = "Written again after an attempt whose end is unknown: may be a duplicate." if maybe else "Written."
    return Delivered(words=words, logged=logged, maybe_duplicate=maybe)


def _update(job: Job, earlier: LoggedCall, ctx: Context) -> Outcome:
    if not job.source.adapter.can("update_call"):
        return Delivered(words="The CRM has the call; its adapter cannot complete it.", logged=earlier)
    job.source.adapter.update_call(earlier, job.call, ctx)
    return Delivered(words="The CRM's record was completed.", logged=earlier)


def _find_contact(job: Job, ctx: Context) -> Contact | None:
    adapter, number = job.source.adapter, job.call.contact_number
    if number.opaque_id:
        return adapter.find_contact_by_id(number.opaque_id, ctx) if adapter.can("find_contact_by_id") else None
    for form in written_forms(adapter, number):
        contacts, _ = find_verified(adapter, number, form, ctx)
        if contacts:
            return by_latest(contacts)[0]
    return None
