"""``Worker``: one thread leases lanes, a pool delivers them; a hung CRM holds up nobody else's."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, wait
from datetime import timedelta
from functools import partial
from threading import Event, Lock, Thread
from typing import Any, Protocol

import structlog
from sqlalchemy import Row

from middleware.crm.threads import DaemonPool
from middleware.delivery import schedule
from middleware.delivery.calls import digest_of, hear_body, merged_event, record_of
from middleware.delivery.outcome import Dead, Delivered, Ignored, Outcome, Parked, Paused, Retry, Wait, outcome_of
from middleware.delivery.skip import why_skipped
from middleware.delivery.write import Job, write_call
from middleware.errors import CRMTimeoutError, StorageError
from middleware.inbox.calls import Heard
from middleware.inbox.planning import Plan, Planner
from middleware.inbox.queue import LEASE, Claimed, Lane, Queue
from middleware.inbox.retention import Retention
from middleware.inbox.store import Body, Inbox, StoredCall, body_of
from middleware.model.call import CallRecord, Media
from middleware.model.deadline import Deadline
from middleware.model.phone import NumberKind
from middleware.receivers.body import UnreadableBody
from middleware.receivers.fields import FieldErrors
from middleware.tenants.registry import Tenants
from middleware.tenants.tenant import Tenant

HARD_DEADLINE = timedelta(seconds=10)  # of one attempt, all its requests together
NOTE_WITHIN = timedelta(seconds=15)  # how an attempt ended: else it is in doubt, and its lane waits for the lease
RETRY_NOTE = 0.5  # seconds between two tries of that
POLL = 0.2  # seconds between two looks at an idle inbox
LANES = 64  # at the same time, per worker
BATCH = 50  # deliveries of a lane before others have their turn
PURGE_EVERY = timedelta(hours=1)
RECHECK = 5.0  # seconds until a paused lane looks whether its configuration has changed

assert (HARD_DEADLINE + NOTE_WITHIN).total_seconds() < LEASE, "a lease must outlast an attempt"

log = structlog.get_logger("m8crm.delivery")
OnDelivered = Callable[[str, str], None]


class MediaKeeper(Protocol):
    """Keeps recordings (``Recordings``)."""

    def note(self, tenant_id: str, call_key: str, media: Iterable[Media]) -> int:
        """Remember what a sender has named for a call."""

    def link_of(self, tenant_id: str, call_key: str) -> str | None:
        """Return the link that a call's log bears."""


class NoMedia:
    """Keeps nothing."""

    def note(self, _tenant_id: str, _call_key: str, _media: Iterable[Media]) -> int:
        """Forget it."""
        return 0

    def link_of(self, _tenant_id: str, _call_key: str) -> str | None:
        """Return no link."""
        return None


class Worker:
    """Delivers what the inbox holds; ``on_delivered`` is told customer and number of every written call."""

    def __init__(
        self,
        inbox: Inbox,
        tenants: Tenants,
        *,
        on_delivered: OnDelivered = lambda _tenant_id, _number: None,
        media: MediaKeeper | None = None,
        random: Callable[[], float] = random.random,
        hard_deadline: timedelta = HARD_DEADLINE,
    ) -> None:
        self._inbox = inbox
        self._tenants = tenants
        self._queue = Queue(inbox)
        self._planner = Planner(inbox)
        self._retention = Retention(inbox)
        self._purge_at = inbox.now()
        self._on_delivered = on_delivered
        self._media = media or NoMedia()
        self._random = random
        self._hard_deadline = hard_deadline
        self._pool = DaemonPool("delivery")
        self._running: set[Future[int]] = set()
        self._lock = Lock()
        self._stopping = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Deliver on threads of its own until :meth:`stop`."""
        self._thread = Thread(target=self._loop, name="dispatcher", daemon=True)
        self._thread.start()

    def stop(self, grace: float = 12.0) -> None:
        """Finish what is under way, for at most ``grace`` seconds, and give the leases back."""
        self._stopping.set()
        if self._thread:
            self._thread.join(grace)
        wait(self._running, timeout=grace)
        try:
            self._queue.release_all()
        except StorageError:
            log.warning("leases_not_given_back")

    def run_once(self) -> int:
        """Deliver all that is due now and return how many attempts were made."""
        self._plan()
        lanes = self._queue.claim_lanes(LANES)
        return sum(future.result() for future in [self._pool.submit(self._work_lane, place) for place in lanes])

    def _loop(self) -> None:
        while not self._stopping.is_set():
            try:
                self._purge()
                self._plan()
                with self._lock:
                    free = LANES - len(self._running)
                for place in self._queue.claim_lanes(free) if free > 0 else ():
                    self._launch(place)
            except StorageError as error:
                log.error("inbox_failed", error=str(error))
            except Exception as error:  # the dispatcher must live; what it met is in the log
                log.exception("dispatcher_failed", error=type(error).__name__)
            self._stopping.wait(POLL)

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
    def _plan(self) -> None:
        after = 0
        while rows := self._planner.queued(after=after):
            for row in rows:
                self._plan_event(row)
            after = rows[-1].seq

    def _plan_event(self, row: Row[Any]) -> None:
        tenant = self._tenants.get(row.tenant)
        if tenant is None:  # his file is broken or gone: the event waits
            return

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
                self._media.note(tenant.id, call_id, heard.event.media)
        except FieldErrors as error:
            self._planner.set_aside(row.seq, json.dumps(error.errors, default=str))
        except StorageError:
            raise
        except Exception as error:  # one event that nobody can compose must not hold up all customers
            log.error("event_not_composed", event_id=row.id, customer=row.tenant, error=type(error).__name__)
            self._planner.set_aside(row.seq, json.dumps({"event": [type(error).__name__]}))

    def _decide(self, tenant: Tenant, bodies: Sequence[Body]) -> Plan:
        """Return where the call is written, and when, or why it is not."""
        event = merged_event(bodies, tenant)
        if not event.kind.is_logged:
            return Plan(state="noted", reason="Nothing says yet that the call has ended.")
        record = record_of(StoredCall(id="", key="", bodies=tuple(bodies)), event, tenant)
        kind = record.contact_number.kind
        if record.contact_number.e164 in tenant.own_numbers or kind not in (NumberKind.DIALLABLE, NumberKind.OPAQUE):
            return Plan(state="ignored", reason=f"The other side is {kind.value} or the customer's own number.")
        if reason := why_skipped(event, record, tenant):
            return Plan(state="ignored", reason=reason)
        if not tenant.calls.log_to:
            return Plan(state="ignored", reason="The customer has no CRM that calls are logged to.")
        now = self._inbox.now().timestamp()
        patience = bodies[0].received_at.timestamp() + tenant.calls.wait.total_seconds()
        if event.started_at is None:  # a word about a call that others will tell more of
            return Plan(channels=dict.fromkeys(tenant.calls.log_to, patience))
        missing = set(tenant.calls.expect) - {body.sender for body in bodies}
        waits = [name for name in tenant.calls.log_to if missing and self._is_final(tenant, name)]
        return Plan(channels={name: patience if name in waits else now for name in tenant.calls.log_to})

    def _is_final(self, tenant: Tenant, channel: str) -> bool:
        """Whether the channel's record cannot be completed later, so that all parts should be there at once."""
        source = tenant.source(channel)
        return source is not None and not source.adapter.can("update_call")

    # one lane -----------------------------------------------------------------------------------------
    def _work_lane(self, place: Lane) -> int:
        tenant = self._tenants.get(place.tenant_id)
        source = tenant.source(place.channel) if tenant else None
        if tenant is None or source is None or place.paused_revision == tenant.revision:
            self._queue.release(place, due_at=self._at(RECHECK))
            return 0
        failures, tried = place.failures, 0
        while tried < BATCH and not self._stopping.is_set():
            claimed = self._queue.claim_next(place)
            if claimed is None:
                break
            tried += 1
            outcome = self._attempt(tenant, place, claimed)
            match outcome:
                case Retry(is_lane=True):
                    failures += 1
                    pause = schedule.backoff(failures, self._random).total_seconds()
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
        outcome, record = self._try(tenant, place, claimed)
        took = round((time.monotonic() - began) * 1000)
        changes = self._changes(claimed, outcome)
        if record:
            changes["written"] = digest_of(record)
        told = {
            "took_ms": took,
            "outcome": type(outcome).__name__.lower() if changes.get("state") != "dead" else "dead",
            "error": getattr(outcome, "error", None),
            "words": outcome.words,
        }
        self._note(partial(self._queue.finish, place, claimed, changes, told, record))
        if record:
            self._on_delivered(tenant.id, str(record.contact_number))
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
        deadline = Deadline.after(NOTE_WITHIN)
        while True:
            try:
                return finish()
            except StorageError:
                if deadline.is_over or self._stopping.wait(RETRY_NOTE):
                    raise

    def _try(self, tenant: Tenant, place: Lane, claimed: Claimed) -> tuple[Outcome, CallRecord | None]:
        """Return how the attempt ended, and the call when it is in the CRM now."""
        if claimed.crashes >= schedule.MAX_CRASHES:
            words = f"Set aside: {claimed.crashes} workers died while they delivered it."
            return Dead(words=words, error="Crashed"), None
        source = tenant.source(place.channel)
        assert source is not None
        try:
            event = merged_event(claimed.call.bodies, tenant)
            if event.media:  # noted already, unless who planned the call was killed, or calls have become one
                self._media.note(tenant.id, claimed.call.id, event.media)
            link = self._media.link_of(tenant.id, claimed.call.id) if event.media else None
            record = record_of(claimed.call, event, tenant, source.adapter.log_format, link)
            if claimed.earlier and not claimed.is_in_doubt and claimed.written == digest_of(record):
                return Delivered(words="The CRM has all of it.", logged=claimed.earlier), None
            job = Job(
                tenant=tenant, source=source, call=record, is_in_doubt=claimed.is_in_doubt, earlier=claimed.earlier
            )
            deadline = Deadline.after(self._hard_deadline)
            future = self._pool.submit(write_call, job, deadline)
            try:
                outcome = future.result(timeout=self._hard_deadline.total_seconds())
                return outcome, record if isinstance(outcome, Delivered) else None
            except TimeoutError:
                if future.done():  # the adapter itself raised it
                    raise
                raise CRMTimeoutError("no answer in time") from None
        except BaseException as error:
            return outcome_of(error), None

    def _changes(self, claimed: Claimed, outcome: Outcome) -> dict[str, Any]:
        now = self._inbox.now().timestamp()
        match outcome:
            case Delivered():
                return {
                    "state": "delivered",
                    "finished_at": now,
                    "external_id": outcome.logged.external_id,
                    "url": outcome.logged.url,
                    "maybe_duplicate": outcome.maybe_duplicate,
                    "in_doubt": False,
                }
            case Ignored() | Dead():
                return {"state": "ignored" if isinstance(outcome, Ignored) else "dead", "finished_at": now}
            case Parked():
                is_old = now - claimed.call.bodies[0].received_at.timestamp() > schedule.PARK_FOR.total_seconds()
                due = self._at(schedule.PARK_LOOK.total_seconds())
                return {"state": "dead" if is_old else "parked", "due_at": due, "first_attempt_at": None}
            case Wait() | Paused():  # nothing was written and no attempt is used up
                return {"attempts": claimed.attempts - 1, "in_doubt": claimed.is_in_doubt}
            case Retry():
                is_late = now - claimed.first_attempt_at > schedule.GIVE_UP_AFTER.total_seconds()
                is_spent = outcome.is_unreadable and claimed.attempts >= schedule.UNREADABLE_ATTEMPTS
                due = self._at(schedule.backoff(claimed.attempts, self._random).total_seconds())
                state = "dead" if is_late or is_spent else "waiting"
                return {"state": state, "due_at": due, "in_doubt": outcome.is_unknown or claimed.is_in_doubt}

    def _at(self, seconds: float) -> float:
        return self._inbox.now().timestamp() + seconds
