"""The adapters: which CRMs can be connected, what each one can do, and what its settings are."""

from __future__ import annotations

from flask import render_template
from flask.typing import ResponseReturnValue

from middleware.console.guard import needs
from middleware.console.roles import STAFF, Viewer
from middleware.console.section import Section
from middleware.crm.base import OPTIONAL_METHODS
from middleware.crm.reference import describe
from middleware.crm.registry import broken_adapters, load_adapters

section = Section("adapters", __name__, title="Adapters", roles=STAFF)


@section.get("")
@needs(STAFF)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show the matrix and the settings, as ``m8crm adapters`` does."""
    return render_template(
        "console/adapters.html",
        section=section,
        methods=OPTIONAL_METHODS,
        adapters=[describe(kind) for kind in load_adapters().values()],
        broken=broken_adapters(),
    )
