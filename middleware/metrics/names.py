"""Every metric that ``/-/metrics`` exposes; ``docs/monitoring.rst`` has the same table, and a test compares them.

A customer is a label of counters and gauges only: with histograms 200 customers cost 300 ms a scrape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric; ``bounds`` are the upper limits of a histogram's buckets, in seconds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    words: str
    labels: tuple[str, ...] = ()
    bounds: tuple[float, ...] = ()


# counted by the processes of this machine -------------------------------------------------------------
LOOKUPS = Metric(
    name="m8crm_lookups_total",
    kind="counter",
    labels=("customer", "outcome", "cache"),
    words="Lookups that were answered.",
)
LOOKUP_SECONDS = Metric(
    name="m8crm_lookup_seconds",
    kind="histogram",
    labels=("cache",),
    bounds=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0),
    words="From a lookup's request to its answer.",
)
CRM_REQUESTS = Metric(
    name="m8crm_crm_requests_total",
    kind="counter",
    labels=("adapter", "outcome"),
    words="Requests to CRMs, and those that were spared them.",
)
BREAKER_OPEN_UNTIL = Metric(
    name="m8crm_crm_breaker_open_until_seconds",
    kind="gauge",
    labels=("customer", "source"),
    words="Unix time until which a CRM is left alone because it failed time and again; 0 when it answers again.",
)
EVENTS = Metric(
    name="m8crm_events_total",
    kind="counter",
    labels=("customer", "sender", "outcome"),
    words="Events that senders sent: accepted, duplicate, quarantined, or refused because they could not be stored.",
)
DELIVERY_ATTEMPTS = Metric(
    name="m8crm_delivery_attempts_total",
    kind="counter",
    labels=("customer", "channel", "outcome"),
    words="Attempts to write a call into a CRM.",
)
DELIVERY_SECONDS = Metric(
    name="m8crm_delivery_attempt_seconds",
    kind="histogram",
    labels=("adapter",),
    bounds=(0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    words="How long an attempt to write a call took.",
)
RECORDINGS = Metric(
    name="m8crm_recordings_total",
    kind="counter",
    labels=("customer", "outcome"),
    words="Recordings that were fetched (kept) or lost (failed, expired).",
)
RECORDING_BYTES = Metric(
    name="m8crm_recording_bytes_total",
    kind="counter",
    labels=("customer",),
    words="Bytes of the recordings that were fetched.",
)

# read when somebody asks ------------------------------------------------------------------------------
INBOX = Metric(
    name="m8crm_inbox",
    kind="gauge",
    labels=("state",),
    words="Events and calls by state, e.g. queued, waiting, parked, dead.",
)
OLDEST_DUE = Metric(
    name="m8crm_oldest_due_seconds",
    kind="gauge",
    words="For how long the oldest due event or call has been waiting for its turn.",
)
OLDEST_RETRY = Metric(
    name="m8crm_oldest_retry_seconds",
    kind="gauge",
    words="For how long the call that has been tried longest is being tried without success.",
)
DEAD_LETTERS = Metric(
    name="m8crm_dead_letters",
    kind="gauge",
    labels=("customer",),
    words="Calls that will not be tried again until somebody retries them.",
)
PAUSED = Metric(
    name="m8crm_paused",
    kind="gauge",
    labels=("customer", "channel"),
    words="1 while a CRM refuses the credentials and the deliveries to it pause.",
)
INDEX_CONTACTS = Metric(
    name="m8crm_index_contacts",
    kind="gauge",
    labels=("customer", "source"),
    words="Contacts in the number index of a CRM.",
)
INDEX_AGE = Metric(
    name="m8crm_index_age_seconds",
    kind="gauge",
    labels=("customer", "source"),
    words="How old a number index is; one that was never built has no age.",
)
INDEX_FAILURES = Metric(
    name="m8crm_index_failures",
    kind="gauge",
    labels=("customer", "source"),
    words="How often in a row a number index could not be followed.",
)
DISCONNECTED = Metric(
    name="m8crm_disconnected",
    kind="gauge",
    labels=("customer", "source"),
    words="1 while a CRM has ended the connection (OAuth2) and nobody has authorised us again.",
)
UNRENEWED = Metric(
    name="m8crm_token_failures",
    kind="gauge",
    labels=("customer", "source"),
    words="How often in a row an OAuth2 token could not be renewed; absent when the last time went well.",
)
DATABASE_UP = Metric(name="m8crm_database_up", kind="gauge", words="1 when the database can be read, else 0.")
DISK_FREE = Metric(
    name="m8crm_disk_free_bytes", kind="gauge", words="What is left on the disk of M8CRM_DATA for this user."
)
ALARM = Metric(
    name="m8crm_alarm", kind="gauge", labels=("alarm", "subject"), words="1 while an alarm of m8crm's own is raised."
)
BUILD = Metric(name="m8crm_build_info", kind="gauge", labels=("version",), words="Always 1; the label says what runs.")

COUNTED = (
    LOOKUPS,
    LOOKUP_SECONDS,
    CRM_REQUESTS,
    BREAKER_OPEN_UNTIL,
    EVENTS,
    DELIVERY_ATTEMPTS,
    DELIVERY_SECONDS,
    RECORDINGS,
    RECORDING_BYTES,
)
INDEX = (INDEX_CONTACTS, INDEX_AGE, INDEX_FAILURES)
READ = (
    INBOX,
    OLDEST_DUE,
    OLDEST_RETRY,
    DEAD_LETTERS,
    PAUSED,
    *INDEX,
    DISCONNECTED,
    UNRENEWED,
    DATABASE_UP,
    DISK_FREE,
    ALARM,
    BUILD,
)
METRICS = COUNTED + READ
