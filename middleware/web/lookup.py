"""``GET /<customer-id>/lookup`` (specs/001, Number Lookup)."""

from __future__ import annotations

from flask import Response, current_app, g, request
from flask_smorest import Blueprint
from marshmallow import ValidationError

from middleware.tenants.tenant import Tenant
from middleware.web.answers import lookup_answer
from middleware.web.auth import authenticated
from middleware.web.problems import misunderstood, respond
from middleware.web.schemas.lookup import ContactSchema
from middleware.web.schemas.query import LookupArgs, MessageSchema, read_query

blueprint = Blueprint("lookup", __name__, description="Who is calling?")


@blueprint.route("/<tenant_id:customer>/lookup")  # type: ignore[untyped-decorator]
@authenticated("insights")
@blueprint.doc(parameters=[{"in": "query", "schema": LookupArgs}])  # type: ignore[untyped-decorator]
@blueprint.response(200, ContactSchema, description="The contact, and what has happened lately.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(204, description="Nobody has the number (customers with miss = 204).")  # type: ignore[untyped-decorator]
@blueprint.alt_response(400, schema=MessageSchema, description="fromNumber is missing or contradictory.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(401, schema=MessageSchema, description="No secret.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(403, schema=MessageSchema, description="Wrong secret or unknown customer.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(404, schema=MessageSchema, description="Nobody has the number.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(429, schema=MessageSchema, description="Too many wrong secrets came from this address.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(503, schema=MessageSchema, description="The CRM is down or busy.")  # type: ignore[untyped-decorator]
@blueprint.alt_response(504, schema=MessageSchema, description="The CRM is too slow.")  # type: ignore[untyped-decorator]
def lookup(*, tenant: Tenant) -> Response:
    """Find the contact who has a number."""
    g.trace.known_at = g.trace.took
    try:
        query = read_query(request.query_string.decode(errors="replace"), tenant)
    except ValidationError as error:
        return misunderstood(error.messages_dict)
    g.number = query.number
    deadline = g.trace.deadline(tenant.lookup.budget)
    result = current_app.extensions["m8crm"].lookups.lookup(tenant, query, deadline, g.trace)
    g.outcome = type(result).__name__.lower()
    g.cache = g.trace.cache
    return respond(lookup_answer(result, tenant))
