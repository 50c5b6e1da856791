"""The only place where the parts of a process are put together; ``app.py`` adds what answers HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from middleware import failpoints
from middleware.crm.account import Accounts
from middleware.crm.oauth import OAuthClient
from middleware.crm.redis_budget import RedisBudget
from middleware.delivery.history import logged_calls
from middleware.delivery.parked import ParkedCalls
from middleware.delivery.schedule import Patience
from middleware.delivery.worker import Worker
from middleware.errors import ConfigError, place_of
from middleware.generations import Generations
from middleware.inbox.due import Due
from middleware.inbox.store import Inbox
from middleware.index.lane import IndexLane
from middleware.index.store import NumberStore
from middleware.installation_key import load_key
from middleware.lookup.card import Hit, Result
from middleware.lookup.service import Limits, LookupService
from middleware.lookup.shared import SharedAnswers
from middleware.lookup.trace import Trace
from middleware.lookup.traces import TraceLog, outcome_of
from middleware.metrics.counts import NOT_COUNTED, Counts
from middleware.monitoring.tell import Teller
from middleware.monitoring.watch import Watch
from middleware.recordings.address import Outside
from middleware.recordings.lane import FetchLane
from middleware.recordings.service import Recordings
from middleware.recordings.store import open_store
from middleware.settings import ROOT, Settings
from middleware.shared_store import SharedStore
from middleware.tenants.registry import Tenants
from middleware.web.guesses import Guesses
from middleware.web.schemas.lookup import dump_card

if TYPE_CHECKING:  # extras
    from middleware.oauth.connections import Connections
    from middleware.oauth.tokens import StoredTokens

log = structlog.get_logger("m8crm")
TRIALS = 8  # searches that people try at the same time, per process


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What one process is made of."""

    settings: Settings
    key: bytes
    tenants: Tenants
    inbox: Inbox
    lookups: LookupService
    generations: Generations
    traces: TraceLog
    recordings: Recordings
    counts: Counts
    index: NumberStore
    guesses: Guesses
    accounts: Accounts
    connections: Connections | None = None
    shared: SharedAnswers | None = None

    def close(self) -> None:
        """Close what is open on disk, and to Redis."""
        if self.shared:
            self.shared.close()
        self.traces.flush()
        self.counts.publish()
        self.inbox.close()
        self.generations.close()


def build_parts(settings: Settings, *, shares_answers: bool = True) -> Parts:
    """Put the parts together; raises ``ConfigError`` or ``StorageError`` with what to do.

    Without ``shares_answers`` lookups ask the CRM whatever other machines know, and remark on what it brings.
    """
    assert_own_packages()
    failpoints.arm(settings.fail_at)
    key = load_key(settings.data)
    generations = Generations(settings.data / "generations", key)
    counts = Counts(settings.data / "metrics.db")
    inbox = Inbox(settings.database_url, key=key, now=lambda: datetime.now(UTC), counts=counts)
    traces = TraceLog(settings.data / "traces.db", key=key, after_batch=counts.publish)
    store = SharedStore(settings.redis_url, key=key) if settings.redis_url else None
    share = partial(RedisBudget, store) if store else None
    tokens, connections = _oauth(settings, inbox, key, lambda *crm: _client_of(tenants, *crm))
    accounts = Accounts(settings.data / "accounts", share=share, counts=counts, tokens=tokens)
    shared = SharedAnswers(store, generations) if store and shares_answers else None
    tenants = Tenants(settings.customers, accounts=accounts, good=settings.data / "customers-good")
    kept = open_store(settings.recordings, settings.data)
    recordings = Recordings(inbox, tenants, kept, key=key, public_url=settings.public_url)
    index = NumberStore(inbox)
    lookups = LookupService(
        dump=dump_card,
        generations=generations,
        own_calls=partial(logged_calls, inbox, recordings),
        index=index,
        shared=shared,
        keep_trace=partial(_looked_up, counts, traces, ParkedCalls(inbox)),
        limits=Limits(cache_bytes=settings.cache_bytes, searches=settings.threads),
        is_history_shared=inbox.database.dialect != "sqlite",
        remarks=not shares_answers,
    )
    return Parts(
        settings=settings,
        key=key,
        tenants=tenants,
        inbox=inbox,
        lookups=lookups,
        generations=generations,
        traces=traces,
        recordings=recordings,
        counts=counts,
        index=index,
        guesses=Guesses(settings.trusted_proxies),
        accounts=accounts,
        connections=connections,
        shared=shared,
    )


def _oauth(
    settings: Settings, inbox: Inbox, key: bytes, find: Callable[[str, str], OAuthClient | None]
) -> tuple[StoredTokens | None, Connections | None]:
    """Return what keeps and renews tokens, and what asks for them; nothing where the extra is not installed."""
    if find_spec("authlib") is None or find_spec("cryptography") is None:
        return None, None
    from middleware.oauth.connections import Connections  # noqa: PLC0415 - an extra
    from middleware.oauth.grants import Grants  # noqa: PLC0415
    from middleware.oauth.protocol import Protocol  # noqa: PLC0415
    from middleware.oauth.tokens import StoredTokens  # noqa: PLC0415
    from middleware.oauth.vault import Vault  # noqa: PLC0415

    vault, protocol = Vault(Path(settings.token_keys)), Protocol()
    grants = Grants(inbox.database, vault, inbox.now)
    return StoredTokens(grants, protocol), Connections(inbox.database, vault, grants, protocol, key=key, find=find)


def _client_of(tenants: Tenants, customer: str, crm: str) -> OAuthClient | None:
    tenant = tenants.get(customer)
    source = tenant.source(crm) if tenant else None
    return source.client if source else None


def _looked_up(
    counts: Counts,
    traces: TraceLog,
    parked: ParkedCalls,
    trace: Trace,
    customer: str,
    number: str,
    result: Result,
    took: float,
) -> None:
    """Count it and keep the trace; when a CRM has just found the contact, calls that waited for him are delivered."""
    counts.looked_up(customer, outcome_of(result), trace.cache, took)
    traces.add(trace, customer, number, result, took)
    if trace.cache == "miss" and isinstance(result, Hit):
        parked.appeared(customer, number)


def build_trial(parts: Parts) -> LookupService:
    """Return lookups that people try: past every cache, few at a time, and with remarks for adapters' authors."""
    return LookupService(
        dump=dump_card,
        generations=parts.generations,
        own_calls=partial(logged_calls, parts.inbox, parts.recordings),
        index=parts.index,
        keep_trace=partial(_looked_up, NOT_COUNTED, parts.traces, ParkedCalls(parts.inbox)),  # nobody has called
        limits=Limits(cache_bytes=0, searches=TRIALS),
        is_history_shared=parts.inbox.database.dialect != "sqlite",
        remarks=True,
    )


def build_worker(parts: Parts) -> Worker:
    """Return the worker that delivers what the inbox holds."""
    return Worker(
        parts.inbox,
        parts.tenants,
        on_delivered=parts.lookups.change,
        media=parts.recordings,
        index=parts.index,
        counts=parts.counts,
        attachments=parts.recordings.attachments,
        patience=Patience(
            attempt=timedelta(seconds=parts.settings.attempt), lease=timedelta(seconds=parts.settings.lease)
        ),
    )


def build_lane(parts: Parts, outside: Outside | None = None) -> FetchLane:
    """Return the lane that fetches recordings before their links die."""
    return FetchLane(parts.recordings, outside=outside, changed=Due(parts.inbox).compose_again, counts=parts.counts)


def build_index_lane(parts: Parts) -> IndexLane:
    """Return the lane that keeps the number indexes."""
    return IndexLane(parts.inbox, parts.tenants)


def build_watch(parts: Parts) -> Watch:
    """Return the watch that tells a person what is wrong."""
    settings = parts.settings
    return Watch(
        parts.inbox,
        Teller(settings.alarm_url, settings.alarm_command),
        installation=settings.public_url,
        folder=settings.data,
        after=settings.alarm_after,
        disk=settings.alarm_disk,
    )


def assert_own_packages() -> None:
    """Refuse to run with other people's packages: PyPI has an ``adapters`` and a ``middleware``, too."""
    for name in ("middleware", "adapters"):
        spec = find_spec(name)
        place = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if place != ROOT:
            raise ConfigError(name, [f"is imported from {place} and not from {ROOT}; start m8crm from its own folder"])


def mind_threads(end: Callable[[], None]) -> None:
    """Have ``end`` called when a thread dies of something that it does not expect.

    A process without one of its threads answers as before and delivers nothing; another one is started in its place.
    """

    def died(args: threading.ExceptHookArgs) -> None:
        name = args.thread.name if args.thread else None
        place = place_of(args.exc_value) if args.exc_value else None
        log.critical("thread_died", thread=name, error=args.exc_type.__name__, place=place)
        end()

    threading.excepthook = died
