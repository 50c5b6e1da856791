"""Traces: how a lookup went, by the X-Request-Id of its answer."""

from __future__ import annotations

from typing import Any

from flask import abort, current_app, render_template, request
from flask.typing import ResponseReturnValue

from middleware.console.guard import needs
from middleware.console.roles import ALL, Role, Viewer
from middleware.console.section import Section
from middleware.console.waterfall import draw
from middleware.lookup.trace import cache_words
from middleware.lookup.traces import TraceLog
from middleware.model.phone import parse_number

section = Section("traces", __name__, title="Traces", roles=ALL)
_NOWHERE = "ZZ"  # the region of numbers that must have their country


@section.get("")
@needs(ALL)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show the latest lookups."""
    return _page(viewer, {})


@section.post("")
@needs(ALL, is_reading=True)
def search(viewer: Viewer) -> ResponseReturnValue:
    """Show the lookups that are looked for; a number is in the body, so that no address and no log has it."""
    form = {name: request.form.get(name, "")[:100].strip() for name in ("id", "customer", "number")}
    return _page(viewer, form)


@section.get("/<trace_id>")
@needs(ALL)
def one(viewer: Viewer, trace_id: str) -> ResponseReturnValue:
    """Show how one lookup went; several have the same id where the sender chose it."""
    kept = _traces().list(trace_id=trace_id, customer=_only(viewer))
    if not kept:
        abort(404)
    tenants = current_app.extensions["m8crm"].tenants
    shown = []
    for told in (trace.document() for trace in kept):
        tenant = tenants.get(told["customer"])
        budget = tenant.lookup.budget.total_seconds() * 1000 if tenant else None
        cache = cache_words(told["cache"], told["outcome"])
        shown.append({"told": told, "waterfall": draw(told, budget), "cache": cache})
    return render_template("console/trace.html", section=section, trace_id=trace_id, traces=shown)


def _page(viewer: Viewer, form: dict[str, str]) -> ResponseReturnValue:
    words, found = _find(viewer, form)
    return render_template(
        "console/traces.html",
        section=section,
        form={"id": "", "customer": "", "number": "", **form},
        traces=[trace.document() for trace in found],
        words=words,
        is_customer=viewer.role is Role.CUSTOMER,
    )


def _find(viewer: Viewer, form: dict[str, str]) -> tuple[str, list[Any]]:
    customer = _only(viewer) or form.get("customer") or None
    number = None
    if form.get("number"):
        tenant = viewer.tenant(current_app.extensions["m8crm"].tenants, customer) if customer else None
        parsed = parse_number(form["number"], tenant.region if tenant else _NOWHERE)
        if not (parsed.e164 or parsed.opaque_id):
            return "This is no number: write it with + and its country, or name the customer.", []
        number = str(parsed)
    return "", _traces().list(trace_id=form.get("id") or None, customer=customer, number=number)


def _only(viewer: Viewer) -> str | None:
    """Return the one customer whose traces he may see."""
    return viewer.customer if viewer.role is Role.CUSTOMER else None


def _traces() -> TraceLog:
    found: TraceLog = current_app.extensions["m8crm"].traces
    return found
