"""What runs beside the answers inside a web worker: the watch, and delivery where gunicorn runs alone."""

from __future__ import annotations

from typing import Any

import structlog

from middleware.app import build_lane, build_watch, build_worker
from middleware.delivery.worker import Worker
from middleware.monitoring.watch import Watch
from middleware.recordings.lane import FetchLane

log = structlog.get_logger("m8crm")
_running: list[Worker | FetchLane | Watch] = []


def start_delivery(app: Any) -> None:
    """Start to watch, and to deliver unless ``M8CRM_DELIVERY`` says that others do.

    Never raises: that would end gunicorn.
    """
    try:
        parts = app.extensions["m8crm"]
        others = (build_worker(parts), build_lane(parts)) if parts.settings.delivery else ()
        for one in (build_watch(parts), *others):
            one.start()
            _running.append(one)
    except Exception as error:
        log.error("delivery_not_started", error=type(error).__name__)


def stop_delivery() -> None:
    """Give the leases back; never raises."""
    try:
        while _running:
            _running.pop().stop()
    except Exception as error:
        log.error("delivery_not_stopped", error=type(error).__name__)
