"""Whether the process lives, whether it can do its work, and what it has counted; without the token nobody is named."""

from __future__ import annotations

import hashlib
import hmac

from flask import Blueprint, Response, abort, current_app, json, request

from middleware import __version__
from middleware.errors import StorageError
from middleware.monitoring.condition import condition_of, free_bytes
from middleware.monitoring.exposition import expose, see
from middleware.web.answers import presented_secret
from middleware.web.problems import problem

blueprint = Blueprint("health", __name__, url_prefix="/-")


@blueprint.get("/live")
def live() -> Response:
    """Tell that the process answers."""
    return Response(json.dumps({"status": "live", "version": __version__}), mimetype="application/json")


@blueprint.get("/ready")
def ready() -> Response:
    """Tell that events can be stored, and how the installation stands: 503 only when they cannot."""
    parts = current_app.extensions["m8crm"]
    free = free_bytes(parts.settings.data)
    disk = {"free_bytes": free, "is_low": free is not None and free < parts.settings.alarm_disk}
    try:
        parts.inbox.check()
        condition = condition_of(parts.inbox)
    except StorageError as error:
        return problem(503, "Events cannot be stored.", reason=str(error), database="failed", disk=disk)
    told = {
        "status": "ready",
        "version": __version__,
        "events": condition.states,
        "oldest_due_seconds": round(condition.oldest_due, 1),
        "oldest_retry_seconds": round(condition.oldest_retry, 1),
        "dead_letters": sum(condition.dead.values()),
        "lost_recordings": sum(condition.lost.values()),
        "paused_customers": len({customer for customer, _ in condition.paused}),
        "paused_lanes": len(condition.paused),
        "indexes": len(condition.indexes),
        "indexes_not_built": sum(index.built_at is None for index in condition.indexes),
        "indexes_failing": sum(index.failures > 0 for index in condition.indexes),
        "indexed_contacts": sum(index.contacts for index in condition.indexes),
        "oldest_index_seconds": max((index.age for index in condition.indexes if index.age is not None), default=0.0),
        "disconnected_crms": len(condition.disconnected),
        "unrenewed_tokens": len(condition.unrenewed),
        "database": "ok",
        "disk": disk,
    }
    return Response(json.dumps(told), mimetype="application/json")


@blueprint.get("/metrics")
def metrics() -> Response:
    """Tell Prometheus, if it has the token, what this machine has counted and how the installation stands."""
    parts = current_app.extensions["m8crm"]
    token = parts.settings.metrics_token
    if token is None:
        abort(404)
    given = presented_secret(request.headers.get("Authorization", ""))
    if not hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(token.encode()).digest()):
        refused = problem(401, "Send M8CRM_METRICS_TOKEN as a bearer token.")
        refused.headers["WWW-Authenticate"] = "Bearer"
        return refused
    text, content_type = expose(see(parts.inbox, parts.counts, parts.settings.data), request.headers.get("Accept", ""))
    return Response(text, content_type=content_type)
