"""The API's pages: Swagger UI from our own host, without inline script and without any outside request."""

from __future__ import annotations

from pathlib import Path

import flask_swagger_ui
from flask import Blueprint, Response, send_from_directory

from middleware.web.openapi import openapi

blueprint = Blueprint("docs", __name__, url_prefix="/-")
_ASSETS = Path(flask_swagger_ui.__file__).parent / "dist"
_SERVED = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")
_CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>m8crm: the API</title>
<link rel="stylesheet" href="docs/assets/swagger-ui.css">
<link rel="icon" href="docs/assets/favicon-32x32.png">
<div id="ui"></div>
<script src="docs/assets/swagger-ui-bundle.js"></script>
<script src="docs/start.js"></script>
</html>
"""
_START = 'SwaggerUIBundle({url: "openapi.json", dom_id: "#ui", validatorUrl: null});'


@blueprint.get("/openapi.json")
def description() -> Response:
    """Return what the page shows."""
    return Response(openapi(), mimetype="application/json")


@blueprint.get("/docs")
def page() -> Response:
    """Show the page."""
    return Response(_PAGE, mimetype="text/html", headers={"Content-Security-Policy": _CSP})


@blueprint.get("/docs/start.js")
def start() -> Response:
    """Start Swagger UI; a file of its own, since the policy forbids inline scripts."""
    return Response(_START, mimetype="text/javascript")


@blueprint.get("/docs/assets/<name>")
def asset(name: str) -> Response:
    """Serve one of Swagger UI's files."""
    return send_from_directory(_ASSETS, name if name in _SERVED else "no-such-file")
