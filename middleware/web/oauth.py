"""Where a CRM sends a person back who has authorised us; the link he opened is what lets him in, once."""

from __future__ import annotations

from html import escape

import structlog
from flask import Blueprint, Response, current_app, g, request

from middleware.errors import CRMError, NotConnectedError, StorageError, VaultError

log = structlog.get_logger("m8crm.web")
blueprint = Blueprint("oauth", __name__, url_prefix="/-/oauth")

CALLBACK = "/-/oauth/callback"


@blueprint.get("/callback")
def callback() -> Response:
    """Finish what a link of ``m8crm tenant connect --link`` began (RFC 6749, 4.1.2)."""
    connections = current_app.extensions["m8crm"].connections
    state, code = request.args.get("state", ""), request.args.get("code", "")
    if connections is None or not state or not code:  # with ``error`` in place of ``code``, too
        return _page(400, "Not connected. The CRM sent no authorisation: open the link again and allow it.")
    try:
        client = connections.finish(state, code)
    except NotConnectedError as error:
        return _page(403, f"Not connected: {error}.")
    except CRMError as error:
        log.error("crm_not_connected", error=type(error).__name__, reason=str(error))
        return _page(502, "Not connected: the CRM did not hand out its tokens. Ask for a new link and try again.")
    except (StorageError, VaultError):
        return _page(503, "Not connected: nothing can be kept at the moment. Ask for a new link later.")
    g.customer, g.outcome = client.tenant_id, "connected"
    return _page(200, "Connected. You can close this window.")


def _page(status: int, words: str) -> Response:
    response = Response(f"<!doctype html><title>m8crm</title><p>{escape(words)}</p>\n", status, mimetype="text/html")
    response.headers["Content-Security-Policy"] = "default-src 'none'; frame-ancestors 'none'"
    response.headers["Referrer-Policy"] = "no-referrer"  # the address holds the code
    response.headers["Cache-Control"] = "no-store"
    return response
