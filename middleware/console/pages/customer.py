"""One customer: what to register, how all of it stands, and his secrets and links."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import abort, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from middleware.console.figures import Lately, figures_of, lately
from middleware.console.guard import access, needs, note
from middleware.console.pages import customers
from middleware.console.roles import ALL, STAFF, Role, Viewer
from middleware.console.section import Section
from middleware.console.standing import Channel, arrivals, channel
from middleware.crm.budget import Lane
from middleware.errors import ConfigError, StorageError, in_words
from middleware.index.store import IndexState
from middleware.lookup.traces import KeptTrace
from middleware.receivers.places import list_places, registration
from middleware.tenants import files
from middleware.tenants.tenant import Source, Tenant
from middleware.web.oauth import CALLBACK

section = Section("customer", __name__)
LINK_DAYS = 90  # at most
_LONGEST = 10_000  # characters of a setting: five hundred numbers
_WELL = ("hit", "stale hit", "partial hit", "miss")
_LATEST = 50  # lookups among which the last that failed is sought


@dataclass(frozen=True, slots=True, kw_only=True)
class Crm:
    """One ``[[crm]]`` of the customer as it stands; ``budget`` says what is left of it now."""

    name: str
    label: str
    open_until: datetime | None
    budget: str
    channel: Channel | None
    oauth: dict[str, Any] | None
    is_indexed: bool
    index: IndexState | None
    index_error: str | None
    settings: list[tuple[str, str]]


@section.get("/<customer>")
@needs(ALL)
def page(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """Show how the customer stands."""
    return _page(viewer, _known(viewer, customer))


@section.post("/<customer>/settings")
@needs(STAFF)
def change(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """Change name, country, time zone and own numbers, as ``m8crm tenant set`` does."""
    given = {name: request.form[name][:_LONGEST] for name in files.PLAIN if name in request.form}
    note("settings changed", _known(viewer, customer), ", ".join(given))
    try:
        files.change_tenant(current_app.extensions["m8crm"].settings.customers, customer, given)
    except ConfigError as error:
        return _page(viewer, customer, error.problems, given)
    return redirect(url_for(".page", customer=customer, _anchor="settings"), 303)


@section.post("/<customer>/secret")
@needs(STAFF)
def add_secret(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """Make one more secret, as ``m8crm tenant secret`` does, and show it this once."""
    settings = current_app.extensions["m8crm"].settings
    receiver = request.form.get("receiver", "")
    note("secret added", _known(viewer, customer), receiver[:32])
    try:
        secret = files.add_secret(settings.customers, customer, receiver)
    except ConfigError as error:
        return _page(viewer, customer, error.problems)
    block = registration(settings.public_url, customer, receiver, secret)
    return render_template(
        "console/secret.html",
        section=customers.section,
        customer=customer,
        block=block,
        is_new=False,
    )


@section.post("/<customer>/secret/revoke")
@needs(STAFF)
def revoke_secret(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """Take a secret away, as ``m8crm tenant secret --revoke`` does."""
    receiver, digits = request.form.get("receiver", ""), request.form.get("digits", "")
    note("secret revoked", _known(viewer, customer), f"{receiver} {digits}"[:64])
    try:
        files.revoke_secret(current_app.extensions["m8crm"].settings.customers, customer, receiver, digits)
    except ConfigError as error:
        return _page(viewer, customer, error.problems)
    return redirect(url_for(".page", customer=customer, _anchor="secrets"), 303)


@section.post("/<customer>/link")
@needs(STAFF)
def make_link(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """Make a link for the customer's own admin, as ``m8crm console link`` does, and show it this once."""
    days = min(max(request.form.get("days", 7, int), 1), LINK_DAYS)
    link, text = access().links.make(_known(viewer, customer), viewer.name, timedelta(days=days))
    note("link made", customer, link.id)
    base = current_app.extensions["m8crm"].settings.public_url.rstrip("/")  # which has the proxy's prefix already
    url = base + url_for("console.signing_in.link", text=text).removeprefix(request.script_root)
    return render_template("console/customer_link.html", section=customers.section, link=link, url=url)


@section.post("/<customer>/link/revoke")
@needs(STAFF)
def revoke_link(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """End a link and every session that came by it, as ``m8crm console link --revoke`` does."""
    link_id, links = request.form.get("link", ""), access().links
    if link_id not in {link.id for link in links.list_links(_known(viewer, customer))}:
        abort(404)
    note("link revoked", customer, link_id)
    links.revoke(link_id)
    return redirect(url_for(".page", customer=customer, _anchor="links"), 303)


@section.post("/<customer>/connect")
@needs(STAFF)
def connect(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """Begin an authorisation at the customer's CRM, as ``m8crm tenant connect --link`` does."""
    parts = current_app.extensions["m8crm"]
    source = _source(viewer, customer)
    if source.client is None or parts.connections is None:
        abort(404)
    note("connection begun", customer, source.name)
    redirect_uri = parts.settings.public_url.rstrip("/") + CALLBACK
    url = parts.connections.begin(source.client, redirect_uri)
    return render_template(
        "console/connect.html",
        section=customers.section,
        customer=customer,
        crm=source.name,
        url=url,
        redirect_uri=redirect_uri,
    )


@section.post("/<customer>/disconnect")
@needs(STAFF)
def disconnect(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """Remove the tokens of the customer's CRM, as ``m8crm tenant disconnect`` does."""
    source, connections = _source(viewer, customer), current_app.extensions["m8crm"].connections
    if source.client is None or connections is None:
        abort(404)
    note("connection ended", customer, source.name)
    connections.end(customer, source.name)
    return redirect(url_for(".page", customer=customer), 303)


@section.post("/<customer>/index")
@needs(STAFF)
def build_index(viewer: Viewer, customer: str) -> ResponseReturnValue:
    """Have a worker read all contacts of the customer's CRM, as ``m8crm index build --request`` does."""
    source = _source(viewer, customer)
    if source.index is None:
        abort(404)
    note("index build requested", customer, source.name)
    if not current_app.extensions["m8crm"].index.request(customer, source.name):
        return _page(viewer, customer, [f"{source.name}: a worker is about its index. Try again in a moment."])
    return redirect(url_for(".page", customer=customer), 303)


def _source(viewer: Viewer, customer: str) -> Source:
    """Return the customer's CRM that the form names."""
    tenant = current_app.extensions["m8crm"].tenants.get(_known(viewer, customer))
    source: Source | None = tenant.source(request.form.get("crm", "")) if tenant else None
    if source is None:
        abort(404)
    return source


def _known(viewer: Viewer, customer: str) -> str:
    """Return the customer's id if he is there and may be seen."""
    tenants = current_app.extensions["m8crm"].tenants
    if not viewer.may_see(customer) or not (tenants.get(customer) or tenants.problem(customer)):
        abort(404)
    return customer


def _page(
    viewer: Viewer, customer: str, refused: tuple[str, ...] | list[str] = (), given: dict[str, str] | None = None
) -> ResponseReturnValue:
    parts = current_app.extensions["m8crm"]
    tenant: Tenant | None = parts.tenants.get(customer)
    problem = parts.tenants.problem(customer)
    may_change = viewer.role in STAFF and not viewer.is_reader
    counted = lately(parts.counts, customer, parts.inbox.now())
    text = render_template(
        "console/customer.html",
        section=customers.section,
        id=customer,
        tenant=tenant,
        problems=problem.problems if problem else (),
        refused=refused,
        figures=figures_of(parts.counts, customer),
        lately=counted,
        arrivals=arrivals(parts.inbox, customer),
        failed=_failed_lookup(customer),
        crms=[_crm(viewer, tenant, source, counted) for source in tenant.sources] if tenant else [],
        places=list_places(parts.settings.public_url, customer, "SECRET"),
        block=registration(parts.settings.public_url, customer, "insights", "was shown once"),
        plain={**_plain(customer), **(given or {})} if may_change else {},
        secrets=_secrets(customer) if may_change else {},
        links=access().links.list_links(customer) if may_change else [],
        tables=_tables(tenant) if tenant else {},
        may_change=may_change,
    )
    return make_response(text, 400 if refused else 200)


def _crm(viewer: Viewer, tenant: Tenant, source: Source, counted: Lately | None) -> Crm:
    parts = current_app.extensions["m8crm"]
    budget = source.account.budget
    left = f"{budget.limit(Lane.LOOKUP) - source.account.ledger.used(budget)} of {budget}" if budget else "not counted"
    logs = source.name in tenant.calls.log_to
    index = next((one for one in parts.index.list_states(tenant.id) if one.source == source.name), None)
    connections = parts.connections if source.client else None
    return Crm(
        name=source.name,
        label=source.adapter.label,
        open_until=counted.open_until.get(source.name) if counted else None,
        budget=left,
        channel=channel(parts.inbox, tenant.id, source.name) if logs else None,
        oauth=connections.describe(source.client) if connections else None,
        is_indexed=source.index is not None,
        index=index if source.index else None,
        index_error=in_words(index.error) if index and index.error else None,
        settings=_values(source.adapter.settings) if viewer.role is Role.HOSTER else [],
    )


def _failed_lookup(customer: str) -> KeptTrace | None:
    """Return the last of the latest lookups that had no answer from the CRM, if traces can be read."""
    try:
        traces: list[KeptTrace] = current_app.extensions["m8crm"].traces.list(customer=customer, limit=_LATEST)
    except StorageError:
        return None
    return next((trace for trace in traces if trace.outcome not in _WELL), None)


def _secrets(customer: str) -> dict[str, list[str]]:
    """Return how the secrets may be told apart; nothing while the file is not valid TOML."""
    try:
        return files.list_secrets(current_app.extensions["m8crm"].settings.customers, customer)
    except ConfigError:
        return {}


def _plain(customer: str) -> dict[str, str]:
    """Return what the form changes, as the file has it; nothing while the file is not valid TOML."""
    try:
        return files.read_plain(current_app.extensions["m8crm"].settings.customers, customer)
    except ConfigError:
        return {}


def _tables(tenant: Tenant) -> dict[str, list[tuple[str, str]]]:
    """Return the customer's configuration, table by table, with what is in force where he wrote nothing."""
    return {name: _values(getattr(tenant, name)) for name in ("lookup", "calls", "recordings")}


def _values(settings: Any) -> list[tuple[str, str]]:
    return [(field.name, _words(getattr(settings, field.name))) for field in fields(settings)]


def _words(value: Any) -> str:
    """Return a setting as people write it; a secret has no words."""
    if isinstance(value, timedelta):
        return _span(value.total_seconds())
    if is_dataclass(value):
        return "; ".join(f"{name}: {words}" for name, words in _values(value))
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_words(inner)}" for key, inner in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple | list | frozenset):
        return ", ".join(map(_words, value if isinstance(value, tuple | list) else sorted(value)))
    return str(value)


def _span(seconds: float) -> str:
    """Return a span as the customer's file has it, in the largest unit that it is whole in."""
    units = {"d": 86_400, "h": 3_600, "m": 60}
    unit, length = next(((u, n) for u, n in units.items() if seconds and seconds % n == 0), ("s", 1))
    return f"{seconds / length:g}{unit}"
