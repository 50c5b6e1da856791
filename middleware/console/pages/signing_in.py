"""Coming in and going out: with a password, or by a link."""

from __future__ import annotations

from flask import abort, current_app, make_response, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from middleware.console.guard import (
    access,
    address,
    cookie_name,
    current_viewer,
    for_everybody,
    keep_cookie,
    let_in,
    needs,
    note,
)
from middleware.console.roles import ALL, Viewer
from middleware.console.section import Section
from middleware.errors import CrowdError

section = Section("signing_in", __name__, at_root=True)
_LONGEST = 1000  # characters of a place that a cookie may have to hold


@section.get("/sign-in")
@for_everybody
def page() -> ResponseReturnValue:
    """Show the form."""
    return _form(request.args.get("next", ""))


@section.post("/sign-in")
@for_everybody
def sign_in() -> ResponseReturnValue:
    """Begin a session if name and password are right."""
    name, password, place = (request.form.get(field, "") for field in ("name", "password", "next"))
    if access().is_refused(name, address()):
        return _form(place, 429, "Too many sign-ins were wrong. Try again in a quarter of an hour.", name)
    try:
        viewer = access().sign_in(name, password, address())
    except CrowdError:
        return _form(place, 503, "Too many people sign in at this moment. Try again.", name)
    if viewer is None:
        return _form(place, 403, "Name or password is wrong.", name)
    let_in(viewer)
    return redirect(own_place(place), 303)


@section.post("/sign-out")
@needs(ALL, is_reading=True)
def sign_out(viewer: Viewer) -> ResponseReturnValue:
    """End the session."""
    note("signed out", viewer.customer)
    access().sessions.end(request.cookies[cookie_name()])
    keep_cookie("")
    return redirect(url_for(".page"), 303)


@section.get("/link/<text>")
@for_everybody
def link(text: str) -> ResponseReturnValue:
    """Ask before coming in: programs that look at links in mails do not press buttons."""
    found = access().links.read(text)
    if found is None:
        abort(404)
    return render_template("console/link.html", link=found, text=text)


@section.post("/link/<text>")
@for_everybody
def enter(text: str) -> ResponseReturnValue:
    """Begin a session that only reads."""
    found = access().links.read(text)
    if found is None:
        abort(404)
    access().audit.note(found.viewer.name, "came by link", found.customer, address=address())
    let_in(found.viewer, found)
    return redirect(url_for("console.overview.page"), 303)


def _form(place: str, status: int = 200, words: str = "", name: str = "") -> ResponseReturnValue:
    if status == 200 and current_viewer():
        return redirect(own_place(place), 303)
    has_openid = current_app.extensions["m8crm.console.openid"] is not None
    return make_response(
        render_template("console/sign_in.html", next=place, words=words, name=name, has_openid=has_openid), status
    )


def own_place(place: str) -> str:
    """Return where to go after signing in, within the console."""
    home = url_for("console.overview.page")
    is_own = place.startswith((f"{home}/", f"{home}?")) and not any(sign in place for sign in "\\\r\n\t")
    return place if is_own and len(place) <= _LONGEST else home
