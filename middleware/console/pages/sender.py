"""Act as a sender: edit a made-up event, send it, and watch it become a call."""

from __future__ import annotations

import json
import secrets
from datetime import timedelta

from flask import abort, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from middleware.console.guard import needs, note
from middleware.console.roles import ALL, Viewer
from middleware.console.section import Section
from middleware.delivery.sending import send_as
from middleware.demo.data import KNOWN_NUMBERS
from middleware.demo.samples import SAMPLES, Situation
from middleware.receivers.body import UnreadableBody
from middleware.receivers.stored import JSON
from middleware.tenants.tenant import Tenant

section = Section("sender", __name__, title="Act as a sender", roles=ALL)
SENDERS = {
    "calllog": "M8Com, call log",
    "recording": "M8Com, recording",
    "pbx": "the PBX",
    "cdr": "the CDR platform",
    "postcall": "the AI agent, after a call",
}
_FIELDS = ("customer", "event", "number", "direction", "body")
_DURATION = timedelta(seconds=95)
_SUMMARY = "Asked about an order; call back on Monday."
_LONGEST = 262_144  # characters of a body
_BROKEN = "The customer's file is not valid, so senders are answered 503. His page says what to mend."


@section.get("")
@needs(ALL)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show the form."""
    return _page(viewer, {"customer": request.args.get("customer", "")[:63]})


@section.post("")
@needs(ALL, is_reading=True)
def sample(viewer: Viewer) -> ResponseReturnValue:
    """Make the event up, to be edited."""
    form = _form()
    tenant = _tenant(viewer, form)
    if tenant is None:
        return _page(viewer, form, words=_BROKEN)
    sender, _, name = form["event"].partition(".")
    if name not in SAMPLES.get(sender, {}):
        return _page(viewer, form, words="Which event?")
    number = form["number"] or next(iter(KNOWN_NUMBERS.get(tenant.id, ())), "")
    if not number:
        return _page(viewer, form, words="Which number is the contact's?")
    body = SAMPLES[sender][name](_situation(tenant, number, form["direction"]))
    return _page(viewer, {**form, "number": number, "body": json.dumps(body, indent=2, ensure_ascii=False)})


@section.post("/send")
@needs(ALL)
def send(viewer: Viewer) -> ResponseReturnValue:
    """Give it to the receiver, as the sender would; the secret alone is not asked for."""
    form = _form()
    tenant, sender = _tenant(viewer, form), form["event"].partition(".")[0]
    if tenant is None:
        return _page(viewer, form, words=_BROKEN)
    if sender not in SENDERS:
        return _page(viewer, form, words="Which event?")
    note("test event sent", tenant.id, sender)
    parts = current_app.extensions["m8crm"]
    try:
        sent = send_as(parts.inbox, tenant.id, sender, form["body"].encode(errors="replace"), JSON)
    except UnreadableBody as error:
        return _page(viewer, form, words=f"The sender is answered 400: {error}")
    return redirect(url_for("console.events.page", event_id=sent.accepted.id), 303)


def _form() -> dict[str, str]:
    return {name: request.form.get(name, "")[:_LONGEST].strip() for name in _FIELDS}


def _tenant(viewer: Viewer, form: dict[str, str]) -> Tenant | None:
    """Return the customer; ``None`` for one whose file has never been valid."""
    tenants = current_app.extensions["m8crm"].tenants
    tenant = viewer.tenant(tenants, form["customer"])
    if tenant is None and not (viewer.may_see(form["customer"]) and tenants.problem(form["customer"])):
        abort(404)
    return tenant


def _situation(tenant: Tenant, number: str, direction: str) -> Situation:
    return Situation(
        contact=number,
        own=min(tenant.own_numbers, default="+46101234567"),
        began_at=current_app.extensions["m8crm"].inbox.now() - _DURATION,
        duration=_DURATION,
        call_id=secrets.token_hex(12),
        summary=_SUMMARY,
        is_inbound=direction != "outbound",
    )


def _page(viewer: Viewer, form: dict[str, str], words: str = "") -> ResponseReturnValue:
    tenants = current_app.extensions["m8crm"].tenants
    text = render_template(
        "console/sender.html",
        section=section,
        form=dict.fromkeys(_FIELDS, "") | form,
        customers=viewer.offered(tenants),
        senders={sender: (words, list(SAMPLES[sender])) for sender, words in SENDERS.items()},
        words=words,
    )
    return make_response(text, 400 if words else 200)
