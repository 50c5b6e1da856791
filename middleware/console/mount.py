"""Puts the console into the application: its sections, the headers of its answers, and how errors look."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from flask import Blueprint, Flask, Response, abort, g, render_template, request
from jinja2 import StrictUndefined
from werkzeug.exceptions import HTTPException

from middleware.console import static_files
from middleware.console.access import Access
from middleware.console.apart import Apart, answer_elsewhere
from middleware.console.guard import csrf_token, current_viewer, set_cookie
from middleware.console.pages import (
    adapters,
    audit,
    calls,
    customer,
    customers,
    event,
    lookup,
    nowhere,
    overview,
    plots,
    replays,
    sender,
    signing_in,
    system,
    traces,
)
from middleware.console.pages import openid as openid_pages
from middleware.console.section import Section
from middleware.console.words import FILTERS
from middleware.errors import StorageError
from middleware.lookup.service import LookupService
from middleware.web.answers import broken_answer

if TYPE_CHECKING:
    from middleware.console.openid import OpenID

# in the order of the navigation; a new page is one line here
SECTIONS: tuple[Section, ...] = (
    overview.section,
    lookup.section,
    calls.section,
    event.section,
    replays.section,
    sender.section,
    traces.section,
    customers.section,
    customer.section,
    plots.section,
    adapters.section,
    system.section,
    audit.section,
    signing_in.section,
    openid_pages.section,
    static_files.section,
    nowhere.section,
)
CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
_HEADERS = {
    "Content-Security-Policy": CSP,
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}


def mount(
    app: Flask,
    access: Access,
    lookups: LookupService,
    openid: OpenID | None = None,
    apart: Apart | None = None,
) -> None:
    """Register the console at ``/-/console``; ``lookups`` are those that ask the CRM past every cache.

    ``apart`` is the process that has the pages, if it is not this one.
    """
    app.extensions["m8crm.console"] = access
    app.extensions["m8crm.console.lookups"] = lookups
    app.extensions["m8crm.console.openid"] = openid
    app.extensions["m8crm.console.apart"] = apart
    app.jinja_env.undefined = StrictUndefined
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters.update(FILTERS)
    app.register_blueprint(_blueprint())


def _blueprint() -> Blueprint:
    blueprint = Blueprint("console", __name__, url_prefix="/-/console", template_folder="templates")
    blueprint.before_request(answer_elsewhere)  # before anything reads the form
    blueprint.before_request(_refuse_nul)
    blueprint.context_processor(_shared)
    blueprint.after_request(_dress)
    blueprint.register_error_handler(HTTPException, _refused)
    blueprint.register_error_handler(StorageError, _without_database)
    blueprint.register_error_handler(Exception, _broken)
    for section in SECTIONS:
        blueprint.register_blueprint(section)
    return blueprint


def _refuse_nul() -> None:
    """Refuse what PostgreSQL can neither keep nor look for; nobody types it."""
    if any("\0" in text for text in (request.path, *request.args.values(), *request.form.values())):
        abort(400, "A NUL is in what was sent.")


def _shared() -> dict[str, Any]:
    """Return what the layout of every page needs."""
    viewer = g.get("viewer")
    shown = [section for section in SECTIONS if viewer and viewer.role in section.roles]
    return {"viewer": viewer, "sections": shown, "csrf_token": csrf_token, "static_url": static_files.static_url}


def _dress(response: Response) -> Response:
    if g.get("is_answered_elsewhere"):
        return response
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    # statements and forms leave cycles: a page clears its own few away, or a lookup would wait for those of a hundred
    gc.collect(0)
    return set_cookie(response)


def _refused(error: HTTPException) -> tuple[str, int] | Any:
    if error.response is not None:
        return error.response
    words = {
        403: "Your role does not show you this.",
        404: "There is nothing here, or it is not yours to see.",
    }
    status = error.code or 500
    try:
        current_viewer()  # the layout shows his navigation
    except StorageError as broken:
        return _without_database(broken)
    return _page(status, words.get(status) or error.description or error.name)


def _without_database(_error: StorageError) -> tuple[str, int]:
    g.viewer = None
    return _page(503, "The database does not answer. Calls are not lost: senders send them again. Try again soon.")


def _broken(error: Exception) -> tuple[str, int]:
    broken_answer(error, g.get("request_id"))  # writes the log's line
    g.setdefault("viewer", None)
    return _page(500, "Something is broken here. The log has more, by this id.")


def _page(status: int, words: str) -> tuple[str, int]:
    return render_template("console/error.html", status=status, words=words, request_id=g.get("request_id")), status
