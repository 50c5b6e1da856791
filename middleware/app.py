"""The only place where the parts are put together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import structlog
from flask import Flask, Response, g

from middleware import __version__, failpoints
from middleware.console.access import build_access
from middleware.console.apart import Apart, answer_for_others
from middleware.console.mount import mount as mount_console
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
from middleware.logs import configure_logs
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
from middleware.settings import ROOT, Settings, load_settings
from middleware.shared_store import SharedStore
from middleware.tenants.registry import Tenants
from middleware.web import docs, events, health, lookup, oauth
from middleware.web import recordings as recording_links
from middleware.web.answers import broken_answer
from middleware.web.auth import TenantIdConverter
from middleware.web.guesses import Guesses
from middleware.web.problems import ProblemApi, respond
from middleware.web.requests import watch_requests
from middleware.web.schemas.lookup import ACTIVITY_SCHEMAS, dump_card

if TYPE_CHECKING:  # extras
    from middleware.console.openid import OpenID
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


def create_app(settings: Settings | None = None, *, parts: Parts | None = None) -> Flask:
    """Return the WSGI application."""
    settings = parts.settings if parts else settings or load_settings()
    configure_logs(settings.log_level, settings.log_format)
    parts = parts or build_parts(settings)
    app = Flask("m8crm", static_folder=None)
    app.config.update(
        API_TITLE="m8crm",
        API_VERSION=__version__,
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX="/-",
        OPENAPI_JSON_PATH="openapi.json",
        MAX_CONTENT_LENGTH=settings.max_body + 1,  # as read_body wants it
        PROPAGATE_EXCEPTIONS=False,
    )
    app.extensions["m8crm"] = parts
    app.url_map.merge_slashes = False  # a redirect would repeat the path, and with it whatever is in it
    app.url_map.converters["tenant_id"] = TenantIdConverter
    watch_requests(app, parts.key)
    app.register_error_handler(Exception, _broken)
    api = ProblemApi(app)
    _describe(api)
    api.register_blueprint(lookup.blueprint)
    api.register_blueprint(events.blueprint)
    app.register_blueprint(recording_links.blueprint)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(oauth.blueprint)
    app.register_blueprint(docs.blueprint)
    if settings.console:
        apart = Apart(settings.console_url, parts.key) if settings.console_url else None
        mount_console(app, build_access(parts.inbox, parts.key), build_trial(parts), _openid(parts), apart)
    return app


def create_console() -> Flask:
    """Return the WSGI application of the process that has the console's pages."""
    app = create_app(replace(load_settings(), console=True, console_url=None))
    answer_for_others(app, app.extensions["m8crm"].key)
    return app


def _openid(parts: Parts) -> OpenID | None:
    """Return who asks the provider that vouches for people; raises ``ConfigError`` for settings that cannot be."""
    settings = parts.settings
    if settings.oidc_issuer is None:
        return None
    if find_spec("authlib") is None or find_spec("joserfc") is None:
        raise ConfigError("M8CRM_OIDC_ISSUER", ["needs the extra: pip install 'm8crm[openid]'"])
    from middleware.console.openid import OpenID, Provider, parse_roles  # noqa: PLC0415 - an extra

    provider = Provider(
        issuer=settings.oidc_issuer,
        client_id=settings.oidc_client_id,
        client_secret=settings.oidc_client_secret,
        claim=settings.oidc_claim,
        roles=parse_roles(settings.oidc_roles),
    )
    back = f"{settings.public_url.rstrip('/')}/-/console/openid/back"
    return OpenID(provider, redirect_uri=back, key=parts.key)


def _describe(api: ProblemApi) -> None:
    """Tell the OpenAPI description what no view says by itself."""
    tenant_id = {"type": "string", "pattern": f"^{TenantIdConverter.regex}$"}
    api.register_converter(TenantIdConverter, lambda _converter: tenant_id)
    for name, scheme in events.SECURITY_SCHEMES.items():
        api.spec.components.security_scheme(name, scheme)
    api.spec.options["security"] = [{"bearer": []}]
    for name, schema in ACTIVITY_SCHEMAS.items():
        api.spec.components.schema(name, schema=schema)


def assert_own_packages() -> None:
    """Refuse to run with other people's packages: PyPI has an ``adapters`` and a ``middleware``, too."""
    for name in ("middleware", "adapters"):
        spec = find_spec(name)
        place = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if place != ROOT:
            raise ConfigError(name, [f"is imported from {place} and not from {ROOT}; start m8crm from its own folder"])


def _broken(error: Exception) -> Response:
    return respond(broken_answer(error, g.get("request_id")))


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
