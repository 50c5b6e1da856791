"""The customers: how each one stands, at a glance; and a new one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from math import ceil
from typing import Any

from flask import current_app, make_response, render_template, request
from flask.typing import ResponseReturnValue

from middleware.console.figures import lately
from middleware.console.guard import needs, note
from middleware.console.roles import ALL, STAFF, Viewer
from middleware.console.section import Section
from middleware.console.standing import Glance, glance
from middleware.errors import ConfigError
from middleware.receivers.places import registration
from middleware.tenants.config import TENANT_ID
from middleware.tenants.files import create_tenant
from middleware.tenants.names import Names

section = Section("customers", __name__, title="Customers", roles=ALL)
PAGE = 25  # customers: of so many the files are read
_FIELDS = ("id", "name", "region", "timezone")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A customer in the list; ``mark`` is a class of the sheet, ``words`` say the same."""

    id: str
    name: str
    crms: str
    mark: str
    words: str
    last_lookup: datetime | None
    last_event: datetime | None


@section.get("")
@needs(ALL)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show the customers whose id or name has what is looked for."""
    text, number = request.args.get("q", "")[:100], max(1, request.args.get("page", 1, int))
    ids = viewer.customers(current_app.extensions["m8crm"].tenants)
    matches = _names().find(text, ids)
    number = min(number, max(1, ceil(len(matches.ids) / PAGE)))
    begin = (number - 1) * PAGE
    return render_template(
        "console/customers.html",
        section=section,
        q=text,
        number=number,
        count=len(matches.ids),
        has_more=len(matches.ids) > begin + PAGE,
        is_whole=not text or matches.is_whole,
        rows=_rows(matches.ids[begin : begin + PAGE]),
        may_add=viewer.role in STAFF and not viewer.is_reader,
    )


@section.get("/add")
@needs(STAFF)
def form(viewer: Viewer) -> ResponseReturnValue:
    """Show the form for a new customer."""
    return _form({"timezone": "UTC"})


@section.post("/add")
@needs(STAFF)
def add(viewer: Viewer) -> ResponseReturnValue:
    """Write a new customer's file as ``m8crm tenant add`` does, and show his secret this once."""
    given = {name: request.form.get(name, "")[:200].strip() for name in _FIELDS}
    settings = current_app.extensions["m8crm"].settings
    if TENANT_ID.fullmatch(given["id"]):
        note("customer added", given["id"])
    try:
        _, secret = create_tenant(
            settings.customers,
            given["id"],
            name=given["name"],
            region=given["region"],
            timezone=given["timezone"] or "UTC",
        )
    except ConfigError as error:
        return _form(given, error.problems)
    block = registration(settings.public_url, given["id"], "insights", secret)
    return render_template("console/secret.html", section=section, customer=given["id"], block=block, is_new=True)


def _form(given: dict[str, str], problems: tuple[str, ...] | list[str] = ()) -> ResponseReturnValue:
    values = {**dict.fromkeys(_FIELDS, ""), **given}
    text = render_template("console/add_customer.html", section=section, form=values, problems=problems)
    return make_response(text, 400 if problems else 200)


def _rows(ids: list[str]) -> list[Row]:
    parts = current_app.extensions["m8crm"]
    glances, now = glance(parts.inbox, ids), parts.inbox.now()
    return [_row(parts, one, glances[one], now) for one in ids]


def _row(parts: Any, customer: str, seen: Glance, now: datetime) -> Row:
    tenant, problem = parts.tenants.get(customer), parts.tenants.problem(customer)
    counted = lately(parts.counts, customer, now)
    mark, words = _state(problem, seen, list(counted.open_until) if counted else [])
    return Row(
        id=customer,
        name=tenant.name if tenant else "",
        crms=", ".join(source.name for source in tenant.sources) if tenant else "",
        mark=mark,
        words=words,
        last_lookup=counted.last_lookup if counted else None,
        last_event=seen.last_event,
    )


def _state(problem: ConfigError | None, seen: Glance, left_alone: list[str]) -> tuple[str, str]:
    """Return how bad it is, and the worst in words."""
    if problem:
        return "bad", "the configuration is not valid"
    if seen.paused:
        return "bad", f"credentials refused: {', '.join(seen.paused)}"
    if dead := seen.unfinished.get("dead"):
        return "bad", f"{dead} calls could not be written"
    if left_alone:
        return "warn", f"fails time and again: {', '.join(sorted(left_alone))}"
    waiting, parked = seen.unfinished.get("waiting", 0), seen.unfinished.get("parked", 0)
    return "good", ", ".join([f"{waiting} calls wait"] * bool(waiting) + [f"{parked} parked"] * bool(parked)) or "well"


def _names() -> Names:
    """Return what finds customers by name; one per process, made when somebody first asks."""
    app = current_app
    found: Names = app.extensions.setdefault("m8crm.console.names", Names(app.extensions["m8crm"].settings.customers))
    return found
