"""The installation: versions, workers, storage, retention, alarms."""

from __future__ import annotations

from flask import current_app, render_template
from flask.typing import ResponseReturnValue

from middleware.console import audit
from middleware.console.guard import needs
from middleware.console.roles import HOSTER, Viewer
from middleware.console.section import Section
from middleware.monitoring.alarms import Ledger
from middleware.monitoring.system import describe

MOST = 200  # alarms
section = Section("system", __name__, title="System", roles=HOSTER)


@section.get("")
@needs(HOSTER)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show what ``m8crm system`` and ``m8crm alarms list`` do."""
    parts = current_app.extensions["m8crm"]
    found, alarms = describe(parts.inbox, parts.settings), Ledger(parts.inbox).list_alarms()
    return render_template(
        "console/system.html",
        section=section,
        system=found,
        retention={**found.retention, "the audit log": audit.KEPT_FOR},
        alarms=[(alarm, alarm.document()["text"]) for alarm in alarms[:MOST]],
        left_out=max(0, len(alarms) - MOST),
        is_told=bool(parts.settings.alarm_url or parts.settings.alarm_command),
    )
