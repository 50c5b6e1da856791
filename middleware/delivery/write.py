"""One attempt to write one call into one CRM; runs on a thread of its own and may hang."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from middleware.crm.base import Context
from middleware.crm.budget import Lane
from middleware.crm.context import build_context
from middleware.delivery.compose import append_line
from middleware.delivery.outcome import Delivered, Ignored, Outcome, Parked
from middleware.errors import (
    AdapterFaultError,
    CRMError,
    CRMRejectedError,
    CRMResponseError,
    IndexNotReadyError,
    TransientError,
    UnsupportedError,
)
from middleware.failpoints import reach
from middleware.lookup.indexed import NoIndex, NumberIndex
from middleware.lookup.verify import by_latest, find_verified, has_number, written_forms
from middleware.model.call import CallRecord, LoggedCall
from middleware.model.contact import Contact, ContactDraft
from middleware.model.deadline import Deadline
from middleware.tenants.log_template import Fact
from middleware.tenants.tenant import Source, Tenant

R = TypeVar("R", LoggedCall, Contact)
MAX_NAMED = 10  # further contacts of the number, in the body


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What to write: ``earlier`` is the call as an older event of the same key left it in the CRM."""

    tenant: Tenant
    source: Source
    call: CallRecord
    is_in_doubt: bool
    earlier: LoggedCall | None
    index: NumberIndex = field(default_factory=NoIndex)


def write_call(job: Job, deadline: Deadline) -> Outcome:
    """Find the contact and write the call once; raises what the adapter raises.

    An attempt whose end is unknown may have created the contact or the call: every attempt looks for both first.
    """
    adapter, call = job.source.adapter, job.call
    account = job.source.account
    ctx = build_context(adapter, region=job.tenant.region, deadline=deadline, account=account, lane=Lane.CALLS)
    if job.earlier is not None:
        return _update(job, job.earlier, ctx)
    if job.is_in_doubt and adapter.can("find_logged_call"):
        found = adapter.find_logged_call(call, ctx)
        if found is not None:
            found = _checked(found, LoggedCall, "find_logged_call")
            words = "An earlier attempt had written the call."
            return Delivered(words=words + _create_tasks(job, None, ctx), logged=found)
    contacts = _find_contacts(job, ctx) or _create_contact(job, ctx)
    if not contacts:
        return _nobody(job)
    reach("before-write")
    logged = _checked(adapter.log_call(_naming(job, contacts[1:]), contacts[0], ctx), LoggedCall, "log_call")
    reach("after-write")
    maybe = job.is_in_doubt and not adapter.can("find_logged_call")
    words = "Written again after an attempt whose end is unknown: may be a duplicate." if maybe else "Written."
    return Delivered(words=words + _create_tasks(job, contacts[0], ctx), logged=logged, maybe_duplicate=maybe)


def _checked(brought: R, kind: type[LoggedCall] | type[Contact], method: str) -> R:
    """Return what an adapter has brought; what is of another kind has no id to be noted by."""
    identity = getattr(brought, "external_id" if kind is LoggedCall else "id", None)
    if isinstance(brought, kind) and isinstance(identity, str):
        return brought
    told = f"{kind.__name__} whose id is no text" if isinstance(brought, kind) else type(brought).__name__
    raise AdapterFaultError(f"{method} returned {told}, not a {kind.__name__} with the id as the CRM has it")


def _nobody(job: Job) -> Outcome:
    unknown = job.tenant.calls.unknown
    if unknown == "ignore":
        return Ignored(words="Nobody in the CRM has the number.")
    cannot = " Nobody can be created for it: its adapter cannot, or it is no number." if unknown == "create" else ""
    return Parked(words=f"Nobody in the CRM has the number yet; it is looked for again every hour.{cannot}")


def _update(job: Job, earlier: LoggedCall, ctx: Context) -> Outcome:
    if not job.source.adapter.can("update_call"):
        words = "The CRM has the call; its adapter cannot complete it."
        return Delivered(words=words + _create_tasks(job, None, ctx), logged=earlier)
    others = _find_contacts(job, ctx)[1:] if job.tenant.calls.several == "all" else ()
    reach("before-write")
    job.source.adapter.update_call(earlier, _naming(job, others), ctx)
    reach("after-write")
    return Delivered(words="The CRM's record was completed." + _create_tasks(job, None, ctx), logged=earlier)


def _find_contacts(job: Job, ctx: Context) -> Sequence[Contact]:
    """Return whose call it is, and after him the others who share the number, where they shall be named."""
    adapter, number, contact_id = job.source.adapter, job.call.contact_number, job.call.contact_id
    can_by_id = adapter.can("find_contact_by_id")
    if not number.is_diallable:  # there is no number to verify by: the sender's word counts
        identity = number.opaque_id or contact_id
        found = _find_by_id(job, identity, ctx) if identity and can_by_id else None
        return [found] if found else []
    contacts = _find_indexed(job, ctx) if not adapter.is_searchable else _search(job, ctx)
    if contacts:
        return _chosen(job, contacts)
    found = _find_by_id(job, contact_id, ctx) if contact_id and can_by_id else None
    return [found] if found and has_number(found, number, ctx.region) else []


def _search(job: Job, ctx: Context) -> list[Contact]:
    adapter, number = job.source.adapter, job.call.contact_number
    for form in written_forms(adapter, number):
        contacts, _ = find_verified(adapter, number, form, ctx)
        if contacts:
            return contacts
    return []


def _find_indexed(job: Job, ctx: Context) -> list[Contact]:
    """Return who has the number in a CRM that cannot search for it, as the CRM has them now if it can tell."""
    adapter, number = job.source.adapter, job.call.contact_number
    indexed = job.index.find(job.tenant, job.source, number)
    contacts = list(indexed.contacts)
    if adapter.knows_contact_ids and adapter.can("find_contact_by_id"):
        read = [adapter.find_contact_by_id(contact.id, ctx) for contact in contacts]
        contacts = [contact for contact in read if contact and has_number(contact, number, ctx.region)]
    if not contacts and not indexed.is_final:
        raise IndexNotReadyError(indexed.words)
    return contacts


def _chosen(job: Job, contacts: list[Contact]) -> Sequence[Contact]:
    """Return the contact that the sender names, if he is among them, else the one that the policy takes, first."""
    several = job.tenant.calls.several
    ordered = contacts if several == "first" else by_latest(contacts)
    ordered = sorted(ordered, key=lambda contact: contact.id != job.call.contact_id)
    return ordered if several == "all" else ordered[:1]


def _find_by_id(job: Job, contact_id: str, ctx: Context) -> Contact | None:
    try:
        return job.source.adapter.find_contact_by_id(contact_id, ctx)
    except (CRMRejectedError, CRMResponseError, UnsupportedError):  # an id of another CRM may be none here
        return None


def _create_contact(job: Job, ctx: Context) -> Sequence[Contact]:
    adapter, call = job.source.adapter, job.call
    can = call.contact_number.is_diallable and adapter.can("create_contact")
    if job.tenant.calls.unknown != "create" or not can:
        return []
    name = " ".join((call.caller_name or "").split())[:200]
    draft = ContactDraft(
        number=call.contact_number,
        display_name=name if any(map(str.isalpha, name)) else str(call.contact_number),
        owner=call.owner,
    )
    return [_checked(adapter.create_contact(draft, ctx), Contact, "create_contact")]


def _naming(job: Job, others: Sequence[Contact]) -> CallRecord:
    """Return the call with the others who share the number; it is one record all the same."""
    if not others:
        return job.call
    names = ", ".join(contact.display_name for contact in others[:MAX_NAMED])
    line = Fact(label="The number is also that of", text=names)
    body = append_line(job.call.body, line, job.source.adapter.log_format)
    return replace(job.call, body=body, other_contacts=tuple(others))


def _create_tasks(job: Job, contact: Contact | None, ctx: Context) -> str:
    """Create a task for each action item; return what to tell of it.

    The call is in the CRM by now.  A failure that passes is raised only where the next attempt will find the call.
    """
    adapter, call = job.source.adapter, job.call
    if not (job.tenant.calls.tasks and call.action_items and adapter.can("create_task")):
        return ""
    is_safe = job.earlier is not None or adapter.can("find_logged_call")
    try:
        contact = contact or next(iter(_find_contacts(job, ctx)), None)
        if contact is None:
            return " Its tasks were not created: nobody in the CRM has the number any more."
        for item in call.action_items:
            adapter.create_task(contact, item, call, ctx)
    except CRMError as error:
        if is_safe and isinstance(error, TransientError):
            raise
        return f" Not all of its tasks could be created ({type(error).__name__})."
    return f" Tasks: {len(call.action_items)}."
