"""Coming in with an organisation's own account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Response, abort, current_app, make_response, redirect, render_template, request
from flask.typing import ResponseReturnValue
from werkzeug.wrappers import Response as AnyResponse

from middleware.console.guard import access, address, cookie_name, cookie_options, for_everybody, let_in
from middleware.console.pages.signing_in import own_place
from middleware.console.section import Section

if TYPE_CHECKING:
    from middleware.console.openid import OpenID

section = Section("openid", __name__)
_SECONDS = 600  # that a browser keeps what it needs when it comes back


@section.get("/start")
@for_everybody
def start() -> ResponseReturnValue:
    """Send the browser to the provider."""
    openid = _openid()
    from middleware.console.openid import OpenIDError  # noqa: PLC0415 - an extra

    try:
        url, kept = openid.begin(own_place(request.args.get("next", "")))
    except OpenIDError as error:
        return _refused(str(error))
    answer = redirect(url, 303)
    answer.set_cookie(_cookie(), kept, max_age=_SECONDS, **cookie_options())
    return answer


@section.get("/back")
@for_everybody
def back() -> ResponseReturnValue:
    """Begin a session for whom the provider has sent back."""
    openid = _openid()
    from middleware.console.openid import OpenIDError  # noqa: PLC0415 - an extra

    if access().is_address_refused(address()):
        return _refused("Too many sign-ins were wrong. Try again in a quarter of an hour.", 429)
    kept = request.cookies.get(_cookie(), "")
    try:
        viewer, place = openid.finish(kept, request.args.get("state", ""), request.args.get("code", ""))
    except OpenIDError as error:
        if kept:  # or any site could have its visitors refused, by an image with this address
            access().refuse_openid(address())
        return _refused(str(error))
    access().audit.note(viewer.name, "signed in by OpenID", viewer.customer, address=address())
    let_in(viewer)
    return _without(redirect(own_place(place), 303))


def _refused(words: str, status: int = 403) -> ResponseReturnValue:
    text = render_template("console/sign_in.html", next="", words=words, name="", has_openid=True)
    return _without(make_response(text, status))


def _without(answer: Response | AnyResponse) -> ResponseReturnValue:
    answer.delete_cookie(_cookie(), **cookie_options())
    return answer


def _openid() -> OpenID:
    found: OpenID | None = current_app.extensions["m8crm.console.openid"]
    return found or abort(404)


def _cookie() -> str:
    return f"{cookie_name()}-openid"
