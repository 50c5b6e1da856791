"""``Worker``: one thread makes calls of events, one leases lanes, a pool delivers; a hung CRM holds up no other's."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from dataclasses import replace
from datetime import timedelta
from functools import partial
from threading import Event, Lock, Thread
from typing import Any, Protocol

import structlog
from sqlalchemy import Row

from middleware.crm.threads import DaemonPool
from middleware.delivery import schedule
from middleware.delivery.attach import (
    AttachJob,
    AttachmentKeeper,
    attach_recordings,
    channel_of,
    crm_of,
    is_wanted,
    outcome_of_attaching,
)
from middleware.delivery.calls import digest_of, hear_body, merged_event, numbers_of, record_of
from middleware.delivery.outcome import Dead, Delivered, Ignored, Outcome, Parked, Paused, Retry, Wait, outcome_of
from middleware.delivery.skip import why_nobody, why_skipped
from middleware.delivery.write import Job, write_call
from middleware.errors import CRMTimeoutError, M8CRMError, StorageError, place_of
from middleware.inbox.calls import Heard, hear
from middleware.inbox.planning import Plan, Planner, TakenError
from middleware.inbox.queue import Claimed, Lane, Queue
from middleware.inbox.retention import Retention
from middleware.inbox.store import Body, Inbox, StoredCall, body_of
from middleware.lookup.indexed import NoIndex, NumberIndex
from middleware.metrics.counts import NOT_COUNTED, Counts
from middleware.metrics.names import DELIVERY_ATTEMPTS, DELIVERY_SECONDS
from middleware.model.call import CallRecord, Media
from middleware.model.deadline import Clock, Deadline
from middleware.receivers.body import UnreadableBody
from middleware.receivers.fields import FieldErrors
from middleware.tenants.registry import Tenants
from middleware.tenants.tenant import Source, Tenant

RETRY_NOTE = 0.5  # seconds between two tries of that
POLL = 0.2  # seconds between two looks at an idle inbox
LANES = 64  # at the same time, per worker
BATCH = 50  # deliveries of a lane before others have their turn
JUMP = 10.0  # seconds that a clock is put back at least, when it is not only set right
PURGE_EVERY = timedelta(hours=1)
RECHECK = 5.0  # seconds until a paused lane looks whether its configuration has changed

log = structlog.get_logger("m8crm.delivery")
OnDelivered = Callable[[str, str], None]


class MediaKeeper(Protocol):
    """Keeps recordings (``Recordings``)."""

    def note(self, tenant_id: str, call_key: str, media: Iterable[Media], numbers: Iterable[str]) -> int:
        """Remember what a sender has named for a call."""

    def linked(self, tenant_id: str, call_key: str, media: Sequence[Media]) -> tuple[Media, ...]:
        """Return the media with the links that a call's log bears."""

    def loss_of(self, tenant_id: str, call_key: str) -> str | None:
        """Return what the log says of a recording that nobody will hear."""


class NoMedia:
    """Keeps nothing."""

    def note(self, _tenant_id: str, _call_key: str, _media: Iterable[Media], _numbers: Iterable[str]) -> int:
        """Forget it."""
        return 0

    def linked(self, _tenant_id: str, _call_key: str, media: Sequence[Media]) -> tuple[Media, ...]:
        """Return the senders' own links."""
        return tuple(media)

    def loss_of(self, _tenant_id: str, _call_key: str) -> str | None:
        """Miss nothing."""
        return None


class Worker:
    """Delivers what the inbox holds; ``on_delivered`` is told customer and number of every written call."""

    def __init__(  # noqa: PLR0913 - all but two have defaults
        self,
        inbox: Inbox,
        tenants: Tenants,
        *,
        on_delivered: OnDelivered = lambda _tenant_id, _number: None,
        media: MediaKeeper | None = None,
        attachments: AttachmentKeeper | None = None,
        index: NumberIndex = NoIndex(),  # noqa: B008 - holds nothing
        random: Callable[[], float] = random.random,
        patience: schedule.Patience = schedule.Patience(),  # noqa: B008 - frozen
        counts: Counts = NOT_COUNTED,
        clock: Clock = time.monotonic,
    ) -> None:
        self._inbox = inbox
        self._clock = clock
        self._offset = inbox.now().timestamp() - clock()
        self._wary_until = clock()
        self._tenants = tenants
        self._queue = Queue(inbox, patience.lease)
        self._planner = Planner(inbox)
        self._retention = Retention(inbox)
        self._purge_at = inbox.now()
        self._on_delivered = on_delivered
        self._media = media or NoMedia()
        self._attachments = attachments
        self._index = index
        self._random = random
        self._patience = patience
        self._counts = counts
        self._pool = DaemonPool("delivery")
        self._running: set[Future[int]] = set()
        self._lock = Lock()
        self._stopping = Event()
        self._threads = (
            Thread(target=self._loop, args=(self._plan,), name="planner", daemon=True),
            Thread(target=self._loop, args=(self._dispatch,), name="dispatcher", daemon=True),
        )

    def start(self) -> None:
        """Deliver on threads of its own until :meth:`stop`."""
        for thread in self._threads:
            thread.start()

    def stop(self, grace: float = 12.0) -> None:
        """Finish what is under way, for at most ``grace`` seconds, and give the leases back."""
        self._stopping.set()
        for thread in self._threads:
            if thread.ident:  # it was started
                thread.join(grace)
        wait(self._running, timeout=grace)
        try:
            self._queue.release_all()
        except StorageError:
            log.warning("leases_not_given_back")

    def run_once(self) -> int:
        """Deliver all that is due now and return how many attempts were made."""
        self._mind_the_clock()
        while self._plan():
            pass
        lanes = self._claim(LANES)
        return sum(future.result() for future in [self._pool.submit(self._work_lane, place) for place in lanes])

    def _loop(self, step: Callable[[], bool]) -> None:
        while not self._stopping.is_set():
            is_more = False
            try:
                is_more = step()
            except StorageError as error:
                log.error("inbox_failed", error=str(error))
            except Exception as error:  # the thread must live; what it met is in the log
                log.exception("worker_failed", error=type(error).__name__)
            if not is_more:
                self._stopping.wait(POLL)

    def _dispatch(self) -> bool:
        """Begin with lanes that have something due; return whether there were any."""
        self._mind_the_clock()
        self._purge()
        with self._lock:
            free = LANES - len(self._running)
        lanes = self._claim(free) if free > 0 else []
        for place in lanes:
            self._launch(place)
        return bool(lanes)

    def _claim(self, limit: int) -> list[Lane]:
        return self._queue.claim_lanes(limit, is_wary=self._clock() < self._wary_until)

    def _mind_the_clock(self) -> None:
        """When the clock was put back, have nothing wait for moments that have been already.

        Put back or forward, the moments of leases are wrong for as long as a lease lasts.
        """
        offset = self._inbox.now().timestamp() - self._clock()
        jump = self._offset - offset
        if abs(jump) > JUMP:
            log.warning("clock_was_put_back" if jump > 0 else "clock_was_put_forward", seconds=round(abs(jump)))
            self._wary_until = self._clock() + self._patience.lease.total_seconds()
        if jump > JUMP:
            self._queue.put_back(jump)
        self._offset = offset  # not before: a database that is away does not make it undone

    def _purge(self) -> None:
        """Once an hour, remove what has been kept long enough."""
        now = self._inbox.now()
        if now >= self._purge_at:
            self._purge_at = now + PURGE_EVERY
            self._retention.purge()

    def _launch(self, place: Lane) -> None:
        future = self._pool.submit(self._work_lane, place)
        with self._lock:
            self._running.add(future)

        def done(finished: Future[int]) -> None:
            with self._lock:
                self._running.discard(finished)
            if finished.exception():
                log.error("lane_failed", customer=place.tenant_id, error=type(finished.exception()).__name__)

        future.add_done_callback(done)

    # events -> calls -> deliveries --------------------------------------------------------------------
    def _plan(self) -> bool:
        """Make calls of new events, some of every customer's; return whether that was possible with any."""
        done, tenant_id = 0, self._planner.next_tenant("")
        while tenant_id and not self._stopping.is_set():
            tenant = self._tenants.get(tenant_id)
            if tenant:  # else his file is broken or gone: his events wait
                done += self._plan_some(tenant)
            tenant_id = self._planner.next_tenant(tenant_id)
        return done > 0

    def _plan_some(self, tenant: Tenant) -> int:
        """Make calls of the customer's oldest events, unless another worker is at them; return of how many."""
        done = 0
        try:
            for row in self._planner.queued(tenant.id):
                done += self._plan_event(row, tenant)
        except TakenError:  # every further one would be planned by both, and by one of them in vain
            pass
        return done

    def _plan_event(self, row: Row[Any], tenant: Tenant) -> bool:
        """Return whether anything is done about the event."""

        def known(body: Body) -> Heard | None:
            try:
                return hear_body(body, tenant)
            except (FieldErrors, UnreadableBody):  # since a schema has changed
                return None

        try:
            heard = hear_body(body_of(row), tenant)
            decide = partial(self._decide, tenant)
            call_id = self._planner.plan(row, heard, known, tenant.calls.join_within, decide)
            if call_id and heard.event.media:
                self._media.note(tenant.id, call_id, heard.event.media, numbers_of(heard))
        except FieldErrors as error:
            self._planner.set_aside(row.seq, json.dumps(error.errors, default=str))
        except (StorageError, TakenError):
            raise
        except Exception as error:  # one event that nobody can compose must not hold up all customers
            log.error("event_not_composed", event_id=row.id, customer=row.tenant, error=type(error).__name__)
            self._planner.set_aside(row.seq, json.dumps({"event": [type(error).__name__]}))
        else:
            return call_id is not None
        return True

    def _decide(self, tenant: Tenant, call: StoredCall) -> Plan:
        """Return where the call is written, and when, or why it is not."""
        event = merged_event(call.bodies, tenant)
        if not event.kind.is_logged:
            return Plan(state="noted", reason="Nothing says yet that the call has ended.")
        record = record_of(call, event, tenant)
        if reason := why_nobody(record, tenant) or why_skipped(event, record, tenant):
            return Plan(state="ignored", reason=reason)
        if not tenant.calls.log_to:
            return Plan(state="ignored", reason="The customer has no CRM that calls are logged to.")
        now = self._inbox.now().timestamp()
        patience = call.bodies[0].received_at.timestamp() + tenant.calls.wait.total_seconds()
        if event.started_at is None:  # a word about a call that others will tell more of
            return Plan(channels=dict.fromkeys(tenant.calls.log_to, patience))
        missing = set(tenant.calls.expect) - {body.sender for body in call.bodies}
        waits = [name for name in tenant.calls.log_to if missing and self._is_final(tenant, name)]
        return Plan(channels={name: patience if name in waits else now for name in tenant.calls.log_to})

    def _is_final(self, tenant: Tenant, channel: str) -> bool:
        """Whether the channel's record cannot be completed later, so that all parts should be there at once."""
        source = tenant.source(channel)
        return source is not None and not source.adapter.can("update_call")

    # one lane -----------------------------------------------------------------------------------------
    def _work_lane(self, place: Lane) -> int:
        tenant = self._tenants.get(place.tenant_id)
        source = tenant.source(crm_of(place.channel)) if tenant else None
        if tenant is None or source is None or place.paused_revision == tenant.revision:
            self._queue.release(place, due_at=self._at(RECHECK))
            return 0
        failures, tried = place.failures, 0
        while tried < BATCH and not self._stopping.is_set():
            # in turn, so that behind a long outage a call of now does not wait for all of those
            claimed = self._queue.claim_next(place, newest=tried % 2 == 1)
            if claimed is None:
                break
            tried += 1
            outcome = self._attempt(tenant, place, claimed)
            match outcome:
                case Retry(is_lane=True):
                    failures += 1
                    pause = schedule.lane_backoff(failures, self._random).total_seconds()
                    self._queue.release(place, failures=failures, due_at=self._at(pause))
                    return tried
                case Wait():
                    pause = schedule.clamp_retry_after(outcome.wait).total_seconds()
                    self._queue.release(place, due_at=self._at(pause))
                    return tried
                case Paused():
                    self._queue.release(place, paused_revision=tenant.revision, due_at=self._at(RECHECK))
                    return tried
                case Delivered():
                    failures = 0
        self._queue.release(place, failures=failures, paused_revision=None)
        return tried

    def _attempt(self, tenant: Tenant, place: Lane, claimed: Claimed) -> Outcome:
        began = time.monotonic()
        source = tenant.source(crm_of(place.channel))
        assert source is not None
        is_attaching = source.name != place.channel
        outcome, record = self._try(tenant, source, claimed, is_attaching=is_attaching)
        seconds = time.monotonic() - began
        took = round(seconds * 1000)
        changes = self._changes(claimed, outcome)
        then = None
        if is_attaching:  # the record is the other channel's
            changes = {name: value for name, value in changes.items() if name not in ("external_id", "url")}
        elif isinstance(outcome, Delivered) and self._has_recordings(tenant, source, claimed, outcome):
            then = channel_of(source.name)
        if record:
            changes["written"] = digest_of(record)
        told = {
            "took_ms": took,
            "outcome": type(outcome).__name__.lower() if changes.get("state") != "dead" else "dead",
            "error": getattr(outcome, "error", None),
            "words": outcome.words,
        }
        self._note(partial(self._queue.finish, place, claimed, changes, told, record, then=then))
        if record:
            self._on_delivered(tenant.id, str(record.contact_number))
        self._counts.add(DELIVERY_ATTEMPTS, tenant.id, place.channel, str(told["outcome"]))
        self._counts.observe(DELIVERY_SECONDS, seconds, source.adapter.name)
        log.info(
            "delivery",
            event_id=claimed.call.bodies[0].event_id,
            call_id=claimed.call.id,
            customer=tenant.id,
            channel=place.channel,
            outcome=told["outcome"],
            error=told["error"],
            attempt=claimed.attempts,
            ms=took,
        )
        return outcome

    def _note(self, finish: Callable[[], None]) -> None:
        """Have it noted how an attempt ended, also by a database that is away for a moment; the lease lasts longer."""
        deadline = Deadline.after(self._patience.note)
        while True:
            try:
                return finish()
            except StorageError:
                if deadline.is_over or self._stopping.wait(RETRY_NOTE):
                    raise

    def _has_recordings(self, tenant: Tenant, source: Source, claimed: Claimed, outcome: Delivered) -> bool:
        """Whether recordings are kept that the record does not have."""
        if self._attachments is None or not is_wanted(tenant, source):
            return False
        try:
            return bool(self._attachments.missing(tenant.id, claimed.call.id, source.name, outcome.logged))
        except StorageError:  # whoever attaches them will see; how this attempt ended must be written all the same
            return True

    def _try(
        self, tenant: Tenant, source: Source, claimed: Claimed, *, is_attaching: bool
    ) -> tuple[Outcome, CallRecord | None]:
        """Return how the attempt ended, and the call when it is in the CRM now."""
        if claimed.crashes >= schedule.MAX_CRASHES:
            words = f"Set aside: {claimed.crashes} workers died while they delivered it."
            return Dead(words=words, error="Crashed"), None
        try:
            record = self._record(tenant, source, claimed)
        except StorageError:  # ours; the CRM was not asked
            return Wait(words="Nothing was sent: the middleware's own database failed.", wait=None), None
        except Exception as error:
            _log_fault(error, tenant, source, "compose")
            return outcome_of(error), None
        if is_attaching:
            return self._attach(tenant, source, claimed, record), None
        outcome = self._write(tenant, source, claimed, record)
        return outcome, record if isinstance(outcome, Delivered) else None

    def _write(self, tenant: Tenant, source: Source, claimed: Claimed, record: CallRecord) -> Outcome:
        try:
            if claimed.earlier and not claimed.is_in_doubt and claimed.written == digest_of(record):
                return Delivered(words="The CRM has all of it.", logged=claimed.earlier)
            job = Job(
                tenant=tenant,
                source=source,
                call=record,
                is_in_doubt=claimed.is_in_doubt,
                earlier=claimed.earlier,
                index=self._index,
            )
            return self._in_time(partial(write_call, job))
        except BaseException as error:
            _log_fault(error, tenant, source, "log_call")
            return outcome_of(error)

    def _attach(self, tenant: Tenant, source: Source, claimed: Claimed, record: CallRecord) -> Outcome:
        """Attach the call's recordings; whatever comes of it, the call stays as it is written."""
        try:
            logged = self._queue.find_logged(claimed.call_seq, source.name)
            if logged is None or self._attachments is None or not is_wanted(tenant, source):
                return Ignored(words="The CRM has no record to attach recordings to, or they are not wanted any more.")
            job = AttachJob(tenant=tenant, source=source, call=record, logged=logged, keeper=self._attachments)
            return self._in_time(partial(attach_recordings, job))
        except BaseException as error:
            _log_fault(error, tenant, source, "attach_recording")
            return outcome_of_attaching(error)

    def _in_time(self, work: Callable[[Deadline], Outcome]) -> Outcome:
        """Return what ``work`` returns, or raise, after the hard deadline if not before: an adapter may hang."""
        future = self._pool.submit(work, Deadline.after(self._patience.attempt))
        try:
            return future.result(timeout=self._patience.attempt.total_seconds())
        except TimeoutError:
            if future.done():  # the adapter itself raised it
                raise
            raise CRMTimeoutError("no answer in time") from None

    def _record(self, tenant: Tenant, source: Source, claimed: Claimed) -> CallRecord:
        """Return the call as it is written into this CRM, with what became of its recording."""
        event, call_id = merged_event(claimed.call.bodies, tenant), claimed.call.id
        if event.media:  # noted already, unless who planned the call was killed, or calls have become one
            heard = hear(event, claimed.call.bodies[0].received_at, tenant)
            self._media.note(tenant.id, call_id, event.media, numbers_of(heard))
            event = replace(event, media=self._media.linked(tenant.id, call_id, event.media))
            if not event.lasting_links("recording") and (loss := self._media.loss_of(tenant.id, call_id)):
                event = replace(event, facts={"Recording": loss, **event.facts})
        return record_of(claimed.call, event, tenant, source.adapter.log_format)

    def _changes(self, claimed: Claimed, outcome: Outcome) -> dict[str, Any]:
        now = self._inbox.now().timestamp()
        match outcome:
            case Delivered():
                return {
                    "state": "delivered",
                    "finished_at": now,
                    "external_id": outcome.logged.external_id,
                    "url": outcome.logged.url,
                    "in_doubt": False,
                    **({"maybe_duplicate": True} if outcome.maybe_duplicate else {}),  # which no update makes undone
                }
            case Ignored():
                return {"state": "ignored", "finished_at": now}
            case Dead():
                in_doubt = outcome.is_unknown or claimed.is_in_doubt
                return {"state": "dead", "finished_at": now, "in_doubt": in_doubt}
            case Parked():
                is_old = now - claimed.call.bodies[0].received_at.timestamp() > schedule.PARK_FOR.total_seconds()
                due = self._at(schedule.PARK_LOOK.total_seconds())
                return {"state": "dead" if is_old else "parked", "due_at": due, "first_attempt_at": None}
            case Wait() | Paused():  # nothing was written and no attempt is used up
                return {"attempts": claimed.attempts - 1, "in_doubt": claimed.is_in_doubt}
            case Retry():
                is_late = now - claimed.first_attempt_at > schedule.GIVE_UP_AFTER.total_seconds()
                is_spent = outcome.is_unreadable and claimed.attempts >= schedule.UNREADABLE_ATTEMPTS
                longest = schedule.LONGEST_OF_OUTAGE if outcome.is_lane else schedule.LONGEST
                due = self._at(schedule.backoff(claimed.attempts, self._random, longest=longest).total_seconds())
                state = "dead" if is_late or is_spent else "waiting"
                return {"state": state, "due_at": due, "in_doubt": outcome.is_unknown or claimed.is_in_doubt}

    def _at(self, seconds: float) -> float:
        return self._inbox.now().timestamp() + seconds


def _log_fault(error: BaseException, tenant: Tenant, source: Source, step: str) -> None:
    """Log the place of what nobody raised on purpose: the words of such an attempt send people to the log."""
    if not isinstance(error, M8CRMError):
        told = {"customer": tenant.id, "source": source.name, "step": step}
        log.error("adapter_bug", error=type(error).__name__, place=place_of(error), **told)
