"""The installation: versions, workers, storage, retention, alarms."""

from __future__ import annotations

from flask import abort, current_app, render_template
from flask.typing import ResponseReturnValue

from middleware.console import audit
from middleware.console.guard import needs, note
from middleware.console.roles import HOSTER, Viewer
from middleware.console.section import Section
from middleware.monitoring.alarms import Ledger, StoredAlarm
from middleware.monitoring.system import describe
from middleware.monitoring.tell import Failures, Teller

MOST = 200  # alarms
section = Section("system", __name__, title="System", roles=HOSTER)


@section.get("")
@needs(HOSTER)
def page(viewer: Viewer) -> ResponseReturnValue:
    """Show what ``m8crm system`` and ``m8crm alarms list`` do."""
    return _page({})


@section.post("/alarm")
@needs(HOSTER)
def try_alarm(viewer: Viewer) -> ResponseReturnValue:
    """Tell a made-up alarm, as ``m8crm alarms test`` does; takes as long as telling may (``tell.SECONDS``)."""
    parts = current_app.extensions["m8crm"]
    teller = Teller(parts.settings.alarm_url, parts.settings.alarm_command)
    if not teller.is_configured:
        abort(400, "Nobody is told of alarms: set M8CRM_ALARM_URL or M8CRM_ALARM_COMMAND.")
    note("alarm tested")
    made_up = StoredAlarm.made_up(parts.inbox.now()).document()
    return _page(teller.tell(made_up | {"installation": parts.settings.public_url}))


def _page(tried: Failures) -> ResponseReturnValue:
    parts = current_app.extensions["m8crm"]
    found, alarms = describe(parts.inbox, parts.settings), Ledger(parts.inbox).list_alarms()
    return render_template(
        "console/system.html",
        section=section,
        system=found,
        retention={**found.retention, "the audit log": audit.KEPT_FOR},
        tried=tried,
        alarms=[(alarm, alarm.document()["text"]) for alarm in alarms[:MOST]],
        left_out=max(0, len(alarms) - MOST),
        is_told=bool(parts.settings.alarm_url or parts.settings.alarm_command),
    )
