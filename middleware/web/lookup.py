"""``GET /<customer-id>/lookup`` (specs/001, Number Lookup)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from flask import Response, current_app, g, request
from flask_smorest import Blueprint

from middleware.lookup.card import Busy, Failed, Hit, Miss, Result, TimedOut
from middleware.model.call import LookupQuery
from middleware.model.deadline import Deadline
from middleware.model.phone import parse_number
from middleware.tenants.tenant import Tenant
from middleware.web.auth import authenticated
from middleware.web.problems import problem
from middleware.web.schemas.lookup import ContactSchema
from middleware.web.schemas.query import LookupArgs, MessageSchema, QueryParser, parse_numeric_id, parse_user

RETRY_AFTER = timedelta(seconds=2)


class _Blueprint(Blueprint):  # type: ignore[misc]  # flask-smorest has no types
    ARGUMENTS_PARSER = QueryParser()


blueprint = _Blueprint("lookup", __name__, description="Who is calling?")


@blueprint.route("/<tenant_id:customer>/lookup")  # type: ignore[untyped-decorator]
@authenticated("insights")
@blueprint.arguments(LookupArgs, location="query")  # type: ignore[untyped-decorator]
@blueprint.response(200, ContactSchema, description="The contact, and what has happened lately.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(204, description="Nobody has the number (customers with miss = 204).")  # type: ignore[untyped-decorator]
@blueprint.alt_response(400, schema=MessageSchema, description="fromNumber is missing or contradictory.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(401, schema=MessageSchema, description="No secret.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(403, schema=MessageSchema, description="Wrong secret or unknown customer.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(404, schema=MessageSchema, description="Nobody has the number.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(503, schema=MessageSchema, description="The CRM is down or busy.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(504, schema=MessageSchema, description="The CRM is too slow.")  # type: ignore[untyped-decorator]
def lookup(args: dict[str, Any], *, tenant: Tenant) -> Response:
    """Find the contact who has a number."""
    query = _query(args, tenant)
    g.number = query.number
    deadline = Deadline(g.trace.began + tenant.lookup.budget.total_seconds(), g.trace.clock)
    result = current_app.extensions["m8crm"].lookups.lookup(tenant, query, deadline, g.trace)
    g.outcome = type(result).__name__.lower()
    g.cache = g.trace.cache
    return _answer(result, tenant)


def _query(args: dict[str, Any], tenant: Tenant) -> LookupQuery:
    to_number = args.get("toNumber")
    return LookupQuery(
        number=parse_number(args["fromNumber"], tenant.region),
        to_number=parse_number(to_number, tenant.region) if to_number else None,
        user=parse_user(request.args),
        numeric_id=parse_numeric_id(request.args.get(tenant.lookup.numeric_id_parameter)),
    )


def _answer(result: Result, tenant: Tenant) -> Response:
    match result:
        case Hit():
            return Response(result.body, 200, mimetype="application/json")
        case Miss():
            return _miss(result, tenant)
        case Busy():
            return problem(503, "Too many lookups wait for this customer's CRM.", retry_after=RETRY_AFTER)
        case Failed():
            wait = result.retry_after or RETRY_AFTER
            return problem(503, f"The CRM could not be asked ({result.reason}).", retry_after=wait)
        case TimedOut():
            return problem(504, "The CRM did not answer in time.", retry_after=RETRY_AFTER)


def _miss(miss: Miss, tenant: Tenant) -> Response:
    match tenant.lookup.miss:
        case "204":
            return Response(status=204)
        case "empty":
            return Response("{}", 200, mimetype="application/json")
        case "404":
            return problem(404, miss.reason)
