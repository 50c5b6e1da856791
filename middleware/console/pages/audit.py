"""The audit log: who did what, when, about which customer."""

from __future__ import annotations

from flask import render_template, request
from flask.typing import ResponseReturnValue

from middleware.console.guard import access, needs
from middleware.console.roles import HOSTER, Viewer
from middleware.console.section import Section

section = Section("audit", __name__, title="Audit log", roles=HOSTER)


@section.get("")
@needs(HOSTER)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show the latest entries."""
    customer = request.args.get("customer", "").strip()
    entries = access().audit.entries(customer or None)
    return render_template("console/audit.html", section=section, entries=entries, customer=customer)
