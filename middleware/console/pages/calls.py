"""Calls and deliveries: every event that came, and what became of it."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from flask import abort, current_app, make_response, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.datastructures import MultiDict

from middleware.console.guard import needs, note
from middleware.console.roles import ALL, Role, Viewer
from middleware.console.section import Section
from middleware.console.states import REPLAYED, STATES, readable
from middleware.delivery.looking import Asked, field_errors, wanted_of
from middleware.errors import ConfigError
from middleware.inbox.finding import RARE, UNPLANNED, Finder, Found, Wanted
from middleware.receivers.registry import RECEIVERS

section = Section("calls", __name__, title="Calls", roles=ALL)
PLAIN = ("customer", "state", "sender", "since", "until", "call")  # what an address may have
FIELDS = (*PLAIN, "number", "text")
_LONGEST = 200  # characters of a field
_CUSTOMER = 63
_FIRST, _LAST = 1980, 9000  # years that clocks know, whatever is added


@section.get("")
@needs(ALL)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show the latest events, of the customer and in the state that the address names."""
    return _page(viewer, read_form(request.args, PLAIN), before_of(request.args))


@section.post("")
@needs(ALL, is_reading=True)
def search(viewer: Viewer) -> ResponseReturnValue:
    """Show what is looked for; number and text are in the body, so that no address and no log has them."""
    form = read_form(request.form, FIELDS)
    if form["customer"] and not viewer.may_see(form["customer"]):
        abort(404)
    if form["text"]:
        note("text looked for", viewer.customer or form["customer"] or None)
    return _page(viewer, form, before_of(request.form))


def read_form(given: MultiDict[str, str], fields: tuple[str, ...]) -> dict[str, str]:
    """Return all fields of the form, those that are not given as empty texts."""
    asked = {name: given.get(name, "") if name in fields else "" for name in FIELDS}
    lengths = dict.fromkeys(FIELDS, _LONGEST) | {"customer": _CUSTOMER}
    return {name: "".join(filter(str.isprintable, text))[: lengths[name]].strip() for name, text in asked.items()}


def wanted_by(viewer: Viewer, form: dict[str, str]) -> Wanted:
    """Return what he looks for, within what is his to see; raises ``ConfigError`` with what cannot be understood."""
    if form["customer"] and not viewer.may_see(form["customer"]):
        abort(404)
    if form["state"] and form["state"] not in STATES:
        raise ConfigError("state", ["there is no such one"])
    if form["sender"] and form["sender"] not in RECEIVERS:
        raise ConfigError("sender", ["there is no such one"])
    parts = current_app.extensions["m8crm"]
    asked = Asked(
        customer=(viewer.customer or "") if viewer.role is Role.CUSTOMER else form["customer"],
        state=form["state"],
        sender=form["sender"],
        number=form["number"],
        text="" if viewer.is_reader else form["text"],
        call=form["call"],
        since=_moment("since", form["since"]),
        until=_moment("until", form["until"]),
    )
    read = partial(_read, viewer)
    return wanted_of(asked, parts.inbox, parts.tenants, read)


def _read(viewer: Viewer, raw: bytes, content_type: str) -> str:
    return readable(viewer, raw, content_type, is_asked_for=True, indent=None) or ""


def _moment(name: str, text: str) -> datetime | None:
    """Return a moment of a form, in UTC unless it says otherwise."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min.replace(tzinfo=UTC)
    if not _FIRST <= moment.year <= _LAST:
        raise ConfigError(name, ["is no moment: write 2026-03-01T12:00, which is UTC"])
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def before_of(given: MultiDict[str, str]) -> int | None:
    """Return where the page begins, as the one before has told."""
    text = given.get("before", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _page(viewer: Viewer, form: dict[str, str], before: int | None) -> ResponseReturnValue:
    parts, words, found = current_app.extensions["m8crm"], "", Found(events=(), before=None)
    try:
        found = Finder(parts.inbox).find(wanted_by(viewer, form), before=before)
    except ConfigError as error:
        words = str(error)
    customers = viewer.offered(parts.tenants)
    text = render_template(
        "console/calls.html",
        section=section,
        form=form,
        customers=customers,
        states=STATES,
        senders=list(RECEIVERS),
        found=found,
        field_errors=field_errors,
        words=words,
        is_further=before is not None,
        bounds={"number": RARE, "unplanned": UNPLANNED},
        replayed=REPLAYED,
    )
    return make_response(text, 400 if words else 200)
