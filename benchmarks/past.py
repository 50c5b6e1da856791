"""Writes what an installation has gathered within a year straight into its databases, as the product would have.

Quick, since nothing comes by HTTP: a million events take a minute or two.  Bodies are kept, as if nothing had been
removed: that is more than the product keeps, and worse to search.
"""

from __future__ import annotations

import json
import random
import secrets
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Table, insert, text
from sqlalchemy.event import listen

from benchmarks.customers import number_of
from middleware.console.access import build_access
from middleware.console.roles import Role
from middleware.console.tables import console_audit
from middleware.demo.samples import SAMPLES, Situation
from middleware.inbox.store import Inbox
from middleware.inbox.tables import attempt, call, delivery, event, lane, logged_call, mark
from middleware.installation_key import load_key
from middleware.lookup.card import Miss
from middleware.lookup.trace import Trace
from middleware.lookup.traces import MAX_KEPT, TraceLog
from middleware.metrics import history
from middleware.metrics.counts import Counts
from middleware.metrics.names import CRM_REQUESTS, DELIVERY_ATTEMPTS, EVENTS, LOOKUP_SECONDS, LOOKUPS
from middleware.monitoring.tables import alarm
from middleware.recordings.tables import recording

HOSTER, PASSWORD = "ada", "a long enough password"
YEAR = timedelta(days=360)
AT_ONCE = 2_000  # calls that are written together
CHANNEL = "busy-stub"
SELDOM = 10  # of so many spans a customer has counted something in one
QUEUED, REPLACED, ALARMS, AUDITED = 50, 12, 100, 50_000
# of a thousand calls, up to which place one ends so
_ENDS = ((5, "dead"), (15, "parked"), (20, "waiting"), (60, "ignored"), (70, "noted"), (1000, "delivered"))
_WORDS = {"delivered": "written", "waiting": "the CRM answered 503", "dead": "the CRM refused it: 422"}
_BUCKETS = {  # of how long lookups took
    "hit": range(len(LOOKUP_SECONDS.bounds)),
    "partial hit": range(10, 13),
    "stale hit": range(3),
    "miss": range(9),
    "failed": range(3, 8),
    "busy": range(1),
    "timed out": range(11, 13),
}
_ADD_SAMPLE = "INSERT INTO history VALUES (?, ?, ?, ?, ?, ?, ?)"
_QUICK = "PRAGMA synchronous = OFF; PRAGMA cache_size = -500000; PRAGMA wal_autocheckpoint = 100000"
Rows = dict[Table, list[dict[str, Any]]]


@dataclass(slots=True, kw_only=True)
class Past:
    """What was written, and what of it the pages are asked for; ``found`` has an event's id for each state."""

    events: int
    customers: int
    moment: datetime  # of the latest call
    found: dict[str, str] = field(default_factory=dict)
    call_id: str = ""
    number: str = ""
    trace_id: str = ""


def customer_of(place: int) -> str:
    """Return a customer's id; the first have the most calls."""
    return f"c{place:04}"


def write_past(folder: Path, database_url: str, *, events: int, customers: int) -> Past:
    """Fill the databases of an installation whose data lies in ``folder``; it does not run meanwhile."""
    now = datetime.now(UTC)
    inbox = Inbox(database_url, key=load_key(folder), now=lambda: now)
    build_access(inbox, load_key(folder)).users.add(HOSTER, Role.HOSTER, PASSWORD)
    past = Past(events=events, customers=customers, moment=now)
    try:
        _write_calls(_Calls(inbox, past), inbox)
        with inbox.database.write(is_long=True) as connection:
            _write_rest(connection, past, now)
        with inbox.database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if inbox.database.dialect == "postgresql":  # SQLite has no servant that does this by itself
                connection.execute(text("VACUUM ANALYZE"))
    finally:
        inbox.close()
    _write_traces(folder, past)
    _write_counts(folder / "metrics.db", past, now.timestamp())
    return past


def _write_calls(calls: _Calls, inbox: Inbox) -> None:
    engine = inbox.database.engine
    if engine.dialect.name == "sqlite":  # nobody needs it if the machine stops now
        listen(engine, "connect", lambda connection, _: connection.executescript(_QUICK))
        engine.dispose()
    for rows in calls:
        with inbox.database.write(is_long=True) as connection:
            _insert(connection, rows)


def _insert(connection: Connection, rows: Rows) -> None:
    for table in sorted(rows, key=lambda table: (table is not call, table is not event, table is not delivery)):
        connection.execute(insert(table), rows[table])


class _Calls:
    """Makes the rows of all calls up, the oldest first, some at a time."""

    def __init__(self, inbox: Inbox, past: Past) -> None:
        self._inbox = inbox
        self._past = past
        self._random = random.Random(7)
        self._now = inbox.now()
        self._event = self._delivery = 0
        self._bodies: dict[str, list[bytes]] = {}

    def __iter__(self) -> Iterator[Rows]:
        """Return what is to be written together."""
        place = 0
        while self._event < self._past.events:
            rows: Rows = defaultdict(list)
            for _ in range(AT_ONCE):
                place += 1
                self._add(rows, place)
            yield rows

    def _add(self, rows: Rows, place: int) -> None:
        share = min(1.0, self._event / self._past.events)
        at = self._now - YEAR * (1 - share) - timedelta(minutes=5)
        tenant = customer_of(int(self._past.customers * self._random.random() ** 2))
        number = number_of(self._random.randrange(1_000_000))
        state = next(state for end, state in _ENDS if place % 1000 < end)
        if place % 500 == 77:
            return self._add_events(rows, ["cdr"], tenant, number, at, None, "quarantined", '{"start": ["Missing."]}')
        if self._past.events - self._event < QUEUED:
            return self._add_events(rows, ["calllog"], tenant, number, at, None, "queued")
        if place < 20 * REPLACED and place % 20 == 0:
            return self._add_events(rows, ["cdr"], tenant, number, at, None, "replaced")
        call_id, stamp = secrets.token_hex(12), at.timestamp()
        unlogged = state if state in ("ignored", "noted") else None
        rows[call].append(
            {
                "seq": place,
                "id": call_id,
                "tenant": tenant,
                "key": secrets.token_hex(32),
                "version": 1,
                "state": unlogged or "logged",
                "reason": unlogged and "The customer leaves such calls out.",
            }
        )
        senders = ["calllog", "recording"] if place % 10 < 3 else ["pbx"] if place % 10 < 6 else ["calllog"]
        self._add_events(rows, senders, tenant, number, at, place, "planned", shown_as=state)
        if unlogged is None:
            self._add_delivery(rows, place, tenant, stamp, state)
        if state == "delivered":
            hashed = self._inbox.hash_number(tenant, number)
            logged = {"tenant": tenant, "number": hashed, "call_seq": place, "started_at": stamp}
            rows[logged_call].append({**logged, "url": f"https://crm.example/calls/{place}"})
        if len(senders) > 1:
            rows[recording].append(_recording(tenant, call_id, stamp, place))
        self._past.call_id, self._past.number, self._past.moment = call_id, number, at
        return None

    def _add_events(
        self,
        rows: Rows,
        senders: list[str],
        tenant: str,
        number: str,
        at: datetime,
        call_seq: int | None,
        state: str,
        reason: str | None = None,
        shown_as: str | None = None,
    ) -> None:
        for sender in senders:
            self._event += 1
            event_id = secrets.token_hex(12)
            rows[event].append(
                {
                    "seq": self._event,
                    "id": event_id,
                    "tenant": tenant,
                    "sender": sender,
                    "key": secrets.token_hex(32),
                    "digest": secrets.token_hex(32),
                    "content_type": "application/json",
                    "raw": self._body(sender, number, at),
                    "received_at": at.timestamp(),
                    "state": state,
                    "reason": reason,
                    "call_seq": call_seq,
                }
            )
            self._past.found[shown_as or state] = event_id
            if call_seq is not None:
                span = {"begin": at.timestamp() - 95, "end": at.timestamp(), "event_seq": self._event}
                hashed = self._inbox.hash_mark(tenant, f"contact {number}")
                rows[mark] += [{"tenant": tenant, "what": what, **span} for what in (hashed, secrets.token_hex(32))]

    def _body(self, sender: str, number: str, at: datetime) -> bytes:
        made_up = Situation(
            contact=number,
            own="+46846500400",
            began_at=at - timedelta(seconds=100),
            duration=timedelta(seconds=95),
            call_id=secrets.token_hex(12),
            summary="Wants a refund.",
        )
        return json.dumps(next(iter(SAMPLES[sender].values()))(made_up)).encode()

    def _add_delivery(self, rows: Rows, call_seq: int, tenant: str, stamp: float, state: str) -> None:
        self._delivery += 1
        tries = 0 if state == "parked" else 1 if state == "delivered" else 3
        rows[delivery].append(
            {
                "id": self._delivery,
                "call_seq": call_seq,
                "tenant": tenant,
                "channel": CHANNEL,
                "state": state,
                "due_at": stamp,
                "attempts": tries,
                "first_attempt_at": stamp if tries else None,
                "external_id": str(call_seq) if state == "delivered" else None,
                "url": f"https://crm.example/calls/{call_seq}" if state == "delivered" else None,
                "finished_at": stamp if state == "delivered" else None,
            }
        )
        for i in range(tries):
            rows[attempt].append(
                {
                    "delivery_id": self._delivery,
                    "at": stamp + i,
                    "took_ms": 120,
                    "outcome": {"waiting": "retry"}.get(state, state),
                    "error": None if state == "delivered" else "CRMError",
                    "words": _WORDS[state],
                }
            )


def _recording(tenant: str, call_id: str, stamp: float, place: int) -> dict[str, Any]:
    return {
        "id": secrets.token_hex(12),
        "tenant": tenant,
        "call_key": call_id,
        "source": secrets.token_hex(32),
        "kind": "recording",
        "state": "expired" if place % 1000 == 1 else "kept",
        "noted_at": stamp,
        "link_dies_at": stamp + 3600,
        "due_at": stamp,
        "expires_at": stamp + 90 * 86400,
    }


def _write_rest(connection: Connection, past: Past, now: datetime) -> None:
    """Write lanes, some of them paused, alarms, and what people did."""
    ids = [customer_of(i) for i in range(past.customers)]
    lanes = [{"tenant": one, "channel": CHANNEL, "paused_revision": None} for one in ids]
    for refused in lanes[3::50]:
        refused["paused_revision"] = "1"
    connection.execute(insert(lane), lanes)
    raised = {"kind": "dead", "is_raised": True, "since": now.timestamp(), "amount": 1, "is_told": True}
    told = {"told_amount": 1, "told_at": now.timestamp(), "due_at": 0.0, "attempts": 0}
    connection.execute(insert(alarm), [{**raised, **told, "subject": one} for one in ids[:ALARMS]])
    begin = (now - YEAR).timestamp()
    done = {"who": HOSTER, "action": "body shown", "about": "", "address": "127.0.0.1"}
    connection.execute(
        insert(console_audit),
        [
            {**done, "customer": ids[i % len(ids)], "at": begin + i * YEAR.total_seconds() / AUDITED}
            for i in range(AUDITED)
        ],
    )


def _write_traces(folder: Path, past: Past) -> None:
    kept = TraceLog(folder / "traces.db", key=load_key(folder))
    for i in range(MAX_KEPT):
        trace = Trace(f"{i:032x}", cache="miss")
        with trace.span("contact", source=CHANNEL):
            pass
        kept.add(
            trace,
            customer_of(i % past.customers),
            number_of(i),
            Miss(reason="Nobody in the CRM has the number."),
            trace.took,
        )
        if i % 1000 == 999:
            kept.flush()
    past.trace_id = f"{MAX_KEPT - 1:032x}"


def _write_counts(path: Path, past: Past, now: float) -> None:
    """Write the counts of every customer, and their past: of each hour and five minutes, and in total."""
    counts = Counts(path)
    ids = [customer_of(i) for i in range(past.customers)]
    for one in ids:
        for outcome in ("hit", "miss", "failed"):
            counts.looked_up(one, outcome, "miss", 0.1)
        counts.add(EVENTS, one, "calllog", "accepted")
        counts.add(DELIVERY_ATTEMPTS, one, CHANNEL, "delivered")
        counts.add(CRM_REQUESTS, one, CHANNEL, "200")
    counts.publish()
    with closing(sqlite3.connect(path)) as database, database:
        for span, kept_for in history.SPANS.items():
            for begin in range(int(now - kept_for) // span * span + span, int(now) // span * span, span):
                database.executemany(_ADD_SAMPLE, _samples(span, begin, ids))


def _samples(span: int, begin: int, ids: list[str]) -> Iterator[tuple[int, int, str, str, str, int, float]]:
    for outcome, buckets in _BUCKETS.items():
        for bucket in buckets:
            yield span, begin, history.TOTAL, LOOKUPS.name, outcome, bucket, 30.0
    few = (begin // span) % SELDOM  # nobody is called every five minutes
    for whose in ids[few::SELDOM]:
        yield span, begin, whose, LOOKUPS.name, "hit", 4, 3.0
    for whose in (history.TOTAL, *ids[few::SELDOM]):
        yield span, begin, whose, EVENTS.name, "accepted", -1, 2.0
        yield span, begin, whose, DELIVERY_ATTEMPTS.name, "delivered", -1, 1.0
