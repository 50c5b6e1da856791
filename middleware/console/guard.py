"""Lets nobody see a page, or change anything, who may not: every view of the console says who may.

A form proves that our own page sent it: by a keyed hash of the cookie, which no other site can know.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Request, Response, abort, current_app, g, redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from middleware.console.access import Access
from middleware.console.links import Link
from middleware.console.roles import Role, Viewer
from middleware.web.auth import requester

EVERYBODY: frozenset[Role] = frozenset()  # of a view that also those may see who have not signed in
FIELD, HEADER = "csrf", "X-Csrf-Token"
_READING = ("GET", "HEAD")
POLLED = "X-Polled"  # of a page that asks by itself, whether or not somebody is there


def access() -> Access:
    """Return who decides."""
    found: Access = current_app.extensions["m8crm.console"]
    return found


def needs(roles: frozenset[Role], *, is_reading: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Let a view be called only by ``roles``; it gets the ``viewer``.

    Nobody changes anything who came by a link; a view whose POST changes nothing says that it ``is_reading``.
    """

    def decorate(view: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Any:
            viewer = current_viewer()
            if viewer is None:
                return _to_sign_in()
            if viewer.role not in roles:
                abort(403)
            if request.method not in _READING:
                assert_own_form()
                if viewer.is_reader and not is_reading:
                    abort(403)
            return view(*args, viewer=viewer, **kwargs)

        guarded.console_roles = roles  # type: ignore[attr-defined]  # a test asks every view for it
        return guarded

    return decorate


def for_everybody(view: Callable[..., Any]) -> Callable[..., Any]:
    """Let a view be called by anybody: signing in, and what browsers fetch for that page."""

    @wraps(view)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        if request.method not in _READING:
            assert_own_form()
        return view(*args, **kwargs)

    guarded.console_roles = EVERYBODY  # type: ignore[attr-defined]
    return guarded


def current_viewer() -> Viewer | None:
    """Return who has signed in; asked once a request."""
    if "viewer" not in g:
        token = request.cookies.get(cookie_name())
        is_use = request.headers.get(POLLED) != "true"
        g.viewer = access().sessions.find(token, is_use=is_use) if token else None
    found: Viewer | None = g.viewer
    return found


def note(action: str, customer: str | None = None, about: str = "") -> None:
    """Write down what the viewer does."""
    viewer = current_viewer()
    access().audit.note(viewer.name if viewer else "", action, customer, about, address=address())


def address() -> str:
    """Return where the request comes from, a proxy's where only that is known."""
    return (requester() or request.remote_addr or "")[:45]


def csrf_token() -> str:
    """Return what a form must send along; a visitor without a cookie gets one."""
    token = g.get("new_cookie") or request.cookies.get(cookie_name())
    if not token:
        token = g.new_cookie = secrets.token_urlsafe(32)
    return _proof(token)


def assert_own_form() -> None:
    """Refuse what no page of ours has sent."""
    token = request.cookies.get(cookie_name(), "")
    given = request.form.get(FIELD) or request.headers.get(HEADER, "")
    if not token:  # also where the address is https and somebody comes by http: browsers keep the cookie to themselves
        public_url = current_app.extensions["m8crm"].settings.public_url
        abort(400, f"Your browser sent no cookie. Allow cookies, and open the console at {public_url}.")
    if not hmac.compare_digest(_proof(token).encode(), given.encode(errors="replace")):
        abort(400, "This form is too old. Load the page again.")


def let_in(viewer: Viewer, link: Link | None = None) -> None:
    """Begin a session, in the place of the browser's older one; by a ``link`` it ends with that."""
    begun = access().sessions.begin(
        viewer,
        address(),
        link_id=link.id if link else None,
        until=link.expires_at if link else None,
        instead_of=request.cookies.get(cookie_name(), ""),
    )
    keep_cookie(begun)


def keep_cookie(token: str) -> None:
    """Have the answer set the cookie; an empty ``token`` takes it away."""
    g.new_cookie = token


def set_cookie(response: Response) -> Response:
    """Put the cookie into the answer where there is a new one."""
    token = g.get("new_cookie")
    if token is None:
        return response
    if token:
        response.set_cookie(cookie_name(), token, **cookie_options())
    else:
        response.delete_cookie(cookie_name(), **cookie_options())
    return response


def cookie_options() -> dict[str, Any]:
    """Return how every cookie of the console is set: for no script, and for no request that another site sends."""
    path = "/" if _is_https() else url_for("console.overview.page")
    return {"httponly": True, "samesite": "Lax", "secure": _is_https(), "path": path}


def cookie_name() -> str:
    """Return the cookie's name; browsers take the one with the prefix from nobody but this very host, by https."""
    return "__Host-m8crm" if _is_https() else "m8crm"


def is_htmx(asked: Request) -> bool:
    """Whether a part of a page is asked for, and not a page."""
    return asked.headers.get("HX-Request") == "true"


def _is_https() -> bool:
    is_https: bool = current_app.extensions["m8crm"].settings.public_url.startswith("https:")
    return is_https


def _proof(token: str) -> str:
    key: bytes = current_app.extensions["m8crm"].key
    return hmac.new(key, b"m8crm.console.csrf " + token.encode(errors="replace"), hashlib.sha256).hexdigest()


def _to_sign_in() -> AnyResponse:
    place = request.script_root + request.full_path.rstrip("?") if request.method in _READING else None
    url = url_for("console.signing_in.page", next=place)
    if is_htmx(request):  # or the page to sign in would be shown within the page
        return Response("", 401, {"HX-Redirect": url_for("console.signing_in.page")})
    return redirect(url, 303)
