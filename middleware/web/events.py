"""The receivers: authenticate, read, store durably, 200.  Nothing else happens in the request."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, abort, current_app, g, request
from flask_smorest import Blueprint
from marshmallow import Schema, fields, validate

from middleware.failpoints import reach
from middleware.receivers.body import UnreadableBody
from middleware.receivers.form import FORM
from middleware.receivers.registry import RECEIVERS, Credential, Receiver
from middleware.receivers.stored import Received
from middleware.tenants.tenant import Tenant
from middleware.web.answers import accepted_answer
from middleware.web.auth import TOKEN, authenticated
from middleware.web.body import read_body
from middleware.web.problems import problem, respond
from middleware.web.schemas.query import MessageSchema

blueprint = Blueprint("events", __name__, description="Calls, as each sender tells of them.")


SECURITY_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "pbxToken": {"type": "apiKey", "in": "header", "name": "X-Pbx-Token"},
    "urlToken": {"type": "apiKey", "in": "query", "name": TOKEN},
}
SCHEMES = {
    Credential.BEARER: "bearer",
    Credential.PBX_TOKEN: "pbxToken",
    Credential.URL: "urlToken",
    Credential.URL_OR_DATA: "urlToken",
}


class AcceptedSchema(Schema):
    """The acknowledgement: the event is on disk."""

    status = fields.String(required=True, validate=validate.OneOf(["accepted", "duplicate", "quarantined"]))
    id = fields.String(required=True)
    errors = fields.Dict(metadata={"description": "Why a quarantined event is not understood, per field."})


def _view(receiver: Receiver, method: str) -> Callable[..., Response]:
    def receive(*, tenant: Tenant) -> Response:
        """Keep a call and acknowledge it."""
        if request.method == "HEAD":  # Flask adds it to GET; nothing is stored for it
            abort(405)
        try:
            received = _received(receiver)
        except UnreadableBody as error:
            return problem(400, str(error))
        key, errors = receiver.understand(received)
        reach("parsed")
        accepted = current_app.extensions["m8crm"].inbox.accept(
            tenant.id, receiver.sender, key=key, raw=received.raw, content_type=received.content_type, errors=errors
        )
        g.outcome, g.event_id = accepted.status, accepted.id
        reach("before-200")
        return respond(accepted_answer(accepted, errors))

    def find_token() -> str | None:
        try:
            return _received(receiver).token
        except UnreadableBody:
            return None  # nobody is told what was wrong with it

    receive.__name__ = receiver.sender if method == "POST" else f"{receiver.sender}_{method.lower()}"
    receive = _describe(receive, receiver, method)
    in_data = receiver.credential is Credential.URL_OR_DATA
    return authenticated(receiver.secret, receiver.credential, find_token if in_data else None)(receive)


def _received(receiver: Receiver) -> Received:
    """Return what the request says, read once; raises ``UnreadableBody``, or ends the request with 413 or 415."""
    if "received" not in g:
        if request.method == "GET":
            g.received = receiver.receive(request.query_string, FORM)
        else:
            if not receiver.accepts(request.mimetype):
                abort(problem(415, f"Send the body as {' or '.join(receiver.media_types)}."))
            raw = read_body(current_app.extensions["m8crm"].settings.max_body)
            reach("read")
            g.received = receiver.receive(raw, request.content_type or "")
    return g.received  # type: ignore[no-any-return]


def _describe(receive: Callable[..., Response], receiver: Receiver, method: str) -> Callable[..., Response]:
    """Tell the OpenAPI description what the view takes and answers."""
    for status, said in (
        (400, "What was sent cannot be read."),
        (401, "No secret."),
        (403, "Wrong secret or unknown customer."),
        (413, "The body is too large."),
        (415, "The body is of another media type."),
        (429, "Too many wrong secrets came from this address."),
        (503, "Nothing was stored: send it again."),
    ):
        receive = blueprint.alt_response(status, schema=MessageSchema, description=said)(receive)
    receive = blueprint.response(200, AcceptedSchema, description="The call is stored.")(receive)
    told: dict[str, Any] = {"security": [{SCHEMES[receiver.credential]: []}]}
    if method == "GET":
        told["parameters"] = [
            {
                "in": "query",
                "name": name,
                "schema": {"type": "string"},
                "description": "Or cdr.id, or one JSON string called cdr; the other fields likewise.",
            }
            for name in ("cdr[id]",)
        ]
    else:
        content = {media_type: {"schema": receiver.schema} for media_type in receiver.media_types}
        told["requestBody"] = {"required": True, "content": content}
    return blueprint.doc(**told)(receive)  # type: ignore[no-any-return]


for _receiver in RECEIVERS.values():
    for _method in _receiver.methods:
        blueprint.route(f"/<tenant_id:customer>/{_receiver.sender}", methods=[_method])(_view(_receiver, _method))
