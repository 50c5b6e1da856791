"""Puts kept recordings into the CRM, each once, after their call is there.

It is done on a lane of its own: a large file holds up no call, and what becomes of it leaves the written call as it is.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from typing import Protocol

from middleware.crm.base import Context
from middleware.crm.budget import Lane
from middleware.crm.context import build_context
from middleware.delivery.outcome import Delivered, Outcome, Retry, outcome_of
from middleware.errors import (
    CRMAuthError,
    CRMRejectedError,
    CRMTimeoutError,
    RateLimitedError,
    StorageError,
    UnsupportedError,
)
from middleware.model.call import CallRecord, LoggedCall, RecordingFile
from middleware.model.deadline import Deadline
from middleware.tenants.tenant import Source, Tenant

_SUFFIX = "#recordings"  # of a channel: behind the name of its CRM
_NOTHING_DONE = (RateLimitedError, CRMAuthError, CRMRejectedError, UnsupportedError)


class AttachmentKeeper(Protocol):
    """Knows which recordings are in which CRM (``Attachments``)."""

    def missing(self, tenant_id: str, call_key: str, channel: str, logged: LoggedCall) -> list[str]:
        """Return the ids of the call's kept recordings that the record does not have."""

    def open(self, recording_id: str) -> RecordingFile | None:
        """Open a recording to be sent, unless it is gone by now."""

    def begin(self, recording_id: str, channel: str, logged: LoggedCall) -> bool:
        """Remember that it is about to be sent; return whether an earlier attempt's end is unknown."""

    def end(self, recording_id: str, channel: str, logged: LoggedCall, *, is_attached: bool) -> None:
        """Remember how it ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachJob:
    """Whose recordings to attach, and to what."""

    tenant: Tenant
    source: Source
    call: CallRecord
    logged: LoggedCall
    keeper: AttachmentKeeper


def channel_of(crm: str) -> str:
    """Return the channel on which a CRM gets its recordings."""
    return crm + _SUFFIX


def crm_of(channel: str) -> str:
    """Return the CRM of a channel of either kind."""
    return channel.removesuffix(_SUFFIX)


def is_wanted(tenant: Tenant, source: Source) -> bool:
    """Whether the customer's recordings go into this CRM."""
    return tenant.recordings.fetch and tenant.recordings.attach and source.adapter.can("attach_recording")


def attach_recordings(job: AttachJob, deadline: Deadline) -> Outcome:
    """Attach what is missing; raises what the adapter raises, and what is attached by then stays so."""
    account, adapter = job.source.account, job.source.adapter
    ctx = build_context(adapter, region=job.tenant.region, deadline=deadline, account=account, lane=Lane.CALLS)
    missing = job.keeper.missing(job.tenant.id, job.call.id, job.source.name, job.logged)
    ended = [_attach(job, recording_id, ctx) for recording_id in missing]
    words = f"Recordings attached: {len(ended)}."
    if any(ended):
        words += " One was sent again after an attempt whose end is unknown: may be a duplicate."
    return Delivered(words=words, logged=job.logged, maybe_duplicate=any(ended))


def outcome_of_attaching(error: BaseException) -> Outcome:
    """Return what to do about a recording that could not be attached."""
    if isinstance(error, StorageError):
        words = f"The recording cannot be read now ({error})."
        return Retry(words=words, error=type(error).__name__, is_lane=False, is_unknown=True)
    outcome = outcome_of(error, "the recording")
    if isinstance(outcome, Retry) and isinstance(error, CRMTimeoutError):  # one large file may not hold up the others
        return replace(outcome, is_lane=False)
    return outcome


def _attach(job: AttachJob, recording_id: str, ctx: Context) -> bool:
    """Attach one recording; return whether the CRM may have it twice now."""
    adapter, logged, place = job.source.adapter, job.logged, (recording_id, job.source.name, job.logged)
    recording = job.keeper.open(recording_id)
    if recording is None:
        return False
    with closing(recording.file):
        is_in_doubt = job.keeper.begin(*place)
        can_ask = adapter.can("has_recording")
        try:
            if not (is_in_doubt and can_ask and adapter.has_recording(logged, recording, job.call, ctx)):
                adapter.attach_recording(logged, recording, job.call, ctx)
        except _NOTHING_DONE:
            if not is_in_doubt:
                job.keeper.end(*place, is_attached=False)
            raise
    job.keeper.end(*place, is_attached=True)
    return is_in_doubt and not can_ask
