"""The files that pages need, from our own host; their addresses change with their content, so browsers keep them."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from flask import Response, abort, send_from_directory, url_for

from middleware.console.guard import for_everybody
from middleware.console.section import Section

FOLDER = Path(__file__).parent / "static"
SERVED = frozenset({"console.css", "console.js", "htmx.min.js"})
section = Section("static", __name__)


@section.get("/<digest>/<name>")
@for_everybody
def file(digest: str, name: str) -> Response:
    """Serve one of the files, for a year."""
    if name not in SERVED or digest != _digest(name):
        abort(404)
    response = send_from_directory(FOLDER, name, max_age=31_536_000)
    response.cache_control.public = True
    response.cache_control.immutable = True
    return response


def static_url(name: str) -> str:
    """Return the address of a file as it is now."""
    return url_for("console.static.file", digest=_digest(name), name=name)


@cache
def _digest(name: str) -> str:
    return hashlib.sha256((FOLDER / name).read_bytes()).hexdigest()[:16]
