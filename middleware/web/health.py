"""Whether the process lives and whether it can do its work; no customer is named."""

from __future__ import annotations

from flask import Blueprint, Response, current_app, json

from middleware import __version__
from middleware.errors import StorageError
from middleware.web.problems import problem

blueprint = Blueprint("health", __name__, url_prefix="/-")


@blueprint.get("/live")
def live() -> Response:
    """Tell that the process answers."""
    return Response(json.dumps({"status": "live", "version": __version__}), mimetype="application/json")


@blueprint.get("/ready")
def ready() -> Response:
    """Tell that events can be stored, and how the inbox stands."""
    inbox = current_app.extensions["m8crm"].inbox
    try:
        inbox.check()
        summary = inbox.summary()
    except StorageError as error:
        return problem(503, "Events cannot be stored.", reason=str(error))
    told = {
        "status": "ready",
        "version": __version__,
        "events": summary.states,
        "oldest_due_seconds": round(summary.oldest_due, 1),
        "paused_lanes": summary.paused,
    }
    return Response(json.dumps(told), mimetype="application/json")
