"""Try a lookup: the card as Insights shows it, what M8Com is answered, and where the time went."""

from __future__ import annotations

import json
import secrets
import shlex
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from flask import abort, current_app, make_response, render_template, request
from flask.typing import ResponseReturnValue

from middleware.console.card import CardView, read_card
from middleware.console.guard import needs, note
from middleware.console.roles import ALL, STAFF, Viewer
from middleware.console.section import Section
from middleware.console.waterfall import Waterfall, draw
from middleware.lookup.card import Hit, Result
from middleware.lookup.service import LookupService, query_number
from middleware.lookup.trace import Trace, cache_words
from middleware.lookup.traces import outcome_of, reason_of
from middleware.model.call import LookupQuery, User
from middleware.model.deadline import Deadline
from middleware.model.phone import mask_number, parse_number
from middleware.tenants.tenant import Tenant
from middleware.web.answers import lookup_answer

section = Section("lookup", __name__, title="Try a lookup", roles=ALL)
MODES = {
    "past": "Ask the CRM, keep nothing",
    "as-is": "As M8Com gets it now, from the cache too",
    "renew": "Ask the CRM and renew the cache",
}
_FIELDS = ("customer", "number", "to_number", "numeric_id", "user", "mode")
_LONGEST = 320  # characters of a field


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """One lookup as it went; ``answer`` is the JSON that M8Com would be sent, with ``status``."""

    outcome: str
    reason: str | None
    told: dict[str, Any]
    status: int
    answer: str
    card: CardView | None
    waterfall: Waterfall
    cache: str
    curl: str
    warnings: list[str]
    read_as: str  # the number with its country; empty where none was understood
    region: str


@section.get("")
@needs(ALL)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show the form."""
    return _page(viewer, {"customer": request.args.get("customer", "")})


@section.post("")
@needs(ALL, is_reading=True)
def look_up(viewer: Viewer) -> ResponseReturnValue:
    """Look the number up; it is in the body, so that no address and no log has it."""
    form = {name: request.form.get(name, "")[:_LONGEST].strip() for name in _FIELDS}
    parts = current_app.extensions["m8crm"]
    if not viewer.may_see(form["customer"]):
        abort(404)
    if form["mode"] not in _modes(viewer):
        form["mode"] = "past"
    tenant = viewer.tenant(parts.tenants, form["customer"])
    if tenant is None:
        problem = parts.tenants.problem(form["customer"])
        words = f"The customer's file is not valid: {'; '.join(problem.problems)}" if problem else "No such customer."
        return _page(viewer, form, words=words, status=404)
    if not form["number"]:
        return _page(viewer, form, words="Which number?", status=400)
    note("lookup tried", tenant.id, mask_number(form["number"]))
    return _page(viewer, form, tried=_try(tenant, form))


def _page(
    viewer: Viewer, form: dict[str, str], *, tried: Tried | None = None, words: str = "", status: int = 200
) -> ResponseReturnValue:
    tenants = current_app.extensions["m8crm"].tenants
    customers = viewer.offered(tenants)
    text = render_template(
        "console/lookup.html",
        section=section,
        modes=_modes(viewer),
        form={**dict.fromkeys(_FIELDS, ""), **form, "mode": form.get("mode") or "past"},
        customers=customers,
        tried=tried,
        words=words,
        may_mend=viewer.role in STAFF and not viewer.is_reader,
    )
    return make_response(text, status)


def _modes(viewer: Viewer) -> dict[str, str]:
    """Return how he may look up; who came by a link changes nothing, and no cache either."""
    return {mode: words for mode, words in MODES.items() if mode == "past" or not viewer.is_reader}


def _try(tenant: Tenant, form: dict[str, str]) -> Tried:
    parts = current_app.extensions["m8crm"]
    query = _query(tenant, form)
    asked = query_number(tenant, query)
    if form["mode"] == "renew" and asked:
        parts.lookups.change(tenant.id, str(asked))  # what is known is kept for the case that the CRM fails
    past: LookupService = current_app.extensions["m8crm.console.lookups"]
    service: LookupService = parts.lookups if form["mode"] in ("as-is", "renew") else past
    trace = Trace(id=secrets.token_hex(8))
    result = service.lookup(tenant, query, Deadline.after(tenant.lookup.budget), trace)
    parts.traces.flush()  # the page leads to it, and another process may have that
    return _tried(tenant, form, result, trace)


def _query(tenant: Tenant, form: dict[str, str]) -> LookupQuery:
    to_number, user = form["to_number"], form["user"]
    return LookupQuery(
        number=parse_number(form["number"], tenant.region),
        to_number=parse_number(to_number, tenant.region) if to_number else None,
        user=User(id=user, email=user) if user else None,
        numeric_id=form["numeric_id"] or None,
    )


def _tried(tenant: Tenant, form: dict[str, str], result: Result, trace: Trace) -> Tried:
    took = trace.took
    told = {"id": trace.id, "ms": round(took * 1000, 1), **trace.document(took)}
    answer = lookup_answer(result, tenant)
    body: Any = json.loads(answer.body) if answer.body else None
    return Tried(
        outcome=outcome_of(result),
        reason=reason_of(result),
        told=told,
        status=answer.status,
        answer=json.dumps(body, indent=2, ensure_ascii=False) if body is not None else "",
        card=read_card(body, tenant.timezone) if isinstance(result, Hit) else None,
        waterfall=draw(told, tenant.lookup.budget.total_seconds() * 1000),
        cache=cache_words(trace.cache, outcome_of(result)),
        curl=_curl(tenant, form),
        warnings=list(dict.fromkeys(trace.remarks)),
        read_as=parse_number(form["number"], tenant.region).abroad,
        region=tenant.region,
    )


def _curl(tenant: Tenant, form: dict[str, str]) -> str:
    """Return the command that asks the same; the secret is known by its digest alone, so its place is marked."""
    given = {
        "fromNumber": form["number"],
        "toNumber": form["to_number"],
        tenant.lookup.numeric_id_parameter: form["numeric_id"],
        "user": json.dumps({"id": form["user"]}) if form["user"] else "",
    }
    query = "&".join(f"{name}={quote(value, safe='')}" for name, value in given.items() if value)
    base = current_app.extensions["m8crm"].settings.public_url.rstrip("/")
    url = shlex.quote(f"{base}/{tenant.id}/lookup?{query}")
    return f'curl -i -H "Authorization: Bearer $SECRET" {url}'
