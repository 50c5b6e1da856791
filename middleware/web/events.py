"""The receivers: authenticate, read, store durably, 200.  Nothing else happens in the request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

from flask import Response, current_app, g, json, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from middleware.inbox.store import Accepted
from middleware.receivers.body import UnreadableBody, read_json
from middleware.receivers.fields import FieldErrors
from middleware.receivers.registry import RECEIVERS, Receiver
from middleware.tenants.tenant import Tenant
from middleware.web.auth import authenticated
from middleware.web.body import read_body
from middleware.web.problems import problem
from middleware.web.schemas.query import MessageSchema

blueprint = Blueprint("events", __name__, description="Calls that have ended.")


class AcceptedSchema(Schema):
    """The acknowledgement: the event is on disk."""

    status = fields.String(required=True, validate=validate.OneOf(["accepted", "duplicate", "quarantined"]))
    id = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "Why a quarantined event is not understood, per field."})


def _view(receiver: Receiver) -> Callable[..., Response]:
    def receive(*, tenant: Tenant) -> Response:
        """Keep a call and acknowledge it."""
        if request.mimetype and request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
            return problem(415, "Send the body as application/json.")
        raw = read_body(current_app.extensions["m8crm"].settings.max_body)
        try:
            document = read_json(raw)
        except UnreadableBody as error:
            return problem(400, str(error))
        key, errors = _understand(receiver, document, raw)
        accepted = current_app.extensions["m8crm"].inbox.accept(
            tenant.id, receiver.sender, key=key, raw=raw, content_type=request.content_type or "", errors=errors
        )
        g.outcome, g.event_id = accepted.status, accepted.id
        return _acknowledge(accepted, errors)

    receive.__name__ = receiver.sender
    for status, said in (
        (400, "The body is no JSON."),
        (401, "No secret."),
        (403, "Wrong secret or unknown customer."),
        (413, "The body is too large."),
        (415, "The body is not sent as JSON."),
        (503, "Nothing was stored: send it again."),
    ):
        receive = blueprint.alt_response(status, schema=MessageSchema, description=said)(receive)
    receive = blueprint.response(200, AcceptedSchema, description="The call is stored.")(receive)
    body = {"required": True, "content": {"application/json": {"schema": receiver.schema}}}
    receive = blueprint.doc(requestBody=body)(receive)
    return authenticated(receiver.secret)(receive)


def _understand(receiver: Receiver, document: object, raw: bytes) -> tuple[str, dict[str, Any] | None]:
    """Return the event's key, and the field errors of one that the schema does not understand."""
    try:
        return receiver.parse(document).key, None
    except FieldErrors as error:
        return hashlib.sha256(raw).hexdigest(), error.errors


def _acknowledge(accepted: Accepted, errors: dict[str, Any] | None) -> Response:
    answer: dict[str, Any] = {"status": accepted.status, "id": accepted.id}
    if accepted.status == "quarantined":
        answer["errors"] = errors
    return Response(json.dumps(answer), 200, mimetype="application/json")


for _receiver in RECEIVERS.values():
    blueprint.route(f"/<tenant_id:customer>/{_receiver.sender}", methods=["POST"])(_view(_receiver))
