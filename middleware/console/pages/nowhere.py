"""Addresses that are no page: the application itself would answer them with JSON, as it does senders."""

from __future__ import annotations

from flask import abort, redirect, url_for
from flask.typing import ResponseReturnValue

from middleware.console.guard import for_everybody
from middleware.console.section import Section

section = Section("nowhere", __name__, at_root=True)


@section.get("/")
@section.get("/<path:anything>")
@for_everybody
def page(anything: str = "") -> ResponseReturnValue:
    """Say that there is nothing, also of what only a form can do; a slash too many does no harm."""
    return abort(404) if anything else redirect(url_for("console.overview.page"), 303)
